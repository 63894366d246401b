# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""README.md is short, its first screen shows what one gets, and docs/losses.md has every loss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resonance.losses import LOSSES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOSS_PAGE = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = LOSS_PAGE.split(f" {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_with_its_rule(name):
    (row,) = [row for row in rows("All of them") if f"`{name}`" in row[0]]
    spec = LOSSES[name]
    assert row[2] == spec.logps + (", by definition" if spec.logps_fixed else "")
    assert row[3] == ("yes" if spec.needs_reference else "no")


def test_no_loss_that_does_not_exist():
    named = {name for row in rows("All of them") for name in re.findall(r"`(\w+)`", row[0])}
    assert named == set(LOSSES)


def test_the_number_of_losses():
    assert f"[{len(LOSSES)}](docs/losses.md)" in README


@pytest.mark.parametrize("name", ["README.md", "README_zh.md"])
def test_the_first_screen(name):
    """What one gets comes first: a picture, a table, then the two commands; no more than 150 lines in all."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("![") for line in lines[:12])
    commands = next(number for number, line in enumerate(lines) if line.startswith("bash scripts/quickstart.sh"))
    table = next(number for number, line in enumerate(lines) if line.startswith("|"))
    assert table < commands < 40 and lines[commands + 1].startswith("bash scripts/test.sh")
    assert (ROOT / "scripts" / "quickstart.sh").exists() and (ROOT / "scripts" / "test.sh").exists()
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text()
