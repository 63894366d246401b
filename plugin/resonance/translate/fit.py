# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What of a recipe depends on several arguments: data, model, adapters, lengths, evaluation, rollouts."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from typing import Any, NamedTuple

from . import models
from .build import Recipe, set_name, text_of, translate
from .words import Command


class Source(NamedTuple):
    """What a `dataset_name` of the guide stands for.

    Attributes:
        importer: its name.
        stage: the one that learns from it.
        own: whether its rows come from a file of one's own.
    """

    importer: str
    stage: str
    own: bool = False


DATASETS = {
    "vlfeedback_paired": Source("vlfeedback", "dpo"),
    "rlhfv": Source("rlhfv", "dpo"),
    "plain_dpo": Source("plain_dpo", "dpo", own=True),
    "vlquery_json": Source("vlquery_json", "sft", own=True),
}
_PROMPTS = Source("plain_rl", "ppo", own=True)
_HELD_OUT = 0.005
_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "additional_target")
_LOSSES = {"ddpo": "ddpo_segments"}  # by other names here


def make_recipe(command: Command, template: str | None = None) -> Recipe:
    """The recipe of a command.

    Args:
        command: of the guide.
        template: LlamaFactory's, for a model that is not known here.

    Raises:
        ValueError: everything that is missing or cannot be read.
    """
    recipe = translate(command)
    problems = _model(recipe, template) + _data(recipe, command)
    if problems:
        raise ValueError("; ".join(problems))
    _adapters(recipe)
    _lengths(recipe)
    if recipe.stage == "ppo":
        _rollouts(recipe, command)
    _loss(recipe)
    _evaluation(recipe)
    if "wandb" not in str(recipe.keys.get("report_to")) and "project_name" not in recipe.typed:
        recipe.without("", "project_name")
    if "output_dir" not in recipe.keys:
        recipe.keys["output_dir"] = f"saves/imported/{recipe.stage}"
        recipe.notes["output_dir"] = "--output_dir was not given"
    fixed: dict[str, Any] = {"stage": recipe.stage, "do_train": True, "dataset_dir": "data"}
    recipe.keys |= fixed
    return recipe


def _model(recipe: Recipe, template: str | None) -> list[str]:
    name = recipe.keys.get("model_name_or_path")
    if name is None:
        return ["--model_name_or_path is missing"]
    found = models.find(name)
    if template is None and found is None:
        known = "qwen2_vl, qwen3_vl_nothink, llava, llava_next_mistral or another of LlamaFactory's"
        return [f"--model_name_or_path {name}: its template is not known; give --template before the command: {known}"]
    recipe.keys["template"] = template or (found.template if found else "")
    if template is None and found is not None and found.instead:
        recipe.model = f"{found.instead} in place of {name}: {found.why.format(name=name)}"
        recipe.keys["model_name_or_path"] = found.instead
        recipe.notes["model_name_or_path"] = recipe.model
    layers = str(recipe.keys.get("lora_target", "")).split(",")
    if found is not None and any(layer in models.RENAMED_LAYERS for layer in layers):
        recipe.keys["lora_target"] = ",".join(models.RENAMED_LAYERS.get(layer, layer) for layer in layers)
        recipe.notes["lora_target"] = f"{','.join(layers)} by the names that {recipe.keys['model_name_or_path']} has"
    if recipe.keys.get("lora_target") == "auto":
        recipe.keys["lora_target"] = "all"
        recipe.notes["lora_target"] = "--lora_target_modules auto; all linear layers that are not frozen"
    return []


def _data(recipe: Recipe, command: Command) -> list[str]:
    """The data set and the command that makes it; returns what is missing."""
    name, path = text_of(command, "dataset_name"), text_of(command, "data_path") or text_of(command, "data_dir")
    source = _PROMPTS if recipe.stage == "ppo" and name in ("", "vlquery_json") else DATASETS.get(name)
    if source is None:
        near = get_close_matches(name, DATASETS, n=1, cutoff=0.4)
        what = f"--dataset_name {name}: is none of the guide's" if name else "--dataset_name is missing"
        return [f"{what}; {'did you mean ' + near[0] + '?' if near else 'it has ' + ', '.join(DATASETS)}"]
    if source.stage != recipe.stage:
        fits = [each for each, other in DATASETS.items() if other.stage == recipe.stage]
        ways = ", ".join(fits) or "prompts of yours: --dataset_name vlquery_json --data_path FILE"
        return [f"--dataset_name {name}: {recipe.stage}.py does not learn from it, but from {ways}"]
    importer, own = source.importer, source.own
    if own and not path:
        return [f"--data_path is missing: the file of {name or 'prompts'}"]
    recipe.keys["dataset"] = set_name(path) if own else importer
    words = ["resonance", "data", "import", importer, *([path] if path else [])]
    words += ["--name", recipe.keys["dataset"]] if own else []
    words += ["--image-root", root] if (root := text_of(command, "image_root")) else []
    words += ["--score-margin", "0"] if importer == "vlfeedback" else []
    recipe.data = shlex.join([*words, "--out", "data"])
    if recipe.stage == "ppo":
        recipe.notes["dataset"] = "rows of {image, prompt, answer}; the guide does not say what ppo.py reads"
    if importer != "vlfeedback":
        recipe.without(f"{name} has no scores", "score_margin")
    return []


