# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One row, asserted at each station: raw -> aligned -> tokenized -> batch."""

from __future__ import annotations

import json

import pytest


def test_follow_one_row(data, load, make_pair, monkeypatch, tokenizer_module):
    import torch

    import resonance.rows.align
    from resonance.rows.collate import PreferenceCollator

    seen = {}

    def watch(name, at):
        original = getattr(resonance.rows.align, name)

        def watching(dataset, *args):
            seen[f"{at}, before"] = dataset[2]
            result = original(dataset, *args)
            seen[f"{at}, after"] = result[2]
            return result

        monkeypatch.setattr(resonance.rows.align, name, watching)

    watch("llamafactory_align_dataset", "align")
    path = data.write([make_pair(i) for i in range(4)], "pairs.jsonl")
    loaded = load()
    tokenizer = tokenizer_module["tokenizer"]

    # raw: what is in the file, and where
    raw = {**make_pair(2), "_source": str(path), "_row": 2, "_images": None}  # the last tells a type only
    assert json.loads(path.read_text().splitlines()[2]) == make_pair(2)
    assert seen["align, before"] == raw

    # aligned: LlamaFactory's form, origin and scores beside it
    assert seen["align, after"] == {
        "_prompt": [{"content": "<image>Which colour?", "role": "user"}],
        "_response": [
            {"content": "It is blue.", "role": "assistant"},
            {"content": "It is yellow.", "role": "assistant"},
        ],
        "_system": "",
        "_tools": "",
        "_images": [str(data.folder / "images/2.png")],
        "_videos": None,
        "_audios": None,
        "_source": str(path),
        "_row": 2,
        "_score_chosen": 3.2,
        "_score_rejected": 1.2,
    }

    # tokenized: ids of prompt + answer, labels on the answer only
    row = loaded.train[2]
    assert (row["score_chosen"], row["score_rejected"]) == (3.2, 1.2)
    assert (row["_source"], row["_row"]) == (str(path), 2)
    for key, answer in (("chosen", "It is blue."), ("rejected", "It is yellow.")):
        labels = [label for label in row[f"{key}_labels"] if label != -100]
        assert tokenizer.decode(labels) == f"{answer}<|im_end|>\n"
        assert row[f"{key}_input_ids"][-len(labels) :] == labels
        assert len(row[f"{key}_input_ids"]) == len(row[f"{key}_labels"]) == len(row[f"{key}_attention_mask"])

    # batch: 2B model inputs, chosen first; scores (B,), nothing else of ours
    collator = PreferenceCollator(template=loaded.template, pad_to_multiple_of=8, **tokenizer_module)
    batch = collator([loaded.train[i] for i in (2, 0, 3)])
    assert batch["input_ids"].shape[0] == 6
    length = len(row["chosen_input_ids"])
    assert batch["input_ids"][0, :length].tolist() == row["chosen_input_ids"]
    assert batch["input_ids"][3, : len(row["rejected_input_ids"])].tolist() == row["rejected_input_ids"]
    assert batch["image_grid_thw"].shape == (6, 3)
    torch.testing.assert_close(batch["score_chosen"], torch.tensor([3.2, 3.0, 3.3]))
    torch.testing.assert_close(batch["score_rejected"], torch.tensor([1.2, 1.0, 1.3]))
    assert batch["score_chosen"].dtype == torch.float32
    assert not any(name.startswith("_") for name in batch)


def test_batch_is_llamafactorys_own_apart_from_the_scores(data, load, make_pair, tokenizer_module):
    import torch
    from llamafactory.data.collator import PairwiseDataCollatorWithPadding

    from resonance.rows.collate import PreferenceCollator

    data.write([make_pair(i) for i in range(4)])
    loaded = load()
    rows = list(loaded.train)
    settings = {"template": loaded.template, "pad_to_multiple_of": 8, **tokenizer_module}
    ours, theirs = PreferenceCollator(**settings)(rows), PairwiseDataCollatorWithPadding(**settings)(rows)
    assert set(ours) - set(theirs) == {"score_chosen", "score_rejected"}
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_rows_without_scores_make_a_batch_without_scores(data, load, make_pair, tokenizer_module):
    from resonance.rows.collate import PreferenceCollator

    data.write([make_pair(i) for i in range(2)])
    loaded = load(needs_scores=False)
    batch = PreferenceCollator(template=loaded.template, **tokenizer_module)(list(loaded.train))
    assert not any("score" in name for name in batch)


def test_half_scored_batch_is_refused():
    from resonance.rows.collate import stack_carried

    rows = [{"score_chosen": 1.0, "score_rejected": 0.0, "_source": "a.json", "_row": 4}]
    rows += [{"_source": "b.json", "_row": 7}, {"score_chosen": 1.0, "score_rejected": None, "_source": "b.json"}]
    with pytest.raises(ValueError, match=r"2 of 3 rows of a batch carry no scores: b.json rows 7, \?.*tokenized_path"):
        stack_carried(rows)


def test_image_that_vanished_after_tokenization_is_named(data, load, make_pair, tokenizer_module):
    from resonance.rows.collate import PreferenceCollator

    path = data.write([make_pair(i) for i in range(3)])
    loaded = load()
    (data.folder / "images/1.png").unlink()
    with pytest.raises(ValueError, match="Cannot build a batch from .*FileNotFoundError.*images/1.png") as caught:
        PreferenceCollator(template=loaded.template, **tokenizer_module)(list(loaded.train))
    assert f"{path} rows 0, 1, 2" in str(caught.value)


def test_saved_tokenized_data_keeps_its_scores(data, load, make_pair, tmp_path):
    data.write([make_pair(i) for i in range(3)])
    first = load(tokenized_path=str(tmp_path / "tokenized"))
    again = load(tokenized_path=str(tmp_path / "tokenized"))
    assert list(again.train) == list(first.train)
    assert again.train[1]["score_chosen"] == 3.1
