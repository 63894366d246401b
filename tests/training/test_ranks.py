# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two ranks with every speed-up give what one rank with accumulation 2 and none gives: DDP, ZeRO-2, ZeRO-3, on CPU."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from resonance.forward.names import SPEEDUPS
from training.mixed import on_off

ROOT = Path(__file__).parents[2]
# mends two upstream faults of CPU ranks; see the docstring there
CPU_RANKS = str(Path(__file__).parents[1] / "cpu_ranks")
PATHS = os.pathsep.join(filter(None, (CPU_RANKS, os.environ.get("PYTHONPATH"))))
TWO_RANKS = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "PYTHONPATH": PATHS}
RECIPE = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "per_device_train_batch_size": 2}
BASELINE = {"pref_loss": "bco_pair", "pref_beta": 2.0, "per_device_train_batch_size": 2}
EVALUATED = {"eval_dataset": "pairs", "eval_strategy": "steps", "eval_steps": 4, "per_device_eval_batch_size": 4}
SAVED = {"save_strategy": "steps", "save_steps": 4}
NOT_COMPARED = ("runtime", "per_second", "epoch", "step", "total_flos")


def recorded(run):
    """The numbers of pairs.jsonl by step and row."""
    lines = [json.loads(line) for line in (run.output_dir / "pairs.jsonl").read_text().splitlines()]
    found = {(line.pop("step"), line.pop("split"), line.pop("dataset"), line.pop("row")): line for line in lines}
    assert len(found) == len(lines)
    return found


def compare(one, two, but: tuple[str, ...] = (), rewards: float = 1e-5):
    assert on_off(two)[0] == set(SPEEDUPS) and on_off(one)[0] == set()
    ours, theirs = one.state["log_history"], two.state["log_history"]
    assert sum("loss" in line for line in ours) == 8 and len(ours) == len(theirs)
    for alone, together in zip(ours, theirs, strict=True):
        assert set(alone) == set(together)
        for key in alone:
            if key.endswith(NOT_COMPARED) or key.startswith(but):
                continue
            # the loss to 1e-5; sums of more terms, as norms and means of logits, lose a little more
            close = {"abs": 1e-5, "rel": 0} if key in ("loss", "eval_loss") else {"abs": 1e-5, "rel": 1e-4}
            if key.startswith("rewards/"):
                close["abs"] = rewards
            assert together[key] == pytest.approx(alone[key], **close), (alone.get("step"), key)


def train_and_resume(recipe, train, fork=True):
    """Train on two ranks, then go on from the checkpoint in the middle: bit-equal to not having stopped."""
    whole = train(recipe, fork=fork, **TWO_RANKS)
    middle = str(whole.output_dir / "checkpoint-4")
    resumed = train(
        {**recipe, "output_dir": recipe["output_dir"] + "-resumed", "resume_from_checkpoint": middle}, **TWO_RANKS
    )
    names = ("loss", "grad_norm", "logps/chosen", "w_perf", "rewards/margins")
    assert len(resumed.logged(*names)) == 8 and resumed.logged(*names) == whole.logged(*names)
    return whole


@pytest.fixture(scope="module")
def one_rank(train_many):
    plain = {**RECIPE, "gradient_accumulation_steps": 2, "pref_speedups": "off"}
    lora = {"finetuning_type": "lora", "lora_rank": 4}
    # one micro-batch: a mean reward of its own is what two ranks have between them
    baseline = {**BASELINE, "per_device_train_batch_size": 4, "pref_speedups": "off"}
    runs = train_many({"full": {**plain, **EVALUATED}, "lora": {**plain, **lora}, "baseline": baseline})
    for run in runs.values():
        assert run.returncode == 0, run.output[-4000:]
    return runs


@pytest.mark.slow
def test_ddp(one_rank, recipe, train):
    """By torchrun; what goes on from its checkpoint are forks, as in the tests below."""
    compare(one_rank["full"], train_and_resume(recipe(**RECIPE, **EVALUATED, **SAVED), train, fork=False))


def test_ddp_lora(one_rank, recipe, train):
    """The reference is the model with its adapters off, inside DDP."""
    two = train(recipe(**RECIPE, finetuning_type="lora", lora_rank=4), **TWO_RANKS)
    compare(one_rank["lora"], two)
    alone, together = recorded(one_rank["lora"]), recorded(two)
    assert set(alone) == set(together) and len(alone) == 32
    for key, record in alone.items():
        assert together[key] == {name: pytest.approx(value, rel=1e-4, abs=2e-5) for name, value in record.items()}


def test_ddp_baseline(one_rank, recipe, train):
    """BCO's delta is the mean reward of the batches of all ranks."""
    # the mean logit is one over the tokens of a micro-batch, and those of one rank are twice as large here
    # and rewards are differences of sums around 200, which float32 knows to 1.5e-5, of other micro-batches
    compare(one_rank["baseline"], train(recipe(**BASELINE), **TWO_RANKS), but=("logits/",), rewards=3e-5)


@pytest.mark.parametrize("stage", ["z2", "z3"])
def test_deepspeed(stage, one_rank, recipe, train):
    config = str(ROOT / "examples" / "deepspeed" / f"ds_{stage}_config.json")
    # `use_cpu: true` would make DeepSpeed see a world of one rank
    changed = recipe(**RECIPE, **EVALUATED, **SAVED, deepspeed=config, use_cpu=None)
    compare(one_rank["full"], train_and_resume(changed, train))
