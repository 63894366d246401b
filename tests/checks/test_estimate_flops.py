# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The estimate's FLOPs against torch's counter on LlamaFactory's real step, and on ours, forward and backward."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from forward.flash import instead_of_the_operator
from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.checks.estimate.flops import Counting, attention_flops, step_flops
from resonance.checks.estimate.model import count
from resonance.checks.estimate.shapes import LLAMAFACTORY, Decoder, Model, Part, Setup, Speedups, Workload

torch.set_num_threads(1)
ALL = Speedups(frozen_tower=True, response_head=True, vision_once=True, shared_prefix=True)
# What the counter sees with the attention written out in matrix products: all of them, and two for each backwards.
DENSE = Counting(causal=1.0, backward=2.0)
SETUP = Setup(
    stage="dpo",
    adapters=False,
    reference="copy",
    checkpointing=True,
    tower_graph=False,
    autocast=False,
    compute_bytes=4,
    zero=None,
    offload_optimizer=False,
    offload_weights=False,
    optimizer_bytes=8,
    world_size=1,
    batch=1,
    accumulation=1,
)


def set_up(family: str, mode: str, checkpointing: str = "reentrant", **changes: Any) -> tuple[Any, Any, Setup]:
    """A model, its reference and the setup that describes them."""
    model = make(FAMILIES[family]())
    reference = copy.deepcopy(model).requires_grad_(False).eval() if mode != "lora" else None
    model = for_training(model, mode, checkpointing)
    adapters, on = mode == "lora", checkpointing != "off"
    described = dict(reference="adapter off" if adapters else "copy", checkpointing=on, tower_graph=adapters and on)
    return model, reference, replace(SETUP, **{"adapters": adapters, **described, **changes})


def batch_of(model: Any, family: str, response: int = 24) -> tuple[dict[str, Any], Workload]:
    """One pair with one picture, and its lengths."""
    pictures = [] if family == "qwen2" else [picture(model, 0)]
    batch = pairs(model, [pictures], [response], [response])
    visual = sum(one.tokens for one in pictures)
    text = int((batch["labels"][0] != -100).int().argmax()) - visual
    return batch, Workload(text, len(pictures), visual, response)


def llamafactory_step(model: Any, reference: Any, batch: dict[str, Any]) -> None:
    """Forward and backward of LlamaFactory's DPO trainer."""
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = CustomDPOTrainer.__new__(CustomDPOTrainer)
    trainer.finetuning_args = SimpleNamespace(use_ref_model=True)
    trainer.loss_type, trainer.beta, trainer.label_smoothing = "sigmoid", 0.1, 0.0
    trainer.ftx_gamma, trainer.bco_gemma, trainer.ld_alpha = 0.0, 0.0, None
    trainer.f_divergence_type, trainer.f_divergence_params, trainer.reference_free = "reverse_kl", None, False
    trainer.ref_model = reference
    trainer.accelerator = SimpleNamespace(device=torch.device("cpu"), unwrap_model=lambda wrapped: wrapped)
    trainer.get_batch_loss_metrics(model, dict(batch))[0].backward()


def our_step(model: Any, reference: Any, batch: dict[str, Any], on: Speedups) -> None:
    """Forward of reference and policy through the forward room, and backward."""
    from resonance.forward.call import Forward
    from resonance.forward.result import sums

    forward = Forward([name for name in Speedups.__dataclass_fields__ if getattr(on, name)], always=True)
    other = model if reference is None else reference
    prepared = forward.prepare(batch, model, other)
    with torch.no_grad(), model.disable_adapter() if reference is None else nullcontext():
        Forward.call(other, other, prepared)
    sums(Forward.call(model, model, prepared)).sum().backward()


def counted(step: Any, *args: Any) -> float:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step(*args)
    return counter.get_total_flops()


def off_by(model: Any, setup: Setup, lengths: Workload, path: Speedups, measured: float) -> float:
    """Relative error of the estimate."""
    shape = count(model, model.config, SimpleNamespace(quantization_bit=None))
    return sum(step_flops(shape, setup, lengths, path, DENSE).values()) / measured - 1


CASES = [(f, m) for f in FAMILIES for m in ("lora", "full", "frozen", "trainable") if (f, m) != ("qwen2", "trainable")]


