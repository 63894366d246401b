# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a recipe file to an estimate: what `resonance estimate` calls. Room: `checks/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any

from . import recipe as recipes
from .gpus import gpu_gibibytes
from .lengths import lengths_of
from .model import count_model, quiet
from .report import Estimate, estimate
from .shapes import Path


@dataclass(frozen=True)
class Options:
    """What the command was given beside the recipe; None takes the recipe's own, or the data's.

    `gpu_memory` in GiB; the four numbers of tokens a row and examples a micro-batch are from 1 (images from 0).
    """

    overrides: Sequence[str] = ()
    gpu: str | None = None
    gpu_memory: float | None = None
    world_size: int = 1
    batch: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None
    response_tokens: int | None = None


def estimate_recipe(path: File, options: Options) -> Estimate:
    """Estimates a recipe.

    Raises:
        ValueError: whatever is wrong with the recipe, its model's configuration, its data set or the options.
    """
    check(options)
    recipe = recipes.read_recipe(path, options.overrides)
    model_args, data_args, finetuning_args = recipes.parse(recipe)
    setup = recipes.read_setup(recipe, model_args, finetuning_args, options.world_size)
    setup = setup if options.batch is None else replace(setup, batch=options.batch)
    ours, runs_here, told = speedups(recipe, model_args, finetuning_args)
    memory = gpu_gibibytes(options.gpu) if options.gpu is not None else options.gpu_memory
    with quiet("llamafactory", "transformers"):
        model = count_model(model_args, finetuning_args)
        given = {
            "text": options.text_tokens,
            "response": options.response_tokens,
            "image_tokens": options.image_tokens,
        }
        if (ours.shared_prefix or ours.padding_free) and 0 in model.decoder.spans:
            names = ", ".join(name for name in ("padding_free", "shared_prefix") if getattr(ours, name))
            ours = replace(ours, shared_prefix=False, padding_free=False)
            told.append(f"{names}: off, because linear attention carries a state from token to token")
        lengths = lengths_of(recipe, given, model.vision, (model_args, data_args))
    notes = told + recipes.notes(recipe, finetuning_args)
    return estimate((model, setup), lengths, ours, memory, notes, runs_here)


def speedups(recipe: Mapping[str, Any], model_args: Any, finetuning_args: Any) -> tuple[Path, bool, list[str]]:
    """What Resonance's trainer may use, whether that trainer runs the recipe as it stands, and what it cannot use."""
    from ...arguments.preference import runs_on_resonance
    from ...arguments.speedups import asked_speedups

    if finetuning_args.stage != "dpo":
        return Path(), False, []
    asked = asked_speedups(recipe.get("pref_speedups", "auto"))
    reasons = {}
    if model_args.flash_attn == "disabled":
        reasons["flash_attn: disabled, for eager attention is not computed by pieces"] = {"padding_free"}
    if finetuning_args.finetuning_type == "lora" and finetuning_args.lora_dropout > 0:
        reasons[f"lora_dropout: {finetuning_args.lora_dropout}"] = {
            "shared_prefix",
            "padding_free",
            "vision_once",
        }
    off = set().union(*reasons.values())
    told = [
        f"{', '.join(sorted(names & asked))}: off, because of {why}" for why, names in reasons.items() if names & asked
    ]
    return Path(**dict.fromkeys(asked - off, True)), runs_on_resonance(recipe), told


def check(options: Options) -> None:
    """Raises one ValueError with every number out of its range."""
    found = []
    for name, least in (
        ("batch", 1),
        ("world_size", 1),
        ("image_tokens", 0),
        ("text_tokens", 1),
        ("response_tokens", 1),
    ):
        value = getattr(options, name)
        if value is not None and value < least:
            found.append(f"--{name.replace('_', '-')}: {value}; allowed: a whole number from {least}")
    if options.gpu_memory is not None and not options.gpu_memory > 0:
        found.append(f"--gpu-memory: {options.gpu_memory}; allowed: GiB, above 0")
    if found:
        raise ValueError("; ".join(found))
