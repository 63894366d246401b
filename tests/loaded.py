# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a room loads, seen from a fresh process in which nothing of ours runs at start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"


def loaded(code: str, *modules: str) -> list[str]:
    """Those of `modules` that are loaded after `code` has run."""
    code = f"{code}\nimport sys\nprint(*(name for name in {modules!r} if name in sys.modules))"
    env = {"PYTHONPATH": str(PLUGIN), "RESONANCE_DISABLE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()
