# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`stage: kto` on our trainer, in whole runs: LlamaFactory's numbers on text, resume, reference on disk, two ranks."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file

from conftest import DATA, SIDES
from training.test_ranks import TWO_RANKS

KTO = {"stage": "kto", "dataset": "kto", "pref_beta": 0.5, "group_prompts": "false"}
OURS = {**KTO, "kto_engine": "resonance"}
STEPS = {"max_steps": 4, "num_train_epochs": None}
TIMING = ("runtime", "per_second", "flos")
NAMES = ("loss", "grad_norm", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "weight")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Judged answers to the golden pairs' questions, with pictures and weights; `held` has good ones alone."""
    made = tmp_path_factory.mktemp("kto")
    pairs = json.loads((DATA / "pairs.json").read_text())
    rows = [
        {**pair, "response": pair[side], "good": side == "chosen", "trust": 0.5 + number % 3 / 2}
        for side in SIDES
        for number, pair in enumerate(pairs)
    ]
    (made / "kto.json").write_text(json.dumps(rows))
    (made / "held.json").write_text(json.dumps(rows[:5]))
    columns = {"prompt": "instruction", "response": "response", "images": "images", "kto_tag": "good"}
    info = {
        "kto": {"file_name": "kto.json", "columns": {**columns, "weight": "trust"}},
        "held": {"file_name": "held.json", "columns": columns},
    }
    (made / "dataset_info.json").write_text(json.dumps(info))
    return made


@pytest.fixture(scope="module")
def full(folder):
    """All at once: pictures, weights, `pref_ftx`, the projector's learning rate, evaluation, checkpoints."""
    evaluated = {"eval_dataset": "held", "eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 4}
    saved = {"save_strategy": "steps", "save_steps": 2, "save_only_model": False}
    return {
        **OURS, **STEPS, **evaluated, **saved, "dataset_dir": str(folder), "sample_weights": True, "pref_ftx": 0.1,
        "kto_rejected_weight": 0.2, "freeze_multi_modal_projector": False, "projector_lr": 5e-5, "learning_rate": 1e-4,
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(full, train_many):
    (run,) = train_many({"whole": full}).values()
    assert run.returncode == 0, run.output[-4000:]
    return run


def numbers(run):
    history = run.state["log_history"]
    return [{key: value for key, value in line.items() if not key.endswith(TIMING)} for line in history]


def test_what_is_logged(whole):
    lines = whole.logged(*NAMES)
    assert len(lines) == 4 and lines[0][2] == 0, "policy and reference are the same model at first"
    assert max(line[2] for line in lines) > 0 and all(line[5] == pytest.approx(line[3] - line[4]) for line in lines)
    evaluations = [line for line in numbers(whole) if "eval_loss" in line]
    assert len(evaluations) == 2
    wanted = {"eval_loss", "eval_kl", "eval_rewards/chosen", "eval_logps/chosen"}
    assert wanted <= evaluations[0].keys() and "eval_weight" not in evaluations[0]
    assert "eval_rewards/rejected" not in evaluations[0], "the set has good answers alone"
    rates = whole.logged("learning_rate", "learning_rate/projector")
    assert len(rates) == 4 and all(projector == pytest.approx(rate / 2) for rate, projector in rates)
    assert "rows: 32 good, 32 bad answers to train on" in whole.output


def test_a_resumed_run_equals_one_that_never_stopped(whole, full, train, recipe, tmp_path):
    checkpoint = tmp_path / "checkpoint-2"
    shutil.copytree(whole.output_dir / "checkpoint-2", checkpoint)
    resumed = train(recipe(**full, output_dir=tmp_path / "resumed", resume_from_checkpoint=str(checkpoint)))
    assert not (resumed.output_dir / "checkpoint-2").exists(), "it has not started anew"
    assert numbers(resumed)[:-1] == numbers(whole)[:-1]  # the last line is of the part that ran
    ours, theirs = (load_file(run.output_dir / "model.safetensors") for run in (resumed, whole))
    assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


def test_a_reference_on_disk_gives_the_same_numbers(whole, full, train, recipe):
    """It is computed of both sets, of which one has no weights."""
    cached = train(recipe(**full, precompute_ref_log_probs=True))
    for name in NAMES:
        for ours, theirs in zip(cached.logged(name), whole.logged(name), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5), name
    assert (cached.output_dir / "ref_log_probs" / "manifest.json").is_file()


@pytest.mark.slow
def test_two_ranks_equal_one_with_a_batch_twice_as_large(whole, full, train, recipe):
    """Some batches have good or bad answers alone; in the last of the evaluation one rank has no row of its own."""
    halves = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2}
    two = train(recipe(**{**full, **halves}), **TWO_RANKS)
    for alone, together in zip(numbers(whole), numbers(two), strict=True):
        assert set(alone) == set(together)
        for key, value in alone.items():
            assert together[key] == pytest.approx(value, abs=1e-5, rel=1e-4), (alone.get("step"), key)


def test_on_text_it_is_llamafactorys(train, recipe, with_sft_set, tmp_path):
    """The same rows, borrowed answers, losses and weights after four steps."""
    common = {**KTO, **STEPS, "dataset_dir": str(with_sft_set), "template": "qwen"}
    ours = train(recipe(**{**common, **OURS}, output_dir=tmp_path / "ours"))
    del common["group_prompts"]
    theirs = train(recipe(**common, output_dir=tmp_path / "theirs"))
    for name in ("loss", "grad_norm", "kl", "rewards/chosen", "logps/rejected"):
        mine, other = ours.logged(name), theirs.logged(name)
        assert len(mine) > 2 and mine == [pytest.approx(value, abs=1e-5, rel=1e-4) for value in other], name
    assert max(ours.logged("kl"))[0] > 0
    mine, other = (load_file(run.output_dir / "model.safetensors") for run in (ours, theirs))
    assert mine.keys() == other.keys()
    assert max(float((mine[key] - other[key]).abs().max()) for key in mine) < 1e-4
