# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What sources of rows are called in metrics and in pairs.jsonl."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from resonance.rows.sources import SourceNames


@pytest.fixture
def data(tmp_path):
    entries = {
        "mine": {"file_name": "pairs.json"},
        "parts": {"file_name": "parts"},
        "hub": {"hf_hub_url": "org/set", "subset": "english"},
        "not_of_this_run": {"file_name": "other.json"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    (tmp_path / "other.json").write_text("[]")
    return SimpleNamespace(dataset=["mine", "parts"], eval_dataset=["hub", "mine"], dataset_dir=str(tmp_path))


@pytest.mark.parametrize(
    "source, expected",
    [
        ("{}/pairs.json", "mine"),
        ("{}/parts/a.jsonl", "parts/a"),
        ("org/set/english", "hub"),
        ("{}/other.json", "other"),
        ("org/another", "org/another"),
    ],
)
def test_the_name_of_the_data_set_or_of_the_file(data, source, expected):
    assert SourceNames(data)(source.format(data.dataset_dir)) == expected


def test_without_a_folder_of_entries_a_source_keeps_its_name(data, tmp_path):
    data.dataset_dir = "ONLINE"
    assert SourceNames(data)("org/set") == "org/set"
    data.dataset, data.eval_dataset = ["mine"], None
    data.dataset_dir = {"mine": {"file_name": "pairs.json"}}
    assert SourceNames(data)("pairs.json") == "mine"
