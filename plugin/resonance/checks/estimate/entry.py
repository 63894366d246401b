# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a recipe file to an estimate: what `resonance estimate` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...arguments.features import feature_cache_bytes
from ...arguments.preference import runs_on_resonance
from ...arguments.reader import read_recipe
from ...arguments.speedups import asked_speedups
from ..quiet import quiet
from . import recipe as recipes
from .advice import advise
from .flops import step_flops
from .gpus import gpu_gibibytes
from .lengths import workloads
from .memory import GIB, largest_batch, step_memory
from .model import count_model
from .report import Column, Estimate
from .shapes import LLAMAFACTORY, Model, Setup, Speedups, Workload

TYPICAL_GPUS = (24.0, 48.0, 80.0, 140.0)
LEAST = {"batch": 1, "world_size": 1, "image_tokens": 0, "text_tokens": 1, "response_tokens": 1}


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

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in LEAST}
        low = {name: value for name, value in given.items() if value is not None and value < LEAST[name]}
        wrong = [
            f"--{name.replace('_', '-')}: {value}; allowed: a whole number from {LEAST[name]}"
            for name, value in low.items()
        ]
        if self.gpu_memory is not None and not self.gpu_memory > 0:
            wrong.append(f"--gpu-memory: {self.gpu_memory}; allowed: GiB, above 0")
        if wrong:
            raise ValueError("; ".join(wrong))


def estimate_recipe(path: Path, options: Options) -> Estimate:
    """Estimates a recipe on LlamaFactory's path and, if they differ, on Resonance's.

    Raises:
        ValueError: whatever is wrong with the recipe, its model's configuration, its data set or the options.
    """
    recipe = read_recipe(path, options.overrides)
    model_args, data_args, finetuning_args = recipes.parse(recipe)
    setup = recipes.read_setup(recipe, model_args, finetuning_args, options.world_size)
    setup = setup if options.batch is None else replace(setup, batch=options.batch)
    gpu = gpu_gibibytes(options.gpu) if options.gpu is not None else options.gpu_memory
    given = {"text": options.text_tokens, "response": options.response_tokens, "image_tokens": options.image_tokens}
    with quiet():
        model = count_model(model_args, finetuning_args)
        on, notes = speedups(recipe, model, model_args, finetuning_args)
        mean, longest = workloads(given, model.vision, (model_args, data_args), setup.batch)
    notes += recipes.notes(recipe, finetuning_args) + cache_notes(recipe, model, setup, mean, on)
    differs = on.any or setup.reference_on_disk
    paths = [("LlamaFactory", LLAMAFACTORY, setup), *[("Resonance", on, setup.on_resonance)] * differs]
    sizes = TYPICAL_GPUS if gpu is None else (gpu,)
    columns = [
        Column(
            title,
            fast,
            how,
            step_flops(model, how, mean, fast),
            step_memory(model, how, longest, fast),
            {size: largest_batch(model, how, longest, fast, size * GIB) for size in sizes},
        )
        for title, fast, how in paths
    ]
    advice = advise(model, columns[-1].setup, longest, columns[-1].on, gpu)
    if differs and not runs_on_resonance(recipe):
        advice.insert(0, "pref_engine: resonance runs this recipe on the right column's path; LlamaFactory's does now")
    return Estimate(model, setup, mean, longest, columns, notes, advice)


def speedups(
    recipe: Mapping[str, Any], model: Model, model_args: Any, finetuning_args: Any
) -> tuple[Speedups, list[str]]:
    """What Resonance's trainer may use, and why it cannot use the rest of what was asked for.

    `lora_dropout` takes nothing away: LlamaFactory's DPO trainer sets all dropout to 0.
    """
    if finetuning_args.stage != "dpo":
        return Speedups(), []
    asked, notes = asked_speedups(recipe.get("pref_speedups", "auto")), []
    off: dict[str, set[str]] = {}
    if model_args.flash_attn == "disabled":
        off["of flash_attn: disabled, for eager attention is not computed by pieces"] = {"padding_free"}
    if 0 in model.decoder.spans:
        off["linear attention carries a state from token to token"] = {"padding_free", "shared_prefix"}
    for why, names in off.items():
        notes += [f"{', '.join(sorted(names & asked))}: off, because {why}"] * bool(names & asked)
        asked = asked - names
    return Speedups(**dict.fromkeys(asked, True)), notes


def cache_notes(recipe: Mapping[str, Any], model: Model, setup: Setup, work: Workload, on: Speedups) -> list[str]:
    """What the numbers do not show of the recipe's caches: of reference log-probabilities, and of image features."""
    found = []
    if setup.reference_on_disk:
        reference = step_flops(model, setup, work, on)["reference"]
        found.append(
            "precompute_ref_log_probs: the pass of the reference is left out on the right; once before the training "
            f"it takes {reference / 1e12:.2g} TFLOP for the rows of a micro-batch, and the encoding of their images"
        )
    budget = feature_cache_bytes(recipe.get("image_feature_cache", "off"))
    if budget and (model.vision is None or model.vision_trains):
        why = "the model has no vision tower" if model.vision is None else "the vision tower or its projector trains"
        found.append(f"image_feature_cache: no effect, {why}")
    elif budget:
        vision = step_flops(model, setup.on_resonance, work, on)["vision"]
        size = work.image_tokens * model.decoder.width * setup.compute_bytes
        found.append(
            f"image_feature_cache: {vision / 1e12:.2g} TFLOP of the right column are the first epoch's alone, for "
            f"images that are kept; one takes {size / 1e6:.2g} MB of host memory, so that about "
            f"{budget // max(size, 1)} fit"
        )
    return found
