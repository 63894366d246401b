# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`image_feature_cache` in whole runs: the numbers of a run without it, fewer calls of the tower, and what is said."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from conftest import DATA

ROOT = Path(__file__).parents[2]
CPU_RANKS = str(Path(__file__).parents[1] / "cpu_ranks")
PATHS = os.pathsep.join(filter(None, (CPU_RANKS, os.environ.get("PYTHONPATH"))))
TWO_RANKS = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "PYTHONPATH": PATHS}

FROZEN = {"freeze_vision_tower": True, "freeze_multi_modal_projector": True, "max_samples": 12}
RECIPE = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "num_train_epochs": 3, **FROZEN}
LORA = {"finetuning_type": "lora", "lora_rank": 4}
CACHE = {"image_feature_cache": "50MB"}
EVALUATED = {"eval_dataset": "pairs", "eval_strategy": "epoch", "per_device_eval_batch_size": 3}
DISTINCT = 9  # of the twelve files, by content
NOT_COMPARED = ("runtime", "per_second", "total_flos", "train_loss")  # the last is a mean since the resume


def passed(runs):
    for name, run in runs.items():
        assert run.returncode == 0, (name, run.output[-4000:])
    return runs


def same(one, other, **close):
    """Equal logs: losses, rewards, log-probabilities and the norms of gradients of every step; bit for bit."""
    ours, theirs = one.state["log_history"], other.state["log_history"]
    assert len(ours) == len(theirs) and any("grad_norm" in line for line in ours)
    for cached, plain in zip(ours, theirs, strict=True):
        assert set(cached) == set(plain)
        for key in plain:
            if not key.endswith(NOT_COMPARED):
                expected = pytest.approx(plain[key], **close) if close else plain[key]
                assert cached[key] == expected, (plain["step"], key)


def summary(run):
    """(pictures not encoded again, pictures looked up, pictures kept)"""
    found = re.search(r"image_feature_cache: (\d+) of (\d+) pictures were not encoded again; (\d+) kept", run.output)
    assert found, run.output[-3000:]
    return tuple(map(int, found.groups()))


def told(run):
    return re.findall(r"image_feature_cache: (.*)", run.output)


