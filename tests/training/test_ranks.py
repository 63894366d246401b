# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two ranks give what one rank with accumulation 2 gives: DDP, ZeRO-2 and ZeRO-3, on CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# gloo needs all-gathers in order under ZeRO-3; see the docstring there
IN_ORDER = str(Path(__file__).parents[1] / "gloo_in_order")
TWO_RANKS = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "PYTHONPATH": IN_ORDER}
RECIPE = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "per_device_train_batch_size": 2}
EVALUATED = {"eval_dataset": "pairs", "eval_strategy": "steps", "eval_steps": 4, "per_device_eval_batch_size": 4}
NOT_COMPARED = ("runtime", "per_second", "epoch", "step", "total_flos", "rewards/accuracies")


def compare(one, two):
    ours, theirs = one.state["log_history"], two.state["log_history"]
    assert sum("loss" in line for line in ours) == 8 and len(ours) == len(theirs)
    for alone, together in zip(ours, theirs, strict=True):
        assert set(alone) == set(together)
        for key in alone:
            if not key.endswith(NOT_COMPARED):
                assert together[key] == pytest.approx(alone[key], abs=1e-5, rel=1e-4), (alone.get("step"), key)


@pytest.fixture(scope="module")
def one_rank(train_many):
    runs = train_many(
        {
            "full": {**RECIPE, **EVALUATED, "gradient_accumulation_steps": 2},
            "lora": {**RECIPE, "gradient_accumulation_steps": 2, "finetuning_type": "lora", "lora_rank": 4},
        }
    )
    for run in runs.values():
        assert run.returncode == 0, run.output[-4000:]
    return runs


def test_ddp(one_rank, recipe, train):
    compare(one_rank["full"], train(recipe(**RECIPE, **EVALUATED), **TWO_RANKS))


def test_ddp_lora(one_rank, recipe, train):
    """The reference is the model with its adapters off, inside DDP."""
    compare(one_rank["lora"], train(recipe(**RECIPE, finetuning_type="lora", lora_rank=4), **TWO_RANKS))


@pytest.mark.parametrize("stage", ["z2", "z3"])
def test_deepspeed(stage, one_rank, recipe, train):
    pytest.importorskip("deepspeed")
    config = str(ROOT / "examples" / "deepspeed" / f"ds_{stage}_config.json")
    # `use_cpu: true` would make DeepSpeed see a world of one rank
    run = train(recipe(**RECIPE, **EVALUATED, deepspeed=config, use_cpu=None), **TWO_RANKS)
    compare(one_rank["full"], run)
