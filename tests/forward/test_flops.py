# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FLOPs that the self-test counts, by hand and against torch's own counter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from forward.tiny import FAMILIES, for_training, make, pairs, picture
from resonance.forward.call import Forward
from resonance.forward.flops import MatrixFlops
from resonance.forward.names import SPEEDUPS
from resonance.forward.result import TokenLogps, sums
from resonance.forward.selftest import SelfTest


def test_a_linear_layer_by_hand():
    """(3, 4) x (4, 5) is 2 x 3 x 4 x 5; the backward is as much for the input and as much for the weight."""
    weight, rows = torch.ones(5, 4, requires_grad=True), torch.ones(3, 4, requires_grad=True)
    with MatrixFlops() as flops:
        product = F.linear(rows, weight)
        assert flops.total == 120
        product.sum().backward()
    assert flops.total == 360


@pytest.mark.parametrize("kv_heads", [4, 2], ids=["all heads", "grouped queries"])
def test_attention_counts_nowhere(kv_heads):
    query, key = torch.ones(1, 4, 3, 8), torch.ones(1, kv_heads, 3, 8)
    with MatrixFlops() as flops:
        F.scaled_dot_product_attention(query, key, key, is_causal=True, enable_gqa=True)
    assert flops.total == 0


def test_the_saving_of_a_worked_case():
    """Plain: four rows of 2 x 3 x 3 FLOPs, forward and twice that backward; one row with a speed-up: a quarter."""
    weight = torch.nn.Parameter(torch.eye(3))

    def run(on):
        rows = torch.ones(1 if on else 4, 3, requires_grad=True)
        values = F.linear(rows, weight).mean(0, keepdim=True)
        return TokenLogps({"logp": values.T}, torch.ones(3, 1, dtype=torch.bool)), None

    verdict = SelfTest(run, [weight], False, torch.device("cpu")).choose(SPEEDUPS[:1])
    assert verdict.saving == 4.0 and verdict.gradient is not None


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_same_as_torchs_counter(mode):
    model = for_training(make(FAMILIES["qwen2_vl"]()), mode, "reentrant")
    batch = pairs(model, [[picture(model, 1)]])
    with FlopCounterMode(display=False) as theirs, MatrixFlops() as ours:
        forward = Forward(SPEEDUPS)
        sums(Forward.call(model, model, forward.prepare(batch, model))).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0
