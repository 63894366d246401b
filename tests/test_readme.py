# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""README.md tells the truth about keys, defaults, losses and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resonance.arguments import data, preference, rates, tracking
from resonance.losses import LOSSES

DEFAULTS = preference.DEFAULTS | data.DEFAULTS | tracking.DEFAULTS | rates.DEFAULTS
KEYS = (*preference.KEYS, *data.KEYS, *tracking.KEYS, *rates.KEYS)
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = README.split(f" {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_key_with_its_default():
    table = {row[0].strip("`"): row[1].strip("`") for row in rows("Recipe keys")}
    assert set(table) == set(KEYS)
    shown = {None: "unset", False: "false", True: "true"}
    for key, default in table.items():
        expected = DEFAULTS[key]
        assert default == (shown[expected] if expected is None or isinstance(expected, bool) else str(expected)), key


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_with_its_rule(name):
    (row,) = [row for row in rows("Losses") if f"`{name}`" in row[0]]
    spec = LOSSES[name]
    assert row[2] == spec.logps + (", by definition" if spec.logps_fixed else "")
    assert row[3] == ("yes" if spec.needs_reference else "no")


def test_no_loss_that_does_not_exist():
    named = {name for row in rows("Losses") for name in re.findall(r"`(\w+)`", row[0])}
    assert named == set(LOSSES)


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_first_screen_has_the_two_commands():
    first_screen = "\n".join(README.splitlines()[:20])
    assert "bash scripts/quickstart.sh" in first_screen and "bash scripts/test.sh" in first_screen
    assert (ROOT / "scripts" / "quickstart.sh").exists() and (ROOT / "scripts" / "test.sh").exists()
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text()
