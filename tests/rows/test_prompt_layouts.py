# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Prompts as public sets have them, registered by what their rows look like, up to what rewards read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resonance.datafiles.infer import infer_entry
from resonance.datafiles.write import write_rows
from resonance.rewards import reward_problems
from resonance.rollout.types import Completion
from resonance.rows.prompts import columns_by_source, meta_of
from resonance.training.judge import make_judge

QUESTION = "<image>Which colour?"
ASKED = [{"role": "user", "content": QUESTION}]
GRADED = {"style": "rule", "ground_truth": "red"}
TRUTH = "reward_model.ground_truth"
LAYOUTS = {  # the columns beside images, and the one that a reward reads
    "easyr1": ({"problem": QUESTION, "answer": "red"}, "answer"),
    "solution": ({"problem": QUESTION, "solution": "red"}, "solution"),
    "messages": ({"messages": ASKED, "answer": "red"}, "answer"),
    "verl": ({"prompt": ASKED, "reward_model": GRADED, "data_source": "colours", "extra_info": {"index": 0}}, TRUTH),
    "learned": ({"question": QUESTION, "answer": "red"}, "answer"),
}


@pytest.fixture
def registered(data, load):
    """Write three rows of a layout, register them by what they look like, and load them for stage: ppo."""

    def run(row, suffix=".json", meta=None, **entry):
        path = data.folder / f"rows{suffix}"
        rows = [{**row, "images": [f"images/{i}.png"]} for i in range(3)]
        if suffix == ".parquet":
            import datasets

            for each in rows:
                each["images"] = [{"bytes": Path(data.folder, each["images"][0]).read_bytes(), "path": None}]
            datasets.Dataset.from_list(rows).to_parquet(str(path))
        else:
            write_rows(path, rows)
        info = data.folder / "dataset_info.json"
        told = infer_entry(path, info) | entry
        told["columns"] |= {} if meta is None else {"meta": meta}
        info.write_text(json.dumps({"prompts": told}))
        rewards = [{"name": "length", "max_length": 9}]
        return load(stage="ppo", rewards=rewards, dataset="prompts").train

    return run


def reward(rows, column):
    """What `exact` makes of a right and a wrong completion of the first row."""
    texts = {1: "red", 2: "blue"}
    judge = make_judge(
        [{"name": "exact", "answer": column}], {"train_dataset": rows}, lambda ids: texts.get(ids[0], "")
    )
    completions = [Completion([i], [0.0], "stop", 0) for i in texts]
    return judge([rows[0], rows[0]], completions)[1].parts["exact"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_reaches_the_rewards(registered, layout, suffix):
    row, column = LAYOUTS[layout]
    rows = registered(row, suffix)
    assert len(rows) == 3 and all(row["input_ids"] and len(row["images"]) == 1 for row in rows)
    assert meta_of(rows[0])[column] == "red"
    assert reward(rows, column) == [1.0, 0.0]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_same_prompt_in_the_openai_format(registered, suffix):
    row, column = LAYOUTS["verl"]
    assert reward(registered(row, suffix, formatting="openai"), column) == [1.0, 0.0]


def test_a_path_that_is_not_there_is_answered_with_the_nearest(registered):
    row, _ = LAYOUTS["verl"]
    ((source, columns),) = columns_by_source(registered(row)).items()
    assert source.endswith("rows.json")
    assert {"reward_model", TRUTH, "reward_model.style", "data_source", "extra_info.index"} <= set(columns)
    (problem,) = reward_problems([{"name": "exact", "answer": "reward_model.groundtruth"}], columns)
    assert f"the data has no column 'reward_model.groundtruth' (nearest: {TRUTH}" in problem


def test_meta_that_is_no_list(registered):
    with pytest.raises(
        ValueError, match=r"`meta` is 'answer', but a list of columns is needed, such as \[\"answer\"\]"
    ):
        registered(LAYOUTS["easyr1"][0], meta="answer")
