# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A LoRA run and a full run with an evaluation of 40 pairs, for all tests of this folder."""

from __future__ import annotations

import json

import pytest

from conftest import DATA

ROWS = 40
EVALUATED = {
    "max_steps": 3,
    "learning_rate": 1e-2,
    "do_eval": True,
    "eval_dataset": "pairs",
    "per_device_eval_batch_size": 32,
    "pref_loss": "uni_dpo",
    "pref_beta": 2.0,
    "template": "qwen2_vl",
    "default_system": "Be brief.",
}
LORA = {"finetuning_type": "lora", "lora_rank": 4, "freeze_vision_tower": True, "save_strategy": "steps"}


@pytest.fixture(scope="session")
def forty(tmp_path_factory):
    """The golden pairs, and the first of them again the other way round, in a data folder."""
    folder = tmp_path_factory.mktemp("forty")
    pairs = json.loads((DATA / "pairs.json").read_text())
    turned = [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs[: ROWS - len(pairs)]]
    for pair in turned:
        pair["score_chosen"], pair["score_rejected"] = pair["score_rejected"], pair["score_chosen"]
    (folder / "pairs.json").write_text(json.dumps(pairs + turned))
    (folder / "dataset_info.json").write_text((DATA / "dataset_info.json").read_text())
    return folder


@pytest.fixture(scope="session")
def runs(train_many, forty):
    """By name, finished runs: `lora`, with a checkpoint, and `full`."""
    shared = {**EVALUATED, "dataset_dir": str(forty), "media_dir": str(DATA)}
    done = train_many({"lora": {**shared, **LORA, "save_steps": 2}, "full": shared})
    for run in done.values():
        assert run.returncode == 0, run.output[-3000:]
    return done
