# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A stream with pictures trains, on one rank and on two, and gives what the same rows give when they are loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.test_ranks import TWO_RANKS

ROOT = Path(__file__).parents[1]
DATA = ROOT / "golden" / "trajectory" / "data"
RECIPE = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "max_steps": 4, "num_train_epochs": None}
# a stream has no sampler to shuffle with
IN_ORDER = {**RECIPE, "disable_shuffling": True, "buffer_size": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    pairs = json.loads((DATA / "pairs.json").read_text())
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    info = json.loads((DATA / "dataset_info.json").read_text())
    info["pairs"]["file_name"] = "pairs.jsonl"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture(scope="module")
def runs(folder, train_many):
    data = {**IN_ORDER, "dataset_dir": str(folder)}
    runs = train_many(
        {
            "loaded": data,
            "streamed": {**data, "streaming": True},
            "workers": {**data, "streaming": True, "dataloader_num_workers": 1},
            "one-rank": {
                **data,
                "streaming": True,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
            },
        }
    )
    for run in runs.values():
        assert run.returncode == 0, run.output[-4000:]
    return runs


@pytest.mark.parametrize("name", ["streamed", "workers"])
def test_a_stream_trains_what_its_rows_train(runs, name):
    names = ("loss", "w_qual", "logps/chosen")
    assert len(runs[name].logged(*names)) == 4
    for streamed, loaded in zip(runs[name].logged(*names), runs["loaded"].logged(*names), strict=True):
        assert streamed == pytest.approx(loaded, rel=1e-6)


def test_a_stream_of_which_nothing_is_left_stops(recipe, train, folder):
    run = train(
        recipe(**IN_ORDER, dataset_dir=str(folder), streaming=True, cutoff_len=40, overlong="drop"), check=False
    )
    assert run.returncode != 0
    assert "The stream gave not one row, so nothing was trained and nothing is saved." in run.output
    assert not list(run.output_dir.glob("*.safetensors"))


def test_two_ranks_share_a_stream(runs, folder, recipe, train):
    together = train(
        recipe(**IN_ORDER, dataset_dir=str(folder), streaming=True, per_device_train_batch_size=2), **TWO_RANKS
    )
    for two, one in zip(together.logged("loss"), runs["one-rank"].logged("loss"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)
