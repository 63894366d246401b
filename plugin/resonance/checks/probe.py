# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Probe: imports things in a child process, so that a crash of theirs is a finding and not the end of the doctor.

`run_steps(...)` is the parent's side, `python -m resonance.checks.probe STEP...` the child's: it
prints one JSON line a step. A child that dies is started again with the steps behind the one it died in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import _resonance_startup as startup

# Taken before anything below could install it: is the .pth line of this environment live?
FINDER_AT_START = startup.installed_finder() is not None
MARK = "resonance-probe "
TIMEOUT_SECONDS = 300


def run_steps(steps: list[str]) -> dict[str, dict[str, Any]]:
    """Runs steps in order and returns `{step: {"value": ...}}` or `{step: {"error": "..."}}` for each."""
    results: dict[str, dict[str, Any]] = {}
    while pending := [step for step in steps if step not in results]:
        output, ending = run_child(pending)
        for line in output.splitlines():
            if line.startswith(MARK):
                results.update(json.loads(line.removeprefix(MARK)))
        unfinished = [step for step in pending if step not in results]
        if unfinished:
            results[unfinished[0]] = {"error": ending}
    return results


def run_child(steps: list[str]) -> tuple[str, str]:
    """Returns the standard output of one child, and how it ended, with the last lines of its error output."""
    command = [sys.executable, "-P", "-m", __name__, *steps]
    try:
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return output.decode(errors="replace") if isinstance(output, bytes) else output, f"took over {error.timeout} s"
    last = " | ".join(child.stderr.strip().splitlines()[-3:])
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    return child.stdout, f"the process ended with {how}: {last}"


# -- the child's side -------------------------------------------------------------------------------------------------


def probe_startup() -> dict[str, Any]:
    """Which ways the import hook got into this process."""
    import site
    from pathlib import Path

    folders = [*site.getsitepackages(), site.getusersitepackages()]
    lines = [str(path) for folder in folders if (path := Path(folder, "resonance_startup.pth")).is_file()]
    return {
        "disabled": startup.is_disabled(),
        "finder_at_start": FINDER_AT_START,
        "pth": lines,
        "package": str(Path(__file__).parents[1]),
    }


def probe_torch() -> dict[str, Any]:
    import torch

    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    names = [f"{torch.cuda.get_device_name(i)}, {gibibytes(i):.0f} GiB" for i in cuda]
    return {
        "devices": names,
        "cuda_build": torch.version.cuda,
    }


def gibibytes(device: int) -> float:
    import torch

    return torch.cuda.get_device_properties(device).total_memory / 2**30


def probe_trl() -> dict[str, Any]:
    """The trainer that LlamaFactory subclasses; TRL imports lazily, so importing `trl` alone proves nothing.

    LlamaFactory comes first, as in training: TRL 0.24 beside Transformers 5 believes that mergekit is installed, and
    LlamaFactory 0.9.5 sets that right.
    """
    import_module("llamafactory.extras.packages")
    return {"trainer": import_module("trl").DPOTrainer.__module__}


def probe_patches() -> list[dict[str, Any]]:
    """The state of every patch once the modules that hold the patched names are imported."""
    from ..hooks.llamafactory import registry

    errors = {}
    for patch in registry.patches:
        try:
            import_module(patch.module)
            patch.load_replacement()
        except Exception as error:
            errors[patch.target] = startup.describe(error)
    rows = []
    for row in registry.status():
        problem = row["error"] or errors.get(row["target"])
        rows.append({**row, "error": problem, "state": "failed" if problem else row["state"]})
    return rows


STEPS: dict[str, Callable[[], Any]] = {
    "startup": probe_startup,
    "torch": probe_torch,
    "torchvision": lambda: import_module("torchvision").__version__,
    "torchaudio": lambda: import_module("torchaudio").__version__,
    "transformers": lambda: import_module("transformers").__version__,
    "trl": probe_trl,
    "deepspeed": lambda: import_module("deepspeed").__version__,
    "patches": probe_patches,
}


def main(steps: list[str]) -> None:
    for step in steps:
        try:
            result = {"value": STEPS[step]()}
        except Exception as error:  # whatever an import raises is what this process is here to find out
            result = {"error": startup.describe(error)}
        print(f"\n{MARK}{json.dumps({step: result}, default=str)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
