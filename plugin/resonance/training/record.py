# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a run leaves about itself: in its output folder and in every checkpoint.

`resonance_recipe.yaml` is the recipe with what was given on the command line; LlamaFactory trains it as it is.
`resonance_run.json` is all that the numbers of the run depend on, for whoever goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .. import __version__
from ..arguments.resume import RECIPE_FILE, RUN_FILE
from ..reference.settings import adapter_fingerprint, model_fingerprint
from ..rewards import deciding
from ..rows.sources import source_fingerprints
from .context import RunArguments, current_run

# Finetuning arguments that no number depends on; all others are compared.
_FREE = {
    "precompute_ref_log_probs", "ref_log_probs_dir", "precompute_only", "pref_speedups", "image_feature_cache",
    "allow_missing_weights", "allow_changed_recipe", "stop_after_nonfinite", "record_pairs", "plot_loss",
    "compute_accuracy", "early_stopping_steps", "include_effective_tokens_per_second", "ref_model",
    "ref_model_adapters", "use_mca", "project_name", "group_name", "kto_engine",
    "rollout_url", "rollout_timeout", "rollout_wait", "rollout_concurrency", "rollout_key_env", "rollout_logp_limit",
    "rollout_check_only",
}  # fmt: skip
_FREE_PREFIXES = ("swanlab_", "use_swanlab", "ppo_", "reward_model", "kto_")
_MODEL = (
    "image_max_pixels", "image_min_pixels", "image_do_pan_and_scan", "crop_to_patches", "video_max_pixels",
    "video_min_pixels", "video_fps", "video_maxlen", "use_audio_in_video", "audio_sampling_rate", "rope_scaling",
    "shift_attn", "mixture_of_depths", "resize_vocab", "add_tokens", "add_special_tokens", "quantization_bit",
    "quantization_method", "quantization_type", "double_quantization", "moe_aux_loss_coef", "train_from_scratch",
)  # fmt: skip
_DATA = (
    "template", "cutoff_len", "max_samples", "val_size", "mix_strategy", "interleave_probs", "streaming",
    "buffer_size", "packing", "tool_format", "default_system", "enable_thinking", "ignore_pad_token_for_loss",
    "overlong", "data_ratio", "score_margin", "max_prompt_length", "max_target_length", "train_on_prompt",
    "mask_history",
)  # fmt: skip
_TRAINING = (
    "seed", "data_seed", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio",
    "optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "label_smoothing_factor", "neftune_noise_alpha", "bf16", "fp16", "group_by_length", "train_sampling_strategy",
)  # fmt: skip
_SECRET = ("token", "api_key", "secret", "webhook_url")
_PACKAGES = ("llamafactory", "transformers", "torch", "peft", "trl", "accelerate", "datasets")


def run_record(args: RunArguments) -> dict[str, Any]:
    """All that the numbers of a run depend on, as JSON values: `settings` by key, and the `versions` of packages."""
    return {"settings": _plain(dict(_settings(args))), "versions": _versions()}


def _versions() -> dict[str, str]:
    return {"resonance": __version__} | {name: version(name) for name in _PACKAGES}


def _settings(args: RunArguments) -> Iterator[tuple[str, Any]]:
    model, data, training, finetuning = args
    yield "model_name_or_path", _name_and_content(model.model_name_or_path, model, model_fingerprint)
    for key, names in (
        ("adapter_name_or_path", model.adapter_name_or_path),
        ("ref_model_adapters", finetuning.ref_model_adapters),
    ):
        names = names.split(",") if isinstance(names, str) else names or []
        yield key, [_name_and_content(name.strip(), model, adapter_fingerprint) for name in names] or None
    reference = finetuning.ref_model
    yield "ref_model", reference and _name_and_content(reference, model, model_fingerprint)
    yield "dataset", None if data.tokenized_path else source_fingerprints(data.dataset, data.dataset_dir)
    steps = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    yield "rows an optimizer step", steps
    for group, names in ((model, _MODEL), (data, _DATA), (training, _TRAINING)):
        yield from ((name, getattr(group, name)) for name in names if hasattr(group, name))
    compared = [f.name for f in fields(finetuning) if f.init and f.name not in _FREE]
    policy = getattr(finetuning, "policy_settings", None)
    own = {"ppo_": policy is not None, "kto_": finetuning.stage == "kto"}  # read in that stage
    free = tuple(prefix for prefix in _FREE_PREFIXES if not own.get(prefix))
    compared = [name for name in compared if not name.startswith(free) and name != "rewards"]
    yield from ((name, getattr(finetuning, name)) for name in compared)
    if policy is not None:
        yield "rewards", deciding(policy.rewards)
        yield from policy.sampling.items()


def _name_and_content(name: str, model_args: Any, fingerprint: Any) -> dict[str, str | None]:
    """A model's name for people, and what is compared; None for what has no files that can be read yet."""
    try:
        return {"name": name, "content": fingerprint(name, model_args)}
    except (OSError, ValueError):
        return {"name": name, "content": None}


def _plain(value: Any) -> Any:
    """As it reads back from JSON."""
    return json.loads(json.dumps(value, default=lambda other: str(getattr(other, "value", other))))


def rerun_recipe(given: Mapping[str, Any], output_dir: str) -> str:
    """The text of `resonance_recipe.yaml`, without keys that hold secrets."""
    kept = {key: value for key, value in given.items() if not key.endswith(_SECRET)}
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    return (
        f"# The recipe of this folder, with all that the command line added.\n# Made with {versions}.\n"
        f"# Again, from {os.getcwd()}: llamafactory-cli train {Path(output_dir, RECIPE_FILE)} output_dir=ANOTHER\n"
        + yaml.safe_dump(_plain(kept), sort_keys=False, allow_unicode=True)
    )


class RunRecord(TrainerCallback):
    """Writes the record when a run begins, and again into each checkpoint."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write(args.output_dir, args)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._files:  # an evaluation without training
            self._write(args.output_dir, args)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write(os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"), args)

    def _write(self, folder: str, args: Any) -> None:
        if not args.should_save:  # `save_on_each_node`: what goes on from there looks for it on each
            return
        if not self._files:
            run = current_run()
            given = getattr(run.finetuning, "given_recipe", {})
            record = json.dumps(run_record(run), indent=2) + "\n"
            self._files = {RUN_FILE: record, RECIPE_FILE: rerun_recipe(given, run.training.output_dir)}
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in self._files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
