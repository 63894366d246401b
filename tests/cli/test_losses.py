# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance losses`: the table as it is declared, and one loss in full."""

from __future__ import annotations

import pytest

from resonance.cli.main import main
from resonance.losses import LOSSES


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
