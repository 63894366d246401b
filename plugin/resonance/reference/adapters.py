# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A policy with its adapters off is the model it was made from. Switching them costs nothing here.

PEFT's `disable_adapter` asks every layer for its state and toggles `requires_grad` of every adapter, twice a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import (  # `peft.utils` of 0.17 has not all of them
    AuxiliaryTrainingWrapper,
    ModulesToSaveWrapper,
    TrainableTokensWrapper,
)

from ..forward.walk import remembered

_OFF, _CHECKPOINTED, _TRAINS = "_disable_adapters", "gradient_checkpointing", "training"
# Besides `requires_grad`, which has no effect without a graph, these set `_OFF` and do nothing else.
_KNOWN = {
    kind.enable_adapters
    for kind in (BaseTunerLayer, AuxiliaryTrainingWrapper, ModulesToSaveWrapper, TrainableTokensWrapper)
}


@contextmanager
def adapters_off(model: Any) -> Iterator[None]:
    """Within the block the unwrapped `model` computes, without a graph, what it computed before it got its adapters.

    It evaluates: a reference has no dropout, no noise on its embeddings (NEFTune), nothing random. Nothing is
    checkpointed meanwhile, because there is no graph: layers whose adapters ask for gradients would be, and some ways
    of checkpointing copy what a layer reads. Afterwards every layer is as it was, `requires_grad` included.
    Prompts, biases that train and layers of kinds that are not known here are left to PEFT's own `disable_adapter`.

    Raises:
        ValueError: the model has no adapters.
    """
    if not hasattr(model, "disable_adapter"):
        raise ValueError(
            f"{type(model).__name__} has no adapters to switch off, so it cannot be its own reference. "
            "Set `ref_model`, or train with `finetuning_type: lora`."
        )
    switches = _switches(model)
    quiet = [(model, _TRAINS, False), *remembered(model, _trains)]
    if switches is None:
        with model.disable_adapter(), _set(quiet):
            yield
        return
    with _set([*quiet, *switches, (model, "_adapters_disabled", True)]):
        yield


@contextmanager
def _set(switches: Sequence[tuple[torch.nn.Module, str, bool]]) -> Iterator[None]:
    """Attributes of modules have these values within the block."""
    before = [getattr(module, name) for module, name, _ in switches]
    try:
        for module, name, value in switches:
            vars(module)[name] = value  # past `Module.__setattr__`, which looks for parameters and modules first
        yield
    finally:
        for (module, name, _), value in zip(switches, before, strict=True):
            vars(module)[name] = value


def _trains(modules: Sequence[torch.nn.Module]) -> list[tuple[torch.nn.Module, str, bool]]:
    return [(module, _TRAINS, False) for module in modules]


def _switches(model: Any) -> list[tuple[torch.nn.Module, str, bool]] | None:
    """Attributes of modules, and their values while the adapters are off; None if that is not all there is to it."""
    if not isinstance(model, PeftModel) or not hasattr(model, "_adapters_disabled"):
        return None
    configs = model.peft_config.values()
    if any(c.is_prompt_learning or c.is_adaption_prompt or getattr(c, "bias", "none") != "none" for c in configs):
        return None
    return remembered(model, _known_switches)


def _known_switches(modules: Sequence[torch.nn.Module]) -> list[tuple[torch.nn.Module, str, bool]] | None:
    layers = [module for module in modules if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    if not all(type(layer).enable_adapters in _KNOWN for layer in layers):
        return None
    # not by `hasattr`: PEFT's wrappers answer for the model inside them
    checkpointed = [m for m in modules if _CHECKPOINTED in vars(m) or hasattr(type(m), _CHECKPOINTED)]
    return [(layer, _OFF, True) for layer in layers] + [(m, _CHECKPOINTED, False) for m in checkpointed]
