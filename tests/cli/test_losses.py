# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance losses`: the table as it is declared, and one loss in full.

python tests/cli/test_losses.py    # writes what the losses declare where the command reads it without torch
"""

from __future__ import annotations

import json

import pytest

from resonance.cli.losses import LISTING, described
from resonance.cli.main import main
from resonance.losses import LOSSES


def declared() -> str:
    return json.dumps([described(spec) for spec in LOSSES.values()], indent=1, ensure_ascii=False) + "\n"


def test_the_listing_is_what_losses_declare() -> None:
    assert LISTING.read_text(encoding="utf-8") == declared(), "python tests/cli/test_losses.py writes it anew"


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == list(LOSSES)
    assert main(["losses", "simpo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["needs_reference"] is False


def test_the_table_is_what_losses_declare(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses"]) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head.split() == ["LOSS", "LOG-PROBS", "REFERENCE", "SCORES", "PAPER", "WHAT"]
    shown = {row.split()[0]: row.split()[1:5] for row in rows}
    assert list(shown) == list(LOSSES)
    assert shown["uni_dpo"] == ["mean", "yes", "yes", "arXiv:2506.10054"]
    assert shown["simpo"] == ["mean", "no", "no", "arXiv:2405.14734"]
    assert "  DPO: logistic loss" in rows[list(LOSSES).index("sigmoid")]


def test_one_loss(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "exo_pair"]) == 0
    text = capsys.readouterr().out
    assert "L = p * (log p" in text and "label_smoothing: a number 0 < x < 0.5 (the paper uses 1e-3)" in text
    assert main(["losses", "exo"]) == 1
    assert "nearest: exo_pair" in capsys.readouterr().err


def test_a_loss_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "resonance.losses.dpo:sigmoid"]) == 0
    assert "DPO: logistic loss" in capsys.readouterr().out


if __name__ == "__main__":
    LISTING.write_text(declared(), encoding="utf-8")
