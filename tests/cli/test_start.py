# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A command imports what it needs, and the others' files stay unread."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resonance.cli.commands import COMMANDS, inner

CHECKOUT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "datasets", "gradio", "pandas", "matplotlib", "plotly", "numpy", "llamafactory"}


def imported(*words: str) -> set[str]:
    """Modules that `python -m resonance` imports for a command line."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "resonance", *words],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={name: value for name, value in os.environ.items() if name != "RESONANCE_DISABLE"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"^import time:[\s\d|]+\|\s*(\S+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize(
    "line",
    ["ls", "show uni_dpo_lora", "losses", "losses uni_dpo", "data list", "completion bash", "data check --help"],
)
def test_starts_without_anything_heavy(line: str) -> None:
    found = imported(*line.split())
    assert "resonance.cli.main" in found
    assert not {name.partition(".")[0] for name in found} & HEAVY
    others = {
        f"resonance.cli.{each.module}" for name, each in COMMANDS.items() if name not in line and not inner(name)
    }
    assert not found & others


def test_help_reads_no_commands_file() -> None:
    found = imported("--help")
    assert not found & {f"resonance.cli.{each.module}" for each in COMMANDS.values()}


def test_no_help_imports_anything_heavy() -> None:
    code = (
        "import sys; from resonance.cli.main import build_parser; build_parser();"
        f"sys.exit(str({HEAVY!r} & set(sys.modules)) if {HEAVY!r} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
