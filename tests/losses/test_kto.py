# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""KTO's loss against trl 0.24's own, values and gradients, and by numbers worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from trl import KTOTrainer

from resonance.losses import kto_kl, kto_unpaired

TAGS = {"both": [1, 0, 0, 1, 0], "good alone": [1] * 5, "bad alone": [0] * 5}


def alone(parts: torch.Tensor) -> torch.Tensor:
    return parts


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def draw(seed: int) -> list[torch.Tensor]:
    """Log-probs of own answers, of borrowed ones, then of both under the reference; of five rows."""
    generator = torch.Generator().manual_seed(seed)
    return [-20 + 6 * torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(4)]


def trl(own, borrowed, reference, borrowed_reference, tags, params):
    """Losses in the order of the rows, and the KL divergence, of `KTOTrainer.kto_loss`."""
    trainer = SimpleNamespace(
        calculate_KL=True,
        loss_type="kto",
        beta=params["beta"],
        desirable_weight=params["chosen_weight"],
        undesirable_weight=params["rejected_weight"],
        accelerator=SimpleNamespace(gather_for_metrics=alone, device="cpu"),
    )
    good = torch.tensor(tags).bool()
    losses, *_, kl = KTOTrainer.kto_loss(
        trainer, own[good], own[~good], borrowed, reference[good], reference[~good], borrowed_reference
    )
    found = losses.new_zeros(len(tags))
    found[good], found[~good] = losses[: int(good.sum())], losses[int(good.sum()) :]
    return found, kl


@pytest.mark.parametrize("seed", range(4))  # of which the KL divergence is clamped in some
@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_equal_to_trl(tags, seed):
    params = {"beta": 0.3, "chosen_weight": 1.5, "rejected_weight": 0.5}
    own, borrowed, reference, borrowed_reference = draw(seed)
    gradients, results = [], []
    for ours in (True, False):
        policy = [part.clone().requires_grad_() for part in (own, borrowed)]
        if ours:
            kl = kto_kl(policy[1] - borrowed_reference, alone)
            losses = kto_unpaired(policy[0] - reference, kl, torch.tensor(tags), **params)
        else:
            losses, kl = trl(*policy, reference, borrowed_reference, tags, params)
        losses.mean().backward()
        results.append((losses.detach(), kl))
        gradients.append(policy[0].grad)
        assert policy[1].grad is None, "no gradient flows into the KL divergence"
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


def test_by_hand():
    logratios = torch.tensor([2.0, -1.0], dtype=torch.float64)
    kl = kto_kl(torch.tensor([3.0, -1.0], dtype=torch.float64), alone)
    assert kl.item() == 1.0
    losses = kto_unpaired(logratios, kl, torch.tensor([1.0, 0.0]), beta=0.5, chosen_weight=2.0, rejected_weight=3.0)
    # 2 (1 - s(0.5 (2 - 1))) and 3 (1 - s(0.5 (1 + 1)))
    assert losses.tolist() == pytest.approx([2 * (1 - sigmoid(0.5)), 3 * (1 - sigmoid(1.0))], abs=1e-12)
    assert kto_kl(torch.tensor([-4.0, 1.0]), alone).item() == 0.0, "at least 0"
    equal = kto_unpaired(torch.zeros(2), torch.tensor(0.0), torch.tensor([1, 0]))
    assert equal.tolist() == [0.5, 0.5], "where policy and reference agree"


def test_the_divergence_is_a_mean_over_the_rows_of_all_ranks():
    """Three rows here and one on another rank: a mean of two means would be 3."""
    other = torch.tensor([5.0, 1.0])  # sum and rows
    kl = kto_kl(torch.tensor([0.0, 1.0, 2.0]), lambda parts: parts + other)
    assert kl.item() == (0 + 1 + 2 + 5) / 4
    assert kto_kl(torch.zeros(0), lambda parts: parts + other).item() == 5.0, "no row here"
