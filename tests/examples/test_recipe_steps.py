# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A step of each recipe, on a tiny random model of its architecture and a few rows.

Left out of a recipe: what needs a GPU (4 bit, bf16, DeepSpeed) or a server, and what makes a run long.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as tf
import yaml

import idefics.models
from forward.tiny import _TEXT, FAMILIES, make
from rows.vision.conftest import load_script, make_case

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PICTURE = ROOT / "data" / "digits" / "pref" / "0000.png"
FAMILY = {  # of a model's name in lower case, the first that fits
    "qwen2.5-vl": "qwen2_5_vl",
    "openvlthinker": "qwen2_5_vl",
    "qwen2-vl": "qwen2_vl",
    "quickstart": "qwen2_vl",
    "qwen3-vl": "qwen3_vl",
    "llava-1.5": "llava",
    "llava": "llava_next",
    "idefics2": "idefics2",
    "idefics3": "idefics3",
    "smolvlm": "smolvlm",
    "llama-3": "llama",
    "gemma-2": "gemma2",
    "qwen2.5": "qwen2",
}
TEXT = {"llama": tf.LlamaConfig, "gemma2": tf.Gemma2Config, "qwen2": tf.Qwen2Config}
# Keys that are left out.
NOT_HERE = (
    "quantization_bit quantization_method deepspeed bf16 flash_attn preprocessing_num_workers eval_strategy "
    "eval_steps val_size eval_dataset num_train_epochs image_max_pixels image_min_pixels ddp_timeout ray_num_workers "
    "eval_on_start rollout_backend rollout_url rollout_ahead"
).split()


def family(recipe: dict[str, Any]) -> str:
    return next(kind for part, kind in FAMILY.items() if part in recipe["model_name_or_path"].lower())


def recipes() -> dict[str, Path]:
    """All that train; those of the quickstart are run whole in test_quickstart.py."""
    found = {path.relative_to(EXAMPLES).as_posix(): path for path in sorted(EXAMPLES.rglob("*.yaml"))}
    return {
        name: path
        for name, path in found.items()
        if not name.startswith("quickstart/") and yaml.safe_load(path.read_text(encoding="utf-8"))["do_train"]
    }


RECIPES = recipes()


def write_model(kind: str, folder: Path) -> None:
    """A model of three layers, with the processor or the tokenizer of its family."""
    if kind in idefics.models.KINDS:
        idefics.models.write_model(kind, folder)
        return
    if kind in TEXT:
        tokenizer = load_script().make_tokenizer({})
        config = TEXT[kind](**{**_TEXT, "vocab_size": 400, "head_dim": 8})
    else:
        processor = make_case(kind).processor
        processor.save_pretrained(folder)
        tokenizer, config = processor.tokenizer, FAMILIES[kind]()
        config.get_text_config().vocab_size = 400
        for name, token in load_script().FAMILIES[kind].names.items():
            for field in (f"{name}_id", f"{name}_index", f"{name.replace('vision_bos', 'vision_start')}_id"):
                if hasattr(config, field):
                    setattr(config, field, tokenizer.convert_tokens_to_ids(token))
        if kind.startswith("llava"):
            config.vision_config.image_size = 56
            config.image_token_index = tokenizer.convert_tokens_to_ids("<image>")
        if kind.startswith("qwen"):
            config.vision_start_token_id = tokenizer.convert_tokens_to_ids("<|vision_start|>")
            config.vision_end_token_id = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    tokenizer.save_pretrained(folder)
    make(config).save_pretrained(folder)


def write_data(recipe: dict[str, Any], folder: Path) -> None:
    """Two rows under the name of the recipe's set, by the columns of its entry where it has them."""
    mark = "" if family(recipe) in TEXT else "<image>"
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"{mark}What is {number}?",
            "good": "A zero, I think.",
            "bad": "One.",
            "images": [str(PICTURE)] if mark else [],
            "score_chosen": 4.0,
            "score_rejected": 1.0,
            "label": bool(number % 2),
        }
        for number in range(4)
    ]
    columns = {"prompt": "prompt", "images": "images"}
    entry: dict[str, Any] = {"file_name": "rows.json"}
    if recipe["stage"] in ("dpo", "rm"):
        scores = {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}
        entry |= {"ranking": True, "columns": columns | {"chosen": "good", "rejected": "bad"} | scores}
    elif recipe["stage"] == "kto":
        entry["columns"] = {"prompt": "prompt", "response": "good", "kto_tag": "label"}
    else:
        entry["columns"] = columns | ({"response": "good"} if recipe["stage"] == "sft" else {})
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({recipe["dataset"]: entry}))


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.train.tuner import run_exp

    recipe = yaml.safe_load(RECIPES[name].read_text(encoding="utf-8"))
    write_data(recipe, tmp_path)
    write_model(family(recipe), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    small = {key: value for key, value in recipe.items() if key not in NOT_HERE}
    small |= {"model_name_or_path": str(tmp_path / "model"), "dataset_dir": str(tmp_path), "max_steps": 1}
    small |= {"output_dir": str(tmp_path / "out"), "use_cpu": True, "gradient_accumulation_steps": 1}
    small |= {"logging_steps": 1, "plot_loss": False, "save_strategy": "no"}
    if recipe["stage"] == "ppo":
        small |= {"max_new_tokens": 4, "per_device_train_batch_size": 2, "ppo_buffer_size": 1, "ppo_epochs": 1}
        small |= {"rewards": [{"name": "length", "max_length": 4}]}
        small |= {"num_generations": 2} if recipe["ppo_variant"] != "ppo" else {}
    run_exp(small)
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["global_step"] == 1 and "loss" in str(state["log_history"])