def _adapters(recipe: Recipe) -> None:
    if recipe.keys["finetuning_type"] == "full":
        recipe.without("--use_lora is False", *_LORA)
        recipe.keys["freeze_multi_modal_projector"] = False
        recipe.notes["freeze_multi_modal_projector"] = "the code freezes the vision tower alone"
    asked, lora = recipe.keys.pop("quantization_method") is True, recipe.keys["finetuning_type"] == "lora"
    if asked and lora:
        recipe.keys["quantization_method"] = "bnb"
        return
    recipe.without("--q_lora or --use_lora is False", "quantization_bit")
    recipe.notes.pop("quantization_method", None)
    if asked:
        recipe.idle["q_lora"] = "--use_lora is False"


def _lengths(recipe: Recipe) -> None:
    limit = recipe.keys["cutoff_len"]
    for key in ("max_prompt_length", "max_target_length"):
        if recipe.keys.get(key, 0) >= limit:
            recipe.without(f"--max_length {limit} is no longer", key)
    if recipe.stage == "dpo":
        recipe.keys["overlong"] = "cut_text"
        recipe.notes["overlong"] = "the code cuts, too; cut_text never cuts through an image"


def _loss(recipe: Recipe) -> None:
    if recipe.stage == "dpo":
        loss = recipe.keys.setdefault("pref_loss", "sigmoid")
        if loss in _LOSSES:
            recipe.keys["pref_loss"] = _LOSSES[loss]
            recipe.notes["pref_loss"] = f"--loss_type {loss}; ddpo here is RLHF-V's, which weighs all tokens"


def _evaluation(recipe: Recipe) -> None:
    if recipe.keys.get("eval_strategy", "no") == "no":
        recipe.without("--eval_strategy is no", "eval_steps")
    else:
        if recipe.keys["eval_strategy"] != "steps":
            recipe.without("--eval_strategy is not steps", "eval_steps")
        recipe.keys["val_size"] = _HELD_OUT
        recipe.notes["val_size"] = "what the code holds out" + "; its sft.py trains on it all the same" * (
            recipe.stage == "sft"
        )
    if recipe.keys.get("save_strategy", "steps") != "steps":
        recipe.without("--save_strategy is not steps", "save_steps")


def _rollouts(recipe: Recipe, command: Command) -> None:
    """Rewards, sizes and the length of completions, which the old PPO has under other names."""
    keys = recipe.keys
    keys["ppo_variant"] = "ppo"
    keys["rewards"] = [{"name": "exact", "answer": "answer"}]
    recipe.notes["rewards"] = "1 for the row's answer; the code loads a reward model and calls none. Name yours here"
    if "max_new_tokens" not in keys:
        keys["max_new_tokens"] = int(text_of(command, "max_target_length") or 1024)
        recipe.notes["max_new_tokens"] = "--max_target_length, 1024 by default in the guide"
        recipe.refused.pop("max_target_length", None)
    elif "max_target_length" in recipe.refused:
        recipe.idle["max_target_length"] = f"--max_new_tokens is given; {recipe.refused.pop('max_target_length')}"
    if "per_device_train_batch_size" not in keys and "ppo_buffer_size" not in keys:
        return
    micro = keys.setdefault("per_device_train_batch_size", keys.get("ppo_buffer_size", 1))
    step = micro * keys.get("gradient_accumulation_steps", 1)
    if (rollout := keys.pop("ppo_buffer_size", None)) is not None:
        keys["ppo_buffer_size"] = max(1, rollout // step)
        recipe.notes["ppo_buffer_size"] = f"optimizer steps a rollout: --batch_size {rollout} / {step} completions"
