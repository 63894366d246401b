# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an import writes is tokenized as a run does it: every row and image, the answers and nothing else learned."""

from __future__ import annotations

import json

import pytest

from importers.case import Case
from importers.cases_public import CASES

PAD = "<|image_pad|>"


@pytest.mark.parametrize("case", [case for case in CASES if case.stage != "sft"], ids=lambda case: case.id)
def test_imported_rows_are_tokenized(case: Case, data, load, tokenizer_module, tmp_path, capsys) -> None:
    assert case.run(tmp_path / "raw", data.folder) == 0, capsys.readouterr().err
    (name,) = json.loads((data.folder / "dataset_info.json").read_text())
    rewards = {"rewards": [{"name": "length", "max_length": 9}]} if case.stage == "ppo" else {}
    scored = "score_chosen" in case.expected[0]
    rows = list(load(needs_scores=scored, stage=case.stage, dataset=name, **rewards).train)
    decode = tokenizer_module["tokenizer"].decode
    assert len(rows) == len(case.expected)
    for row, wanted in zip(rows, case.expected, strict=True):
        asked = wanted["instruction"] if case.stage == "ppo" else wanted["conversations"][-1]["value"]
        texts = [row["input_ids"]] if case.stage == "ppo" else [row["chosen_input_ids"], row["rejected_input_ids"]]
        for text in map(decode, texts):
            assert all(part in text for part in asked.split("<image>"))
            assert text.count("<|vision_start|>" + PAD) == len(wanted.get("images", []))
        if case.stage == "dpo":
            for side in ("chosen", "rejected"):
                learned = [token for token in row[f"{side}_labels"] if token != -100]
                assert decode(learned) == f"{wanted[side]['value']}<|im_end|>\n"
            if scored:
                assert row["score_chosen"] == wanted["score_chosen"]
