# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs in the order of their scores, and a warm-up of Uni-DPO's eta: in ranks, through accumulation and a resume."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import datasets
import pytest

from conftest import DATA
from resonance.rows.plan import RowPlan
from resonance.training.run import check_columns
from resonance.training.sampling import by_scores
from training.one_batch import preference_trainer
from training.test_every_loss import batch_of
from training.test_prompt_order import batches

SCORED = datasets.Dataset.from_dict({"score_chosen": [3.0, 5, 4, 2, 4], "score_rejected": [2.0, 1, 3, 2, 1]})


def test_rows_by_the_difference_of_their_scores():
    assert by_scores(SCORED, "ascending") == [3, 0, 2, 4, 1]
    assert by_scores(SCORED, "descending") == [1, 4, 0, 2, 3], "equal ones as they come"
    assert by_scores(SCORED.select([4, 2, 0]), "descending") == [0, 1, 2]


def test_two_ranks_read_what_one_reads_with_accumulation():
    rows = datasets.Dataset.from_dict({"score_chosen": [float(i * 7 % 12) for i in range(12)]})
    rows = rows.add_column("score_rejected", [0.0] * 12)
    order = by_scores(rows, "descending")
    one = batches(rows, order)
    two = [batches(rows, order, rank, 2) for rank in range(2)]
    assert [row for batch in one for row in batch] == order
    assert [part for step in zip(*two, strict=True) for part in step] == one
    assert batches(rows, order, skip=2) == one[2:], "as a resumed run skips"


def test_scores_are_carried_to_order_the_training_set_only():
    plan = RowPlan(needs_scores=False, score_order=True)
    assert [column.name for column in plan.carried] == ["score_chosen", "score_rejected"] and plan.reads_scores
    assert plan.for_evaluation().carried == () and not plan.for_evaluation().reads_scores
    train = SimpleNamespace(column_names=["chosen_input_ids"])
    with pytest.raises(ValueError, match="score_order needs score_chosen and score_rejected, but the tokenised set"):
        check_columns("score_order", ("score_chosen", "score_rejected"), train)


@pytest.mark.parametrize("loss", ["uni_dpo", "sft,uni_dpo"])
def test_eta_grows_in_training_and_an_evaluation_has_all_of_it(loss, tmp_path):
    trainer = preference_trainer(tmp_path, pref_loss=loss, uni_dpo_eta_warmup=0.5)
    trainer.state.max_steps = 7  # so 4 of warm-up
    name = "w_qual" if loss == "uni_dpo" else "uni_dpo/w_qual"
    batch = batch_of(trainer.model)  # differences of the scores: 5 and 1

    def quality(step, split="train"):
        trainer.state.global_step = step
        return trainer.loss_of(trainer.model, batch, split).metrics[name].item()

    for step, eta in ((0, 0.0), (1, 0.7 / 4), (3, 2.1 / 4), (4, 0.7), (6, 0.7)):
        expected = sum(1 / (1 + math.exp(-eta * margin)) for margin in (5, 1)) / 2
        assert quality(step) == pytest.approx(expected, rel=1e-6)
    assert quality(0, "eval") == quality(4)


def test_a_run_in_order_with_a_warmup_resumes_to_the_same_numbers(train_many):
    base = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "score_order": "descending", "uni_dpo_eta_warmup": 10}
    base |= {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 5}
    whole = train_many({"whole": base})["whole"]
    assert whole.returncode == 0, whole.output[-3000:]
    pairs = json.loads((DATA / "pairs.json").read_text())
    margins = sorted((row["score_chosen"] - row["score_rejected"] for row in pairs), reverse=True)
    expected = []
    for step in range(16):
        eta, start = 0.7 * min(1, step / 10), 4 * (step % 8)
        expected.append(sum(1 / (1 + math.exp(-eta * margin)) for margin in margins[start : start + 4]) / 4)
    assert [value for (value,) in whole.logged("w_qual")] == pytest.approx(expected, rel=1e-5)
    cut = {**base, "resume_from_checkpoint": str(whole.output_dir / "checkpoint-5")}
    resumed = train_many({"resumed": cut})["resumed"]
    assert resumed.returncode == 0, resumed.output[-3000:]
    names = ("loss", "w_qual", "grad_norm")
    assert len(resumed.logged(*names)) == 16 and resumed.logged(*names) == whole.logged(*names)
