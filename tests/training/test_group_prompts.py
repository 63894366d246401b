# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`group_prompts` in whole runs: the numbers of plain rows, with their prompts and answers read once."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import datasets
import pytest

from conftest import DATA
from resonance.forward.names import SPEEDUPS
from training.mixed import on_off, same_numbers
from training.test_ranks import TWO_RANKS

COLOURS = ("red", "green", "blue", "yellow")


def rows_of(number, count, image):
    """All pairs of so many answers to the prompt of this number."""
    texts = [f"It is a {colour} one." + " I see it." * (place % 3) for place, colour in enumerate(COLOURS[:count])]
    instruction = "<image>" * (image is not None) + f"Number {number}: what is it?"
    some = {"instruction": instruction, "images": [] if image is None else [str(DATA / "images" / f"{image}.png")]}
    return [{**some, "chosen": a, "rejected": b} for a, b in combinations(texts, 2)]


def write(folder):
    """18 pairs of 6 prompts, those of one far apart; the keys that train them six at a time."""
    parts = [rows_of(0, 4, 0), rows_of(1, 4, 1), rows_of(2, 3, None), rows_of(3, 2, 0), rows_of(4, 2, 2)]
    parts.append(rows_of(5, 2, None))
    rows = [part[place] for place in range(6) for part in parts if place < len(part)]
    (folder / "pairs.json").write_text(json.dumps(rows))
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    info = {"pairs": {"file_name": "pairs.json", "ranking": True, "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    keys = {"dataset_dir": str(folder), "media_dir": str(folder), "pref_loss": "sigmoid", "pref_engine": "resonance"}
    keys["data_seed"] = 2  # of an order that begins with six pairs about a picture
    keys |= {"freeze_vision_tower": True, "freeze_multi_modal_projector": True}
    return {**keys, "finetuning_type": "lora", "lora_rank": 4, "learning_rate": 2e-3, "per_device_train_batch_size": 6}


def lines(run):
    return re.findall(r"group_prompts: (.*)", run.output)


def tokens(run):
    """Of the first batch: in plain rows, and in those that the model reads."""
    return tuple(map(int, re.search(r"(\d+) tokens a pass become (\d+)", run.output).groups()))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def runs(keys, train_many):
    found = train_many(
        {
            "grouped": keys,
            "plain rows": {**keys, "group_prompts": True, "pref_speedups": "off"},
            "ungrouped": {**keys, "group_prompts": False},
            "LlamaFactory": {**keys, "pref_engine": None},
        }
    )
    for name, run in found.items():
        assert run.returncode == 0, (name, run.output[-4000:])
    return found


def test_the_same_numbers_as_plain_rows_in_this_order(runs):
    assert on_off(runs["grouped"])[0] == set(SPEEDUPS) and on_off(runs["plain rows"])[0] == set()
    same_numbers(runs["grouped"], runs["plain rows"])
    assert len(runs["grouped"].logged("loss")) == 3
    plain, read = tokens(runs["grouped"])
    assert read < plain / 8  # twelve rows, and one with four answers
    (line,) = lines(runs["grouped"])
    assert line.startswith("15 of 18 rows share 3 prompts, most often 6 rows one prompt; rows of a prompt follow one")


def test_without_it_the_order_is_llamafactorys(runs):
    same_numbers(runs["ungrouped"], runs["LlamaFactory"])
    assert not lines(runs["ungrouped"]) and len(runs["ungrouped"].logged("loss")) == 3
    assert runs["grouped"].logged("loss") != runs["ungrouped"].logged("loss")


@pytest.mark.slow
def test_two_ranks_take_what_one_takes_in_two_micro_batches(keys, recipe, train, train_many):
    """And a run that was stopped in the second epoch goes on to the same bits."""
    base = {**keys, "per_device_train_batch_size": 3, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 4}
    alone = train_many({"alone": {**base, "gradient_accumulation_steps": 2, "save_strategy": "no"}})["alone"]
    both = train(recipe(**base), **TWO_RANKS)
    resume = {"resume_from_checkpoint": str(both.output_dir / "checkpoint-4")}
    resumed = train(recipe(**base, output_dir=str(both.output_dir) + "-resumed", **resume), **TWO_RANKS)
    names = ("loss", "grad_norm", "rewards/margins", "logps/chosen")
    assert len(both.logged(*names)) == 6 and lines(both) and len(lines(both)) == 1
    for one, two in zip(alone.logged(*names), both.logged(*names), strict=True):
        assert two == pytest.approx(one, abs=1e-5, rel=1e-4)
    assert resumed.logged(*names) == both.logged(*names)


def test_embedded_images_with_the_reference_and_features_kept(keys, runs, tmp_path, train_many):
    """Each row then brings an image of its own; what is kept is looked up by content, whatever the order."""
    rows = json.loads((Path(keys["dataset_dir"]) / "pairs.json").read_text())
    some = datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))
    some.map(lambda row: row).to_parquet(tmp_path / "pairs.parquet")
    info = json.loads((Path(keys["dataset_dir"]) / "dataset_info.json").read_text())
    info["pairs"]["file_name"] = "pairs.parquet"
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    kept = {"precompute_ref_log_probs": True, "image_feature_cache": "50MB", "num_train_epochs": 2}
    run = train_many({"embedded": {**keys, "dataset_dir": str(tmp_path), **kept}})["embedded"]
    assert run.returncode == 0, run.output[-4000:]
    assert lines(run) == lines(runs["grouped"]) and len(run.logged("loss")) == 6
    assert tokens(run) == tokens(runs["grouped"])
    assert "Reference log-probs: 18 rows computed" in run.output
    first, other = run.logged("loss", "logps/chosen")[0], runs["grouped"].logged("loss", "logps/chosen")[0]
    assert first == pytest.approx(other, abs=1e-5, rel=1e-4)
