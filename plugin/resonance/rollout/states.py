# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The policy as generation needs it, and as it was before.

LlamaFactory leaves a model in train mode with gradient checkpointing on. Generating like that drops the cache in every
layer with no more than a warning, and samples garbage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from ..forward.walk import evaluating


@contextmanager
def generating(model: torch.nn.Module) -> Iterator[None]:
    """Within it the unwrapped policy is in eval mode without a graph, and its weights are whole.

    Under DeepSpeed ZeRO-3 the weights are gathered once for all tokens and DeepSpeed's hooks are taken off, so that
    ranks need not generate equally long.
    """
    deltas = {module: module.rope_deltas for module in model.modules() if hasattr(module, "rope_deltas")}
    with evaluating(model), _gathered(model) if is_sharded(model) else nullcontext():
        try:
            yield
        finally:
            for module, value in deltas.items():
                module.rope_deltas = value


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether ranks hold parts of the weights, under DeepSpeed ZeRO-3."""
    return any(hasattr(p, "ds_id") for p in model.parameters())


@contextmanager
def _gathered(model: torch.nn.Module) -> Iterator[None]:
    """All weights of a ZeRO-3 model on every rank, and nothing that gathers or releases them module by module."""
    import deepspeed

    taken = []
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        for module in model.modules():
            for name in ("_forward_pre_hooks", "_forward_hooks"):
                hooks = getattr(module, name)
                ours = {key: hook for key, hook in hooks.items() if _is_deepspeeds(hook)}
                taken.append((hooks, dict(hooks)))
                for key in ours:
                    del hooks[key]
        try:
            yield
        finally:
            for hooks, before in taken:
                hooks.clear()
                hooks.update(before)


def _is_deepspeeds(hook: Any) -> bool:
    return (getattr(hook, "__module__", None) or "").startswith("deepspeed")