def test_a_run_with_it_is_a_run_without_it(train_many):
    """Three epochs, in other batches each time; with an evaluation after each, every picture is encoded once."""
    recipes = {
        "full": {**RECIPE, **EVALUATED},
        "lora": {**RECIPE, **LORA, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    }
    runs = {
        name + with_it: {**r, **(CACHE if with_it else {})} for name, r in recipes.items() for with_it in ("", "+")
    }
    runs = passed(train_many(runs))
    for name in recipes:
        same(runs[f"{name}+"], runs[name])
    assert summary(runs["full+"]) == (2 * 3 * 12 - DISTINCT, 2 * 3 * 12, DISTINCT)
    assert summary(runs["lora+"]) == (3 * 12 - DISTINCT, 3 * 12, DISTINCT)
    assert told(runs["lora+"])[0].startswith("12 pictures, 3.0 passes over the rows; up to 50 MB of host memory")
    assert not told(runs["lora"]) and "image_feature_cache" not in runs["lora"].output


@pytest.mark.slow
def test_what_is_said_when_it_is_not_used(train_many, tmp_path):
    text = tmp_path / "text"
    text.mkdir()
    rows = [
        {
            name: row[name].replace("<image>", "") if name == "instruction" else row[name]
            for name in row
            if name != "images"
        }
        for row in json.loads((DATA / "pairs.json").read_text())
    ]
    info = json.loads((DATA / "dataset_info.json").read_text())
    del info["pairs"]["columns"]["images"]
    (text / "pairs.json").write_text(json.dumps(rows))
    (text / "dataset_info.json").write_text(json.dumps(info))
    base = {**RECIPE, **LORA, **CACHE, "max_samples": 4}
    runs = passed(
        train_many(
            {
                "one epoch": {**base, "num_train_epochs": 1},
                "trainable": {**base, "finetuning_type": "full", "freeze_vision_tower": False, "num_train_epochs": 2},
                "text": {**base, "dataset_dir": str(text)},
                "stream": {**base, "streaming": True, "max_steps": 1, "max_samples": None},
                "small": {**base, "image_feature_cache": "3KB"},
            }
        )
    )
    assert told(runs["one epoch"]) == ["off: no picture comes a second time."]
    assert told(runs["text"]) == ["off: the rows have no pictures."]
    assert told(runs["stream"]) == ["off: whether a stream shows a picture again is not known."]
    assert told(runs["trainable"])[1] == "not used while the vision tower trains."
    assert told(runs["small"])[1].startswith("full with ")


@pytest.mark.slow
def test_one_epoch_over_repeated_pictures(train_many, tmp_path):
    """Preference sets ask several questions about one picture: that pays in the first epoch."""
    rows = json.loads((DATA / "pairs.json").read_text())[:6]
    for row in rows[3:]:
        row["images"] = rows[0]["images"]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text((DATA / "dataset_info.json").read_text())
    recipe = {**RECIPE, **LORA, "num_train_epochs": 1, "dataset_dir": str(tmp_path), "per_device_train_batch_size": 1}
    runs = passed(train_many({"without": recipe, "with": {**recipe, **CACHE}}))
    same(runs["with"], runs["without"])
    assert summary(runs["with"]) == (3, 6, 3)


@pytest.mark.slow
def test_what_the_reference_was_computed_with_serves_the_training(train_many):
    """With LoRA the reference's pass fills the cache, and training encodes nothing."""
    recipe = {**RECIPE, **LORA, "precompute_ref_log_probs": True, "num_train_epochs": 1}
    runs = passed(train_many({"without": recipe, "with": {**recipe, **CACHE}}))
    same(runs["with"], runs["without"])
    assert told(runs["with"])[0].startswith("12 pictures, 2.0 passes")
    hits, looked, kept = summary(runs["with"])
    assert kept == DISTINCT and looked - hits == kept and looked > 12


@pytest.mark.slow
def test_resumed(train_many):
    """The cache is not part of a checkpoint: it fills again, and the run goes on bit for bit."""
    recipe = {**RECIPE, **LORA, **CACHE, "save_strategy": "steps", "save_steps": 4}
    whole = passed(train_many({"whole": recipe}))["whole"]
    middle = str(whole.output_dir / "checkpoint-4")
    resumed = passed(train_many({"resumed": {**recipe, "resume_from_checkpoint": middle}}))["resumed"]
    same(resumed, whole)
    assert summary(resumed)[0] > 0


@pytest.mark.slow
def test_two_ranks(train_many, recipe, train):
    """Each rank has a cache of its own, and finds what it has seen itself."""
    changes = {**RECIPE, **LORA, "per_device_train_batch_size": 2}
    alone = passed(train_many({"alone": {**changes, "gradient_accumulation_steps": 2}}))["alone"]
    together = train(recipe(**changes, **CACHE), timeout=900, **TWO_RANKS)
    same(together, alone, abs=1e-5, rel=1e-4)
    hits, looked, kept = summary(together)  # of the first rank
    assert looked == 3 * 12 / 2 and hits + kept == looked and hits > 0


@pytest.mark.slow
def test_zero_3(train_many, recipe, train):
    """Ranks that gather weights at every call of the tower must call it equally often: off, and said."""
    changes = {**RECIPE, **LORA, "per_device_train_batch_size": 2}
    alone = passed(train_many({"alone": {**changes, "gradient_accumulation_steps": 2}}))["alone"]
    config = str(ROOT / "examples" / "deepspeed" / "ds_z3_config.json")
    together = train(recipe(**changes, **CACHE, deepspeed=config, use_cpu=None), timeout=900, **TWO_RANKS)
    same(together, alone, abs=1e-5, rel=1e-4)
    assert "spread over ranks" in told(together)[1]
