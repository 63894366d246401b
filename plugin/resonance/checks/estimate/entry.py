# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a recipe file to an estimate: what `resonance estimate` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any

from ..quiet import quiet
from . import recipe as recipes
from .flops import step_flops
from .gpus import gpu_gibibytes
from .lengths import lengths_of
from .model import count_model
from .report import Estimate, estimate
from .shapes import Lengths, Model, Path, Setup


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
    with quiet():
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
        lengths = lengths_of(recipe, given, model.vision, (model_args, data_args), setup.batch)
    notes = told + recipes.notes(recipe, finetuning_args) + cache_notes(recipe, (model, setup), lengths[0], ours)
    return estimate((model, setup), lengths, ours, memory, notes, runs_here)


def speedups(recipe: Mapping[str, Any], model_args: Any, finetuning_args: Any) -> tuple[Path, bool, list[str]]:
    """What Resonance's trainer may use, whether that trainer runs the recipe as it stands, and what it cannot use.

    `lora_dropout` takes nothing away: LlamaFactory's DPO trainer sets all dropout to 0.
    """
    from ...arguments.preference import runs_on_resonance
    from ...arguments.speedups import asked_speedups

    if finetuning_args.stage != "dpo":
        return Path(), False, []
    asked = asked_speedups(recipe.get("pref_speedups", "auto"))
    reasons = {}
    if model_args.flash_attn == "disabled":
        reasons["flash_attn: disabled, for eager attention is not computed by pieces"] = {"padding_free"}
    off = set().union(*reasons.values())
    told = [
        f"{', '.join(sorted(names & asked))}: off, because of {why}" for why, names in reasons.items() if names & asked
    ]
    return Path(**dict.fromkeys(asked - off, True)), runs_on_resonance(recipe), told


def cache_notes(recipe: Mapping[str, Any], counted: tuple[Model, Setup], lengths: Lengths, ours: Path) -> list[str]:
    """What the numbers do not show of the recipe's caches: of reference log-probabilities, and of image features."""
    from ...arguments.features import feature_cache_bytes

    model, setup = counted
    found = []
    if setup.reference_on_disk:
        parts = step_flops(model, setup, lengths, ours)
        found.append(
            f"precompute_ref_log_probs: the pass of the reference is left out on the right; once before the training "
            f"it takes {parts['reference'] / 1e12:.2g} TFLOP for the rows of a micro-batch, and the encoding of "
            "their images"
        )
    budget = feature_cache_bytes(recipe.get("image_feature_cache", "off"))
    if budget and model.vision is None:
        found.append("image_feature_cache: no effect, the model has no vision tower")
    elif budget and model.vision_trains:
        found.append("image_feature_cache: no effect, the vision tower or its projector trains")
    elif budget:
        vision = step_flops(model, setup.on_resonance, lengths, ours)["vision"]
        size = lengths.image_tokens * model.decoder.width * setup.compute_bytes
        found.append(
            f"image_feature_cache: {vision / 1e12:.2g} TFLOP of the right column are the first epoch's alone, for "
            f"images that are kept; one takes {size / 1e6:.2g} MB of host memory, so that about "
            f"{budget // max(size, 1)} fit"
        )
    return found


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
