# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Ugly input through whole runs: a clear error before step 1, or a counted skip; nothing is lost in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "golden" / "trajectory" / "data"
SHORT = {"pref_loss": "uni_dpo", "max_steps": 1, "num_train_epochs": None}
PAIRS = json.loads((DATA / "pairs.json").read_text())
NAN = float("nan")


def changed(row: int, **changes):
    """The golden pairs with one row changed; None removes a key."""
    pairs = [dict(pair) for pair in PAIRS]
    pairs[row] = {key: value for key, value in {**pairs[row], **changes}.items() if value is not None}
    return pairs


BROKEN = {
    # name: (rows, what the message must hold)
    "missing-image": (changed(3, images=["images/nowhere.png"]), ["row 3", "nowhere.png"]),
    "corrupt-image": (changed(5, images=["images/corrupt.png"]), ["row 5", "corrupt.png"]),
    "truncated-image": (changed(5, images=["images/truncated.png"]), ["row 5"]),
    "more-images": (changed(7, images=["images/1.png", "images/2.png"]), ["row 7", "2 images", "1 `<image>`"]),
    "fewer-images": (changed(8, images=[]), ["row 8", "0 images", "1 `<image>`"]),
    "score-nan": (changed(9, score_chosen=NAN), ["row 9", "score"]),
    "score-missing": (changed(10, score_rejected=None), ["row 10", "score"]),
    "score-string": (changed(11, score_chosen="high"), ["row 11", "score", "high"]),
}
SKIPPED = {
    "empty-response": changed(12, rejected=""),
    "identical-pair": changed(13, rejected=PAIRS[13]["chosen"]),
}
RECIPES = {
    "unknown-loss": ({"pref_loss": "uni-dpo"}, ["pref_loss", "uni-dpo", "uni_dpo"]),
    "unknown-key": ({"uni_dpo_gamma": 3.0}, ["uni_dpo_gamma", "did you mean uni_dpo_perf_gamma"]),
    "wrong-dataset": ({"dataset": "pair"}, ["'pair' is not in", "nearest: pairs"]),
    "unwritable": ({"output_dir": "/dev/null/out"}, ["output_dir: cannot write to '/dev/null/out'"]),
    "bad-values": ({"pref_beta": 0, "uni_dpo_perf_gamma": -1}, ["2 problems", "pref_beta", "uni_dpo_perf_gamma"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train_many):
    folder = tmp_path_factory.mktemp("ugly")
    shutil.copytree(DATA / "images", folder / "images")
    (folder / "images" / "corrupt.png").write_bytes(b"no picture at all")
    whole = (folder / "images" / "0.png").read_bytes()
    (folder / "images" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    entry = json.loads((DATA / "dataset_info.json").read_text())["pairs"]
    info = {}
    for name, rows in {**{name: rows for name, (rows, _) in BROKEN.items()}, **SKIPPED}.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
        info[name] = {**entry, "file_name": f"{name}.json"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    data = {"dataset_dir": str(folder), "media_dir": str(folder)}
    jobs = {name: {**SHORT, **data, "dataset": name} for name in info}
    jobs["both-skips"] = {**SHORT, **data, "dataset": "empty-response,identical-pair"}
    jobs["unscored-loss"] = {**SHORT, **data, "pref_loss": "hinge", "dataset": "score-missing"}
    jobs |= {name: {**SHORT, **changes} for name, (changes, _) in RECIPES.items()}
    return train_many(jobs)


@pytest.mark.parametrize("name", [*BROKEN, *RECIPES])
def test_a_clear_error_before_step_one(runs, name):
    run, parts = runs[name], (BROKEN | RECIPES)[name][1]
    message = f"\n{run.output}"
    message = message[message.rfind("\nValueError") :]
    assert run.returncode and message, run.output[-3000:]
    for part in parts:
        assert part in message, message
    if name in BROKEN:
        assert f"{name}.json" in message, "the file is named"
    assert "train_runtime" not in run.output


@pytest.mark.parametrize(("name", "row"), [("empty-response", 12), ("identical-pair", 13)])
def test_a_counted_and_listed_skip(runs, name, row):
    run, reason = runs[name], name.replace("-", " ")
    assert run.returncode == 0, run.output[-3000:]
    assert "kept 31 of 32 rows" in run.output and f"1 {reason} ({row})" in run.output
    (line,) = (run.output_dir / "skipped_rows.jsonl").read_text().splitlines()
    listed = json.loads(line)
    assert listed["row"] == row and listed["reason"] == reason and listed["source"].endswith(f"{name}.json")


def test_skips_of_two_sets_are_listed_together(runs):
    lines = (runs["both-skips"].output_dir / "skipped_rows.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["reason"] for line in lines) == ["empty response", "identical pair"]


def test_scores_do_not_matter_to_a_loss_that_needs_none(runs):
    assert runs["unscored-loss"].returncode == 0, runs["unscored-loss"].output[-3000:]
