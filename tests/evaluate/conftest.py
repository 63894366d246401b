# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A LoRA run and a full run with an evaluation of 40 pairs, for all tests of this folder."""

from __future__ import annotations

import json
import shutil

import pytest

from conftest import DATA, MODEL
from resonance.evaluate.handoff import export_command
from resonance.evaluate.trained import read_trained

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


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # as Qwen's Instruct models have it


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The golden model with a chat template that knows images."""
    folder = shutil.copytree(MODEL, tmp_path_factory.mktemp("base") / "model")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


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
def runs(train_many, forty, model):
    """By name, finished runs: `lora`, with a checkpoint, and `full`."""
    shared = {**EVALUATED, "model_name_or_path": str(model), "dataset_dir": str(forty), "media_dir": str(DATA)}
    done = train_many({"lora": {**shared, **LORA, "save_steps": 2}, "full": shared})
    for run in done.values():
        assert run.returncode == 0, run.output[-3000:]
    return done


@pytest.fixture(scope="session")
def merged(runs, run_script):
    """The adapter of `lora` merged into its base, by the command that is printed for it."""
    folder = runs["lora"].output_dir
    trained = read_trained(str(folder), {})
    into = folder.parent / "merged"
    command = [*export_command(trained, str(into)), "--infer_dtype", "float32"]
    code, output = run_script(*command, cwd=folder.parent)
    assert code == 0, output[-3000:]
    return into