@pytest.mark.parametrize(("family", "mode"), CASES)
def test_step_of_llamafactory(family, mode):
    model, reference, setup = set_up(family, mode)
    batch, lengths = batch_of(model, family)
    measured = counted(llamafactory_step, model, reference, batch)
    assert abs(off_by(model, setup, lengths, LLAMAFACTORY, measured)) < 0.1


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("family", ["qwen2_vl", "llava", "qwen2"])
def test_step_without_checkpointing(family, mode):
    model, reference, setup = set_up(family, mode, "off")
    batch, lengths = batch_of(model, family)
    measured = counted(llamafactory_step, model, reference, batch)
    assert abs(off_by(model, setup, lengths, LLAMAFACTORY, measured)) < 0.05


@pytest.mark.parametrize("path", [ALL, *(Speedups(**{name: True}) for name in Speedups.__dataclass_fields__)], ids=str)
@pytest.mark.parametrize("family", ["qwen2_vl", "llava"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_step_with_speedups(family, mode, path):
    model, reference, setup = set_up(family, mode)
    batch, lengths = batch_of(model, family)
    measured = counted(our_step, model, reference, batch, path)
    assert abs(off_by(model, setup, lengths, path, measured)) < 0.1


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_supervised_step(mode):
    model, _, setup = set_up("qwen2", mode, stage="sft", reference="none")
    batch, lengths = batch_of(model, "qwen2")
    batch = {name: value[:1] for name, value in batch.items()}
    measured = counted(lambda: model(**batch).loss.backward())
    assert abs(off_by(model, setup, lengths, LLAMAFACTORY, measured)) < 0.05


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_reward_step(mode):
    model, _, setup = set_up("qwen2", mode, stage="rm", reference="none")
    batch, lengths = batch_of(model, "qwen2")
    del batch["labels"]

    def step() -> None:  # the value head is left out of the counted FLOPs, too: one column
        model(**batch, output_hidden_states=True).hidden_states[-1].sum().backward()

    assert abs(off_by(model, setup, lengths, LLAMAFACTORY, counted(step))) < 0.05


def test_half_of_the_attention_is_counted_for_causal_kernels():
    """By hand: 2 layers of width 4, rows of 8 tokens, window 2: 8 x 8 and 2 x (2 x 8 - 2) = 28 products, halved."""
    decoder = Decoder(layers=2, width=4, attention=4, inner=8, vocab=16, spans=(None, 2))
    model = Model("hand", decoder, Part(), Part(), Part())
    setup, lengths = replace(SETUP, stage="sft"), Workload(5, 0, 0, 3)
    assert attention_flops(model, setup, lengths, LLAMAFACTORY, Counting()) == 4 * 4 * (64 + 28) / 2


def test_a_shared_row_attends_once_to_the_prompt():
    """By hand: prompt 5, two responses of 3: 8 x 8 / 2 pairs, then 3 x 5 + 3 x 3 / 2 of the later response."""
    decoder = Decoder(layers=1, width=4, attention=4, inner=8, vocab=16, spans=(None,))
    model = Model("hand", decoder, Part(), Part(), Part())
    found = attention_flops(model, SETUP, Workload(5, 0, 0, 3), Speedups(shared_prefix=True), Counting())
    assert found == 4 * 4 * (32 + 15 + 4.5)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_step_with_the_reference_on_disk(mode):
    """Beside the step with a live reference on the same batch, the estimate's difference is the counter's."""
    model, reference, setup = set_up("qwen2_vl", mode, reference_on_disk=True)
    batch, lengths = batch_of(model, "qwen2_vl")

    def step() -> None:
        from resonance.forward.call import Forward
        from resonance.forward.result import sums

        forward = Forward([name for name in Speedups.__dataclass_fields__ if getattr(ALL, name)], always=True)
        sums(Forward.call(model, model, forward.prepare(batch, model))).sum().backward()

    measured = counted(step)
    assert abs(off_by(model, setup.on_resonance, lengths, ALL, measured)) < 0.1
    assert measured < 0.9 * counted(our_step, model, reference, batch, ALL)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "padding free"])
def test_step_over_uneven_rows(packed, monkeypatch):
    """Two shared rows of very different lengths: padded to the longer one, or end to end with a GPU's attention."""
    if packed:
        instead_of_the_operator(monkeypatch)
    model, reference, setup = set_up("qwen2", "full", batch=2)
    batch = pairs(model, [[], []], [8, 60], [8, 60])
    prompts = [int((row != -100).int().argmax()) for row in batch["labels"][:2]]
    mean = sum(prompts) / 2 + 2 * 34
    lengths = Workload(round(sum(prompts) / 2), 0, 0, 34, spread=(prompts[1] + 2 * 60) / mean)
    path = replace(ALL, padding_free=packed)
    measured = counted(our_step, model, reference, batch, path)
    assert abs(off_by(model, setup, lengths, path, measured)) < 0.1
