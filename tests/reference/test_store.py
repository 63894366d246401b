# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reference log-probabilities on disk: what is added is found, and what a store refuses."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from resonance.reference.store import MANIFEST, ReferenceStore

SETTINGS = {"template": "qwen2_vl", "image_max_pixels": 589824, "adapters": [], "quantization": None}


def store(folder, **changes):
    return ReferenceStore(folder, {**SETTINGS, **changes}, {"model": "m"}, responses=2)


def filled(folder, keys=(b"a" * 16, b"b" * 16)):
    made = store(folder)
    made.begin()
    made.add(keys, torch.tensor([[-4.0, -6.0], [-8.0, -9.0]]), torch.tensor([[2, 3], [4, 3]]))
    return made


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
    monkeypatch.setattr("resonance.reference.store.SCHEMA_VERSION", 3)
    with pytest.raises(ValueError, match="schema_version: 2, now 3"):
        store(tmp_path)


def test_a_folder_that_another_run_has_claimed_meanwhile_is_refused_before_anything_is_computed(tmp_path):
    late = store(tmp_path, template="qwen3_vl")  # opened while the folder was empty
    filled(tmp_path)
    with pytest.raises(ValueError, match="made with other settings:\n  - template: 'qwen2_vl', now 'qwen3_vl'"):
        late.begin()
    assert len(store(tmp_path)) == 2


def begin_at_once(stores):
    """Which of them could begin."""
    barrier = Barrier(len(stores))

    def begins(each):
        barrier.wait()
        try:
            each.begin()
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(begins, stores))


def test_of_runs_that_begin_at_once_one_claims_the_folder(tmp_path):
    for folder in (tmp_path / str(attempt) for attempt in range(5)):
        began = begin_at_once([store(folder, image_max_pixels=number) for number in range(8)])
        assert sum(began) == 1 and os.listdir(folder) == [MANIFEST]
        store(folder, image_max_pixels=began.index(True))


@pytest.mark.parametrize("links", [True, False])
def test_runs_with_the_same_settings_share_a_folder_from_the_first_moment(tmp_path, monkeypatch, links):
    def refuse(*names):
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for folder in (tmp_path / str(attempt) for attempt in range(5)):
        assert all(begin_at_once([store(folder) for _ in range(8)])) and os.listdir(folder) == [MANIFEST]


def test_a_shard_of_other_settings_is_named(tmp_path):
    """What a run leaves that wrote into a folder of another, whatever the manifest says."""
    filled(tmp_path / "ours")
    other = store(tmp_path / "theirs", template="qwen3_vl")
    other.begin()
    other.add([b"a" * 16], torch.tensor([[-1.0, -2.0]]), torch.tensor([[1, 1]]))
    foreign = shutil.copy(next((tmp_path / "theirs").glob("shard-*")), tmp_path / "ours" / "shard-x.safetensors")
    with pytest.raises(ValueError, match=r"shard-x.safetensors cannot be read \(it was made with other settings than"):
        store(tmp_path / "ours")
    foreign.unlink()  # as the message says
    assert len(store(tmp_path / "ours")) == 2


def test_a_setting_that_is_none_is_like_one_that_is_missing(tmp_path):
    filled(tmp_path)
    assert len(store(tmp_path, of_a_later_version=None)) == 2


@pytest.mark.parametrize("name", ["keys", "logps", "lengths"])
def test_a_shard_whose_numbers_have_changed_is_named(tmp_path, name):
    filled(tmp_path)
    shard = next(tmp_path.glob("shard-*"))
    with safe_open(shard, "pt") as file:
        made_of = file.metadata()
    tensors = load_file(shard)
    save_file({**tensors, name: tensors[name] + 1}, shard, made_of)
    with pytest.raises(ValueError, match=rf"{shard.name} cannot be read \(its numbers have changed"):
        store(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"settings": 3}', "[" * 100_000 + "]" * 100_000])
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


@pytest.mark.parametrize("responses", [1, 3])
def test_rows_of_any_number_of_responses(tmp_path, responses):
    made = ReferenceStore(tmp_path, SETTINGS, {}, responses)
    made.begin()
    logps = torch.arange(2.0 * responses).view(2, responses) - 8
    made.add([b"a" * 16, b"b" * 16], logps, torch.full((2, responses), 2))
    again = ReferenceStore(tmp_path, SETTINGS, {}, responses)
    assert torch.equal(again.lookup([b"b" * 16, b"a" * 16], means=False), logps.flip(0))
    assert torch.equal(again.lookup([b"a" * 16], means=True), logps[:1] / 2)
    with pytest.raises(ValueError, match="its tensors have other shapes"):
        store(tmp_path)
    with pytest.raises(ValueError, match="2 rows of .* responses, but logps"):
        again.add([b"c" * 16, b"d" * 16], torch.zeros(2, responses + 1), torch.ones(2, responses + 1))
