# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's own forward pass, to compare with."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

# First, as in training: trl 0.24 beside transformers 5 believes that mergekit is installed, and this sets that right.
import llamafactory.extras.packages
import pytest
import torch

from resonance.forward import host, segments
from resonance.forward.call import Forward
from resonance.forward.cost import Layer
from resonance.forward.names import SPEEDUPS
from resonance.forward.request import Request

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llamafactory():
    """`llamafactory(model, batch)`: the log-probabilities of its real DPO trainer, one a response token."""
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = CustomDPOTrainer.__new__(CustomDPOTrainer)
    trainer.finetuning_args = SimpleNamespace(use_ref_model=True)
    trainer.loss_type, trainer.ld_alpha = "sigmoid", None

    def run(model: Any, batch: dict[str, Any]) -> Any:
        output = trainer.concatenated_forward(model, dict(batch))
        logits = torch.cat((output["chosen_logits"], output["rejected_logits"]))[:, :-1]
        labels = batch["labels"][:, 1:]
        found = logits.log_softmax(-1).gather(2, labels.clamp(min=0)[..., None]).squeeze(2)
        logps = torch.cat((output["chosen_logps"], output["rejected_logps"]))
        return SimpleNamespace(tokens=found * (labels != -100), sums=logps)

    return run


def both(model: Any, reference: Any, batch: dict[str, Any], on: Any = SPEEDUPS, cache: Any = None) -> tuple[Any, Any]:
    """Tokens of policy and reference in one step, the reference first; that may be the policy without its adapters."""
    forward = Forward(on)
    forward.feature_cache = cache
    prepared = forward.prepare(batch, model, reference)
    with torch.no_grad(), model.disable_adapter() if reference is model else nullcontext():
        theirs = Forward.call(reference, reference, prepared)
    return Forward.call(model, model, prepared), theirs


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients by name, zeros where there is none; takes them away from the model."""
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
    model.zero_grad()
    return found


def worst(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> tuple[float, str]:
    """Largest relative difference of a parameter's gradient. Those that are zero but for rounding count as zero."""
    whole = torch.stack([g.norm() for g in theirs.values()]).norm()
    errors = [
        (float((ours[n] - g).norm() / max(g.norm(), 1e-3 * whole, torch.tensor(1e-12))), n) for n, g in theirs.items()
    ]
    return max(errors)


def lay_out(batch: dict[str, Any], on: Any, pictures: Any = (), **changes: Any) -> Any:
    """The layout of a batch for models of which this is known, and the reasons for what is not used.

    `pictures`: ids of the tokens that stand for them. `changes`: of the fields of `Request`.
    """
    tokens = ("image", frozenset(pictures)), ("video", frozenset()), ("audio", frozenset())
    known = dict(attention=segments.SPLIT, whole=None, model_type="qwen2", layer=Layer(1.0, 1, 1, 1), device="cpu")
    made = host.lay_out(batch, Request(on=frozenset(on), always=True, tokens=tokens, **(known | changes)))
    return SimpleNamespace(layout=made.layout(batch), reasons=made.choice.reasons)
