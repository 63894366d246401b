# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run whose numbers are not finite stops, and saves none of them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer

from resonance.arguments import parameters
from resonance.rows.fields import ROW, SOURCE
from resonance.training.finite import ROWS, FiniteTrainer, NamingCollator, non_finite_weights

NAN = {"loss": math.nan, "rewards/margins": 0.5}
GOOD = {"loss": 0.5, "rewards/margins": 0.5}


class Looking(FiniteTrainer):
    """A trainer without a run."""

    def __init__(self, folder, model=None):
        self.state = SimpleNamespace(global_step=0)
        self.args, self.model = SimpleNamespace(output_dir=str(folder)), model

    def lines(self, *lines):
        for line in lines:
            self.state.global_step += 1
            self.look_at(line)


def test_it_stops_after_three_log_lines_in_a_row(tmp_path):
    trainer = Looking(tmp_path)
    trainer.lines(NAN, NAN, GOOD, NAN, NAN)
    batch = NamingCollator(lambda rows: {})([{SOURCE: "pairs.json", ROW: 3}, {SOURCE: "pairs.json", ROW: 8}])
    trainer.note(batch, torch.tensor(math.nan))
    trainer.note({ROWS: batch[ROWS]}, torch.tensor(0.5))
    with pytest.raises(ValueError) as caught:
        trainer.lines(NAN)
    text = str(caught.value)
    assert "3 log lines in a row" in text and "Step 4: not finite: loss." in text and "learning_rate" in text
    assert "There is no checkpoint." in text and "`stop_after_nonfinite`" in text


def test_it_names_the_rows_of_the_first_bad_batch(tmp_path):
    trainer = Looking(tmp_path)
    trainer.stop_after = 1
    for place, loss in enumerate((0.5, math.inf)):
        rows = [{SOURCE: "pairs.json", ROW: 2 * place}, {SOURCE: "pairs.json", ROW: 2 * place + 1}]
        trainer.note(NamingCollator(lambda rows: {})(rows), torch.tensor(loss))
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "trainer_state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"Step 1: not finite: loss \(of pairs.json rows 2, 3\).*is .*checkpoint-4"):
        trainer.lines(NAN)


def test_it_can_be_told_to_wait_or_never_to_stop(tmp_path):
    trainer = Looking(tmp_path)
    trainer.stop_after = 0
    trainer.lines(*[NAN] * 20)
    values = {"stage": "dpo", "pref_loss": "uni_dpo"}
    for wrong in (-1, True, "three"):
        assert any(
            "stop_after_nonfinite" in line for line in parameters.problems({**values, "stop_after_nonfinite": wrong})
        )
    assert not parameters.problems({**values, "stop_after_nonfinite": 0})


def test_an_infinite_gradient_norm_counts(tmp_path):
    trainer = Looking(tmp_path)
    with pytest.raises(ValueError, match="not finite: grad_norm"):
        trainer.lines(*[{**GOOD, "grad_norm": math.inf}] * 3)


def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    """A gradient that is NaN at the last step: no log line shows it."""
    saved = []
    monkeypatch.setattr(Trainer, "save_model", lambda self, *args: saved.append(args))
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    trainer = Looking(tmp_path, model)
    trainer.save_model("here")
    assert saved == [("here", False)]
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"1 of its tensors hold NaN or infinite numbers \(1.weight\)"):
        trainer.save_model("here")
    assert len(saved) == 1
    model[1].weight.requires_grad_(False)  # it was so before the run
    assert non_finite_weights(model) == []
