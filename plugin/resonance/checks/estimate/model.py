# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Counts a model without loading it. Imports torch and LlamaFactory inside functions.

It is built from its configuration on the meta device, where LlamaFactory's own `init_adapter` freezes, adapts and
casts it as in a run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .families import decoder_of, routed_share, vision_of
from .known import KNOWN, known_config, nearest
from .shapes import Model, Part

_POSITIONS = re.compile(r"pos_embed|position_embed|class_embed|cls_token|mask_token")
_ON_PATCHES = re.compile(r"modality_projection\.(gate|up|down)_proj\.")  # the part of a projector before a resampler
_EXPERTS = re.compile(r"\bexperts\b")
# 4 bits: the blocks' scales, themselves quantised (bitsandbytes, double quantisation); 8 bits: a scale a row.
_QUANTISED_BYTES = {4: 4.127 / 8, 8: 1.0}


def count_model(model_args: Any, finetuning_args: Any) -> Model:
    """Counts the model of a recipe.

    Raises:
        ValueError: the configuration cannot be read, or no model can be built from it.
    """
    import torch
    from llamafactory.model.adapter import init_adapter

    config = read_config(model_args)
    with torch.device("meta"):
        model = model_class(config).from_config(config, trust_remote_code=model_args.trust_remote_code)
        plain = sum(weight_bytes(name, p, config, model_args) for name, p in model.named_parameters())
        wrapped = init_adapter(config, model, model_args, finetuning_args, is_trainable=True)
    if getattr(config.get_text_config(), "cross_attention_layers", None):
        raise ValueError(f"{config.model_type}: not modelled: its images are no tokens of a row")
    try:
        return count(wrapped, config, model_args, plain)
    except AttributeError as error:
        raise ValueError(
            f"{config.model_type}: not modelled: no decoder with layers and at most a vision tower ({error})"
        ) from error


def count(wrapped: Any, config: Any, model_args: Any, plain: float = 0.0) -> Model:
    """Counts a model as it stands, with its adapters if it has any. `plain`: bytes of the checkpoint alone."""
    from llamafactory.model.model_utils.visual import COMPOSITE_MODELS

    base = wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped
    composite = COMPOSITE_MODELS.get(config.model_type)
    parts = count_parts(base, config, model_args, composite.projector_keys if composite else [])
    return Model(
        name=type(base).__name__,
        decoder=decoder_of(base, config),
        vision=vision_of(config) if parts["tower"].params else None,
        plain=plain,
        **parts,
    )


def read_config(model_args: Any) -> Any:
    """The configuration of `model_name_or_path`: a folder, a usual model, or a hub id in the cache or in reach."""
    from llamafactory.model import load_config
    from transformers import AutoConfig

    name = model_args.model_name_or_path
    if not Path(name).is_dir() and (known := known_config(name)) is not None:
        return AutoConfig.for_model(**known)
    try:
        return load_config(model_args)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().partition("\n")[0]
        if name.count("/") != 1 or name.startswith((".", "~")):  # no name of the hub
            first = "there is no such folder with a config.json here (an earlier recipe may have to make it)."
        raise ValueError(
            f"model_name_or_path: no configuration of {name!r}: {first} "
            "Allowed: a folder with config.json, a model of the hub (once online, then from the cache), or one whose "
            f"shape comes with Resonance: {', '.join(nearest(name) or KNOWN)}. "
            "Another one: --set model_name_or_path=..."
        ) from error


def model_class(config: Any) -> Any:
    """The class that LlamaFactory loads a configuration with."""
    import transformers

    names = ("AutoModelForImageTextToText", "AutoModelForSeq2SeqLM", "AutoModelForTextToWaveform")
    classes = (getattr(transformers, name) for name in names)
    return next((auto for auto in classes if type(config) in auto._model_mapping), transformers.AutoModelForCausalLM)


def count_parts(base: Any, config: Any, model_args: Any, projector_keys: list[str]) -> dict[str, Part]:
    """Every parameter once, in the part it belongs to. A head tied to the embeddings has no parameters of its own."""
    decoder, head, embeddings = base.get_decoder(), base.get_output_embeddings(), base.get_input_embeddings()
    owner = {id(p): "layers" for p in decoder.parameters()}
    owner |= {id(p): "head" for p in head.parameters()} if head is not None else {}
    owner |= {id(p): "embeddings" for p in embeddings.parameters()}
    routed = routed_share(config.get_text_config())
    names = ("embeddings", "layers", "head", "pixels", "tower", "projector")
    sums: dict[str, dict[str, float]] = {name: {} for name in names}
    for name, parameter in base.named_parameters():
        # Qwen3-VL's further mergers are of the tower for LlamaFactory's freezing, but work on image tokens
        projector = "merger" in name or any(re.search(rf"(^|\.){re.escape(key)}\.", name) for key in projector_keys)
        projector = projector and not _ON_PATCHES.search(name)
        vision = "projector" if projector else "pixels" if "patch_embed" in name else "tower"
        part = owner.get(id(parameter), vision)
        numel, trains = parameter.numel(), parameter.requires_grad
        matrix = part != "embeddings" and parameter.ndim >= 2 and not _POSITIONS.search(name)
        matmul = numel * (routed if _EXPERTS.search(name) else 1.0) if matrix else 0.0
        adapter = ".lora_" in name or ".oft_" in name
        counts = {
            "params": numel,
            "trained": numel * trains,
            "stored": weight_bytes(name, parameter, config, model_args),
            "matmul": matmul,
            "matmul_trained": matmul * trains,
            "adapter": matmul * adapter,
            "adapter_inputs": parameter.shape[-1] if ".lora_A." in name else 0,
        }
        for key, value in counts.items():
            sums[part][key] = sums[part].get(key, 0) + value
    if head is not None and any(id(p) in {id(q) for q in embeddings.parameters()} for p in head.parameters()):
        tied = next(p for p in head.parameters() if p.ndim == 2)
        sums["head"] |= {"matmul": tied.numel(), "matmul_trained": tied.numel() * tied.requires_grad}
    return {name: Part(**values) for name, values in sums.items()}  # type: ignore[arg-type]


def weight_bytes(name: str, parameter: Any, config: Any, model_args: Any) -> float:
    """Bytes of a weight on the device: quantised if LlamaFactory quantises it, else in its own type."""
    bits = model_args.quantization_bit or checkpoint_bits(config)
    linear = parameter.ndim == 2 and not re.search(r"embed|lm_head|norm|lora_", name)
    if bits in _QUANTISED_BYTES and linear:
        return parameter.numel() * _QUANTISED_BYTES[bits]
    return parameter.numel() * parameter.element_size()


def checkpoint_bits(config: Any) -> int | None:
    """Bits a weight of a checkpoint that is itself quantised."""
    given = getattr(config, "quantization_config", None)
    if given is None:
        return None
    values = given if isinstance(given, dict) else given.to_dict()
    return 4 if values.get("load_in_4bit") else values.get("bits") or 8
