# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A saved set is taken if it holds what the recipe asks for, whole; else it is refused or made again."""

from __future__ import annotations

import json

import pytest

from resonance.rows.tokenized_path import _vocabulary, is_cut_off


@pytest.fixture
def saved(data, load, make_pair, tmp_path):
    """A folder with the tokenized rows of `pairs`; `other` has rows of its own."""
    data.write([make_pair(i) for i in range(3)])
    data.write([make_pair(i) for i in range(3, 5)], "other.json", "other")
    load(tokenized_path=str(tmp_path / "set"))
    return tmp_path / "set"


def test_another_data_set_is_refused(data, load, make_pair, saved):
    assert len(load(tokenized_path=str(saved)).train) == 3
    with pytest.raises(ValueError, match="dataset: pairs, now other"):
        load(tokenized_path=str(saved), dataset="other")
    with pytest.raises(ValueError, match="max_samples: None, now 1"):
        load(tokenized_path=str(saved), max_samples=1)
    data.write([make_pair(i) for i in range(4)])
    with pytest.raises(ValueError, match="dataset: the rows of pairs or its entry have changed"):
        load(tokenized_path=str(saved))
    (data.folder / "pairs.json").unlink()  # it need not be there any more
    assert len(load(tokenized_path=str(saved)).train) == 3


def test_one_of_another_tokenizer_is_refused(load, saved):
    path = saved / "resonance_rows.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer": "another"}))
    with pytest.raises(ValueError, match="tokenizer: 'another', now"):
        load(tokenized_path=str(saved))


def test_the_vocabulary_is_what_a_tokenizer_is_known_by(tokenizer_module):
    class More:
        def get_vocab(self):
            return {**tokenizer_module["tokenizer"].get_vocab(), "<new>": 10**6}

    found = _vocabulary(tokenizer_module["tokenizer"])
    assert found == _vocabulary(tokenizer_module["tokenizer"]) != _vocabulary(More())


def test_one_that_was_cut_off_is_made_again(load, saved, warnings_of_rows):
    assert not is_cut_off(saved)
    (saved / "train" / "state.json").unlink()
    (saved / "resonance_rows.json").unlink()
    assert is_cut_off(saved)
    assert len(load(tokenized_path=str(saved)).train) == 3
    assert any("cut off while it was being saved" in text for text in warnings_of_rows)
    assert not is_cut_off(saved) and (saved / "resonance_rows.json").is_file()


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert not is_cut_off(tmp_path) and not is_cut_off(tmp_path / "nowhere")
