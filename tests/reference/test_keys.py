# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A row is known by its content: whatever changes a log-probability changes its key, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from resonance.reference.keys import row_key
from resonance.training.reference import PAIR_COLUMNS

ROW = {
    "chosen_input_ids": [1, 2, 3],
    "chosen_labels": [-100, 2, 3],
    "rejected_input_ids": [1, 4],
    "rejected_labels": [-100, 4],
    "images": None,
    "_source": "pairs.json",
}


def picture(path, colour="red"):
    Image.new("RGB", (8, 8), colour).save(path)
    return str(path)


def key_of(row):
    return row_key(row, PAIR_COLUMNS)


def test_a_row_is_known_by_its_content(tmp_path):
    one, two = picture(tmp_path / "one.png"), picture(tmp_path / "two.png")
    with open(one, "rb") as file:
        content = file.read()
    by_path = key_of({**ROW, "images": [one]})
    assert by_path == key_of({**ROW, "images": [two], "_source": "elsewhere.json"})
    assert by_path == key_of({**ROW, "images": [{"bytes": content, "path": None}]})
    assert by_path == key_of(
        {**{k: np.asarray(v) for k, v in ROW.items() if "ids" in k or "labels" in k}, "images": [one]}
    )


def test_whatever_changes_a_log_probability_changes_the_key(tmp_path):
    red, blue = picture(tmp_path / "red.png"), picture(tmp_path / "blue.png", "blue")
    rows = [
        ROW,
        {**ROW, "chosen_input_ids": [1, 2, 4]},
        {**ROW, "chosen_labels": [-100, -100, 3]},
        {**ROW, "rejected_input_ids": [1, 2]},
        {**ROW, "chosen_input_ids": [1, 2], "rejected_input_ids": [3, 1, 4]},  # the same numbers in a row
        {**ROW, "images": [red]},
        {**ROW, "images": [blue]},
        {**ROW, "images": [red, blue]},
        {**ROW, "images": [blue, red]},
        {**ROW, "videos": [red]},
        {**ROW, "videos": [[red]]},
        {**ROW, "images": [red], "_image_sizes": "[[4, 4]]"},
        {**ROW, "images": [Image.new("RGB", (8, 8), "red")]},
        {**ROW, "audios": [np.zeros(4, dtype=np.float32)]},
        {**ROW, "audios": [np.zeros((2, 2), dtype=np.float32)]},
    ]
    keys = [key_of(row) for row in rows]
    assert len(set(keys)) == len(rows)
    picture(red, "green")  # the same name, another picture
    assert key_of(rows[5]) != keys[5]


def test_what_cannot_be_keyed_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="medium of type int"):
        key_of({**ROW, "images": [3]})
    with pytest.raises(FileNotFoundError):
        key_of({**ROW, "images": [str(tmp_path / "gone.png")]})


@pytest.mark.parametrize("column", PAIR_COLUMNS)
def test_every_column_of_a_pair_counts(column):
    """Once by a number, once by its end."""
    changed = [{**ROW, column: [*ROW[column][:-1], 9]}, {**ROW, column: [*ROW[column], 9]}]
    assert len({key_of(row) for row in [ROW, *changed]}) == 3


def test_columns_count_by_name_and_only_those_that_are_named():
    row = {"input_ids": [1, 2], "labels": [1, 2], "weight": [3]}
    ids, labels, both = (row_key(row, names) for names in (("input_ids",), ("labels",), ("input_ids", "labels")))
    assert len({ids, labels, both}) == 3
    assert ids == row_key({**row, "labels": [7], "weight": [7]}, ("input_ids",))


def test_the_key_of_a_pair_is_what_it_always_was():
    """Or every folder that users have would be computed again."""
    assert key_of(ROW).hex() == "4c5f1b9049d021f249d95feed8dc3c24"
    with_media = {**ROW, "_image_sizes": "[[4, 4]]", "images": [b"x"]}
    assert key_of(with_media).hex() == "82b3e7ae243c5ebd0b866925c3a4b8a1"
