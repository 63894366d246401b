# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`RESONANCE_DISABLE=1` beside a loss that LlamaFactory does not have: it would train sigmoid under that name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..arguments.preference import NAMES_OF_LLAMAFACTORY

_COMMANDS = ("llamafactory-cli", "lmf", "cli.py", "llamafactory.cli")
_KEY = re.compile(r"""(?:^\s*|["'{,]\s*)pref_loss["']?\s*:\s*["']?([\w.:,]+|\[[^]]*\]|-.*)""", re.MULTILINE)
_FLAG = re.compile(r"(?:--)?pref[_-]loss[= ](\S+)")


def notice(argv: Sequence[str]) -> str | None:
    """What to write on stderr when a process with this command line starts without us; None for nothing.

    Reads the recipe as text: YAML and LlamaFactory are not imported for it. Ranks repeat nothing.

    Args:
        argv: the command line, with the interpreter's own part.
    """
    words = list(argv)
    commands = [place for place, word in enumerate(words[:-1]) if Path(word).name in _COMMANDS]
    if not commands or "train" not in words[commands[0] : commands[0] + 2] or "LOCAL_RANK" in os.environ:
        return None
    words = words[commands[0] + 2 :]
    given = [*_FLAG.findall(" ".join(words)), *(_KEY.findall(_text(words[0])) if words else [])]
    if not given or given[0] in NAMES_OF_LLAMAFACTORY:
        return None
    return (
        f"RESONANCE_DISABLE is set, so pref_loss: {given[0]} is not there: LlamaFactory alone trains sigmoid under "
        "names that it does not know. Unset it to train what the recipe says."
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # flags, or a file that LlamaFactory reports
        return ""
