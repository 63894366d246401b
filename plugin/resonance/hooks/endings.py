# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How a run that was started from the command line ends in an error: the cause in its own words, and last.

An error that this package raises says what to do, so it needs no traceback; `LLAMAFACTORY_VERBOSITY=DEBUG` brings it
back. Errors of others keep theirs. Under torchrun each rank also leaves its cause in a folder of the process that
started torchrun, which prints that of the lowest rank behind torchrun's own report.
"""

from __future__ import annotations

import linecache
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..arguments import reader, recipe
from ..arguments.resume import newest_complete

CAUSES = "RESONANCE_CAUSES_DIR"  # set for the ranks of a torchrun that was started by `with_cause_last`
# How gloo, NCCL and torch say that they cannot reach a rank: what that rank was stopped by, they do not know.
LOST = re.compile(r"gloo|NCCL|Dist(Backend|Network|Store)Error|Timed out waiting|Connection (closed|reset) by peer")
# How torch and CUDA report that memory ran out; the error of another library holds it as text.
NO_MEMORY = re.compile(r"OutOfMemoryError|out of memory|DefaultCPUAllocator: can't allocate memory")
# Errors by which LlamaFactory and Transformers refuse a recipe; others come from its run.
REFUSALS = (OSError, ValueError, AssertionError, ImportError, LookupError, TypeError, AttributeError)
LONGEST = 20_000  # characters of a cause; a message is shorter, but a foreign one may hold a whole row


def report_errors() -> None:
    """From now on this process reports an error that ends it as described above. Idempotent."""
    if not isinstance(sys.excepthook, Reporter):
        sys.excepthook = Reporter(sys.excepthook)


class Reporter:
    """A `sys.excepthook`; what it has nothing to add to goes to the one before it.

    Another library may have put its own between two of ours; an error is then reported once.
    """

    handled: BaseException | None = None

    def __init__(self, previous: Callable[..., Any]) -> None:
        self.previous = previous

    def __call__(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if Reporter.handled is error:
            self.previous(kind, error, where)
            return
        Reporter.handled = error
        folder = os.environ.get(CAUSES)
        if issubclass(kind, KeyboardInterrupt):
            if not folder and os.environ.get("LOCAL_RANK", "0") == "0":
                write(interrupted(sys.argv[1:]))
            return
        cause = "".join(traceback.format_exception_only(kind, error)).strip()
        if not is_ours(error, where):
            self.previous(kind, error, where)
            if first := first_cause(error):
                cause = f"{cause}\nThe first cause: {first}"
                write(f"The first cause: {first}")
            if more := cure(error, cause):
                cause = f"{cause}\n{more}"
                write(more)
        else:
            write(cause)
        if folder:
            Path(folder, os.environ.get("RANK", "0")).write_text(cause[:LONGEST], encoding="utf-8", errors="replace")


def is_ours(error: BaseException, where: TracebackType | None) -> bool:
    """Whether an error is the message of a `raise` of this package, and not of a fault in it or below it."""
    if where is None or not isinstance(error, ValueError | ImportError | RuntimeError | OSError):
        return False
    if os.environ.get("LLAMAFACTORY_VERBOSITY") == "DEBUG":
        return False
    last = list(traceback.walk_tb(where))[-1]
    frame, line = last
    package = __name__.partition(".")[0]
    raised = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return raised and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package


def first_cause(error: BaseException) -> str:
    """The error at the start of a chain of `raise ... from`; empty for an error that stands alone."""
    first = error
    while (earlier := first.__cause__ or (None if first.__suppress_context__ else first.__context__)) is not None:
        first = earlier
    return "" if first is error else f"{type(first).__name__}: {str(first).strip()[:LONGEST]}"


def cure(error: BaseException, cause: str) -> str:
    """What to do about an error of others; empty where nothing is known.

    Args:
        error: that ends the process.
        cause: it, as it is printed.
    """
    words = sys.argv[1:]
    if type(error).__module__.partition(".")[0] == "ray":  # a worker has ended; its own lines are above
        return how_to_go_on(words)
    if lost := lost_rank(cause):
        return lost
    given = words[1:] if words[:1] == ["train"] else words  # a recipe and KEY=VALUEs behind it
    if not reader.names_file(given) or not given[0].endswith(reader.SUFFIXES):
        return ""
    validate = shlex.join(["resonance", "validate", *given])
    if NO_MEMORY.search(cause):
        return (
            f"Memory ran out. `{validate} --gpu-memory GIB` estimates what a GPU of that size holds, and which batch "
            "fits."
        )
    if isinstance(error, REFUSALS):
        return f"Next: `{validate}` looks for the cause in the recipe, and loads no model."
    return ""


def lost_rank(cause: str) -> str:
    """What to do about an error that only means that another rank is gone; empty for others."""
    if not LOST.search(cause):
        return ""
    return (
        "This rank could not reach another one, which has ended or did not answer within `ddp_timeout` seconds. What "
        f"stopped that one is in the last lines of its node. {how_to_go_on(sys.argv[1:])}"
    )


def interrupted(words: list[str]) -> str:
    """How to go on after Ctrl-C.

    Args:
        words: of the command line behind `train`.
    """
    return f"Interrupted. {how_to_go_on(words)}"


def how_to_go_on(words: list[str]) -> str:
    """From which checkpoint, and how.

    Args:
        words: of the command line behind `train`.
    """
    given = recipe.read(words)
    folder = str(given.get("output_dir") or "")
    newest = newest_complete(folder) if folder else None
    if newest is None:
        return f"{folder or 'The output folder'} has no complete checkpoint: the same command starts anew."
    if str(given.get("overwrite_output_dir", "")).lower() != "true":
        return f"The same command goes on from {newest}, the newest complete checkpoint."
    key = "overwrite_output_dir=false" if reader.names_file(words) else "--overwrite_output_dir false"
    return (
        f"{newest} is the newest complete checkpoint; `overwrite_output_dir: true` starts anew, "
        f"the same command with {key} behind it goes on from there."
    )


def with_cause_last(start: Callable[[], Any]) -> Any:
    """Call `start`, which may start torchrun; if that fails, print what stopped the lowest rank and exit with 1.

    A rank that has lost another one is named only if no rank knows more.
    """
    words = sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="resonance-") as folder:
        os.environ[CAUSES] = folder
        try:
            return start()
        except subprocess.CalledProcessError as error:
            paths = sorted((path for path in Path(folder).iterdir() if path.name.isdigit()), key=lambda p: int(p.name))
            causes = {path.name: path.read_text(encoding="utf-8") for path in paths}
            if causes:
                rank = next((rank for rank, cause in causes.items() if not LOST.search(cause)), next(iter(causes)))
                write(f"\nRank {rank} was stopped by:\n{causes[rank]}")
            else:
                write(f"\n{killed(error)} {how_to_go_on(words)}")
            raise SystemExit(1) from error
        finally:
            del os.environ[CAUSES]


def killed(error: subprocess.CalledProcessError) -> str:
    """What is known where no rank has left a cause."""
    return (
        f"torchrun ended with {error.returncode}, and no rank has left a cause: one was ended from outside, as Linux "
        "does where memory runs out. torchrun's report above has its rank and signal under `Root Cause`: exitcode -9 "
        "is SIGKILL."
    )


def write(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (the last lines of a process)
