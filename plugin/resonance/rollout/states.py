# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The policy as generation needs it, and as it was before.

LlamaFactory leaves a model in train mode with gradient checkpointing on. Generating like that drops the cache in every
layer with no more than a warning, and samples garbage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def generating(model: torch.nn.Module, wrapped: Any = None) -> Iterator[None]:
    """Within it, `model` is in eval mode without a graph, and its weights are whole.

    Args:
        model: the unwrapped policy.
        wrapped: what Accelerate made of it. Under DeepSpeed ZeRO-3 the weights are gathered once for all tokens and
            DeepSpeed's hooks are taken off, so that ranks need not generate equally long.
    """
    modes = {module: module.training for module in model.modules()}
    deltas = {module: module.rope_deltas for module in model.modules() if hasattr(module, "rope_deltas")}
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if _is_sharded(model):
            stack.enter_context(_gathered(model))
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for module, value in deltas.items():
                module.rope_deltas = value


def _is_sharded(model: torch.nn.Module) -> bool:
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
