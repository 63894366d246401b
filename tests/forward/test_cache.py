# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reference log-probabilities on disk: keys of rows, fingerprints of models, and what a store refuses."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from resonance.forward.cache import MANIFEST, ReferenceStore
from resonance.forward.fingerprint import config_fingerprint, row_key, short, weights_fingerprint

SETTINGS = {"template": "qwen2_vl", "image_max_pixels": 589824, "adapters": [], "quantization": None}
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


def store(folder, **changes):
    return ReferenceStore(folder, {**SETTINGS, **changes}, {"model": "m"})


def filled(folder, keys=(b"a" * 16, b"b" * 16)):
    made = store(folder)
    made.begin()
    made.add(keys, torch.tensor([[-4.0, -6.0], [-8.0, -9.0]]), torch.tensor([[2, 3], [4, 3]]))
    return made


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_row_is_known_by_its_content(tmp_path):
    one, two = picture(tmp_path / "one.png"), picture(tmp_path / "two.png")
    with open(one, "rb") as file:
        content = file.read()
    by_path = row_key({**ROW, "images": [one]})
    assert by_path == row_key({**ROW, "images": [two], "_source": "elsewhere.json"})
    assert by_path == row_key({**ROW, "images": [{"bytes": content, "path": None}]})
    assert by_path == row_key(
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
    keys = [row_key(row) for row in rows]
    assert len(set(keys)) == len(rows)
    picture(red, "green")  # the same name, another picture
    assert row_key(rows[5]) != keys[5]


def test_what_cannot_be_keyed_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="medium of type int"):
        row_key({**ROW, "images": [3]})
    with pytest.raises(FileNotFoundError):
        row_key({**ROW, "images": [str(tmp_path / "gone.png")]})


# -- fingerprints -----------------------------------------------------------------------------------------------------


def test_weights_are_known_by_content_not_by_name_or_date(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    weights = {"head": torch.ones(2000, 2), "norm": torch.ones(3)}
    save_file(weights, str(base / "model.safetensors"))
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    os.utime(copy / "model.safetensors", (1, 1))
    assert weights_fingerprint(copy) == weights_fingerprint(base)
    trained = {**weights, "norm": torch.tensor([1.0, 1.0, 1.1])}
    save_file(trained, str(copy / "model.safetensors"))  # same names, shapes and size
    assert weights_fingerprint(copy) != weights_fingerprint(base)


def test_other_weight_files(tmp_path):
    with pytest.raises(ValueError, match="no \\*.safetensors nor \\*.bin"):
        weights_fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(3 << 20))
    before = weights_fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(2 << 20) + b"\1" + bytes((1 << 20) - 1))
    assert weights_fingerprint(tmp_path) != before


def test_configs(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        config_fingerprint(tmp_path)
    found = []
    for content in ({"a": 1, "_name_or_path": "x"}, {"_name_or_path": "y", "a": 1}, {"a": 2}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        found.append(config_fingerprint(tmp_path))
    assert found[0] == found[1] != found[2] == short({"a": 2})


# -- the store --------------------------------------------------------------------------------------------------------


def test_what_is_added_is_found_by_every_reader(tmp_path):
    reader = store(tmp_path)
    writer = filled(tmp_path)
    other = store(tmp_path)
    other.add([b"c" * 16], torch.tensor([[-1.0, -2.0]]), torch.tensor([[1, 1]]))
    for each in (reader, writer):
        each.reload()
        assert len(each) == 3 and b"c" * 16 in each and b"d" * 16 not in each
        keys = [b"c" * 16, b"a" * 16, b"c" * 16]
        assert each.lookup(keys, means=False).tolist() == [[-1.0, -2.0], [-4.0, -6.0], [-1.0, -2.0]]
        assert each.lookup(keys, means=True).tolist() == [[-1.0, -2.0], [-2.0, -2.0], [-1.0, -2.0]]
    with pytest.raises(KeyError):
        reader.lookup([b"d" * 16], means=False)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"template": "qwen3_vl"}, "  - template: 'qwen2_vl', now 'qwen3_vl'"),
        ({"image_max_pixels": 1}, "  - image_max_pixels: 589824, now 1"),
        ({"adapters": ["3fa"]}, "  - adapters: [], now ['3fa']"),
        ({"quantization": "4 bits"}, "  - quantization: None, now '4 bits'"),
        ({"new": 1}, "  - new: None, now 1"),
    ],
)
def test_a_stale_store_is_refused_with_the_key_that_differs(tmp_path, changes, line):
    filled(tmp_path)
    with pytest.raises(ValueError, match="made with other settings") as caught:
        store(tmp_path, **changes)
    lines = [text for text in str(caught.value).splitlines() if text.startswith("  - ")]
    assert lines == [line] and "another `ref_log_probs_dir`" in str(caught.value)


def test_another_schema_is_stale(tmp_path, monkeypatch):
    filled(tmp_path)
    monkeypatch.setattr("resonance.forward.cache.SCHEMA_VERSION", 2)
    with pytest.raises(ValueError, match="schema_version: 1, now 2"):
        store(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"settings": 3}'])
def test_a_foreign_folder_is_refused(tmp_path, content):
    filled(tmp_path)
    if content is None:
        (tmp_path / MANIFEST).unlink()
    else:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=MANIFEST):
        store(tmp_path)


def test_a_broken_shard_is_named_and_an_unfinished_one_is_not_read(tmp_path):
    filled(tmp_path)
    (tmp_path / ".shard-0.safetensors.partial").write_bytes(b"half")  # what a kill leaves behind
    assert len(store(tmp_path)) == 2
    shard = next(tmp_path.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(ValueError, match=shard.name):
        store(tmp_path)
    save_file({"keys": torch.zeros(1, 3, dtype=torch.uint8), "logps": torch.zeros(1, 2)}, str(shard))
    with pytest.raises(ValueError, match=shard.name):
        store(tmp_path)


def test_numbers_that_are_not_finite_are_not_stored(tmp_path):
    made = store(tmp_path)
    made.begin()
    with pytest.raises(ValueError, match="not finite for 1 of 2 rows"):
        made.add([b"a" * 16, b"b" * 16], torch.tensor([[0.0, 1.0], [float("nan"), 1.0]]), torch.ones(2, 2))
    assert not list(tmp_path.glob("shard-*"))
