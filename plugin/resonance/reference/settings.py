# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the reference log-probabilities of a run depend on, beside the rows.

Reads configuration and weight files; loads no model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import cached_file

from .fingerprint import config_fingerprint, short, weights_fingerprint

# LlamaFactory's model arguments that change what a model computes from given weights, tokens and media.
_LIMITS = (
    "image_max_pixels",
    "image_min_pixels",
    "image_do_pan_and_scan",
    "crop_to_patches",
    "video_max_pixels",
    "video_min_pixels",
    "video_fps",
    "video_maxlen",
    "use_audio_in_video",
    "audio_sampling_rate",
)
_LOADING = ("rope_scaling", "shift_attn", "mixture_of_depths", "upcast_layernorm", "resize_vocab", "infer_dtype")
_QUANTIZATION = ("quantization_method", "quantization_type", "double_quantization")


@dataclass(frozen=True)
class ReferenceModel:
    """Which model the reference is.

    `path`, `adapters` (merged into it), `bits` (quantised, or None); `shared`: it is the policy with its adapter off.
    """

    path: str
    adapters: tuple[str, ...]
    bits: int | None
    shared: bool

    @classmethod
    def of(cls, model_args: Any, finetuning_args: Any) -> ReferenceModel:
        """The one that LlamaFactory's `create_ref_model` makes, or leaves to the policy."""
        if finetuning_args.ref_model is not None:
            adapters = _names(finetuning_args.ref_model_adapters)
            return cls(finetuning_args.ref_model, adapters, finetuning_args.ref_model_quantization_bit, False)
        adapters, bits = _names(model_args.adapter_name_or_path), model_args.quantization_bit
        shared = finetuning_args.finetuning_type == "lora"
        # the last adapter is trained on, and so is off in the reference, where LlamaFactory does not merge it
        unmerged = bits or model_args.use_unsloth or is_deepspeed_zero3_enabled()
        if shared and (unmerged or not finetuning_args.create_new_adapter):
            adapters = adapters[:-1]
        return cls(model_args.model_name_or_path, adapters, bits, shared)


def reference_settings(
    reference: ReferenceModel, args: tuple[Any, Any, Any], config: Any, processor: Any, dtype: torch.dtype
) -> dict[str, Any]:
    """All settings by name, for a `ReferenceStore`.

    Args:
        reference: which model it is.
        args: model, data and training arguments.
        config: of the policy, or of the reference in its place.
        processor: of media, or None.
        dtype: that LlamaFactory loads the model in.

    Raises:
        ValueError: the model has no files to tell it by.
    """
    model_args, data_args, training_args = args
    folder, commit = model_folder(reference.path, "config.json", model_args)
    autocast = "bfloat16" if training_args.bf16 else "float16" if training_args.fp16 else None
    precision = str(dtype).removeprefix("torch.")
    return {
        "template": data_args.template,
        "model_config": config_fingerprint(folder),
        "model_weights": commit or weights_fingerprint(folder),
        "adapters": [adapter_fingerprint(name, model_args) for name in reference.adapters],
        "quantization": _quantization(reference.bits, model_args),
        "dtype": f"{precision}, autocast {autocast}" if autocast else precision,
        "attention": str(getattr(config, "_attn_implementation", None)),
        "processor": processor_fingerprint(processor),
        **{name: _plain(getattr(model_args, name, None)) for name in (*_LIMITS, *_LOADING)},
    }


def made_from(reference: ReferenceModel) -> dict[str, Any]:
    """Names and versions for people who read a manifest."""
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    return {"model": reference.path, "adapters": list(reference.adapters), **versions}


def model_folder(name: str, file: str, model_args: Any) -> tuple[Path, str | None]:
    """Where a model's files are, and for one of the hub its commit, which stands for all of them."""
    if os.path.isdir(name):
        return Path(name), None
    found = cached_file(
        name, file, revision=model_args.model_revision, cache_dir=model_args.cache_dir, token=model_args.hf_hub_token
    )
    folder = Path(found).parent
    return folder, f"commit {folder.name}"


def model_fingerprint(name: str, model_args: Any) -> str:
    """Of a model's configuration and weights."""
    folder, commit = model_folder(name, "config.json", model_args)
    return short([config_fingerprint(folder), commit or weights_fingerprint(folder)])


def adapter_fingerprint(name: str, model_args: Any) -> str:
    """Of an adapter's configuration and weights."""
    folder, commit = model_folder(name, "adapter_config.json", model_args)
    folder = folder / (model_args.adapter_folder or "")
    weights = commit or weights_fingerprint(folder)
    return short([config_fingerprint(folder, "adapter_config.json"), weights])


def processor_fingerprint(processor: Any) -> str | None:
    """Of what turns media into model inputs, with all its settings; None for a model of text."""
    if processor is None:
        return None
    names = ("image_processor", "video_processor", "feature_extractor")
    return short({name: getattr(processor, name).to_dict() for name in names if getattr(processor, name, None)})


def _quantization(bits: int | None, model_args: Any) -> str | None:
    if bits is None:
        return None
    return ", ".join([f"{bits} bits", *(f"{name} {_plain(getattr(model_args, name))}" for name in _QUANTIZATION)])


def _names(given: Any) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given or []
    return tuple(name.strip() for name in names)


def _plain(value: Any) -> Any:
    """As it reads back from JSON."""
    return value if isinstance(value, bool | int | float | str | None) else str(getattr(value, "value", value))
