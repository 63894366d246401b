# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The margins of all ranks: their running moments, and the draw of pairs."""

from __future__ import annotations

import json

import pytest
import torch

from losses.conftest import GOLD, LOGPS
from resonance.losses import Margins, RunningMargins, preference_loss

WHOLE = slice(None)


@pytest.mark.parametrize("case", [c for c in GOLD["cases"] if "shifts" in c.get("given", {})], ids=lambda c: c["loss"])
def test_moments_are_those_of_the_authors_codes(case, gold):
    chosen, rejected, reference_chosen, reference_rejected = (gold(case["logps"])[name].detach() for name in LOGPS)
    margins = (chosen - rejected) - (reference_chosen - reference_rejected)
    running = RunningMargins()
    for shift in case["given"]["shifts"]:
        running.update(margins + shift * margins.std())
    found = running.margins(margins, WHOLE, draws=False)
    assert float(found.mean) == pytest.approx(case["given"]["mean"], rel=1e-12)
    assert float(found.std) == pytest.approx(case["given"]["std"], rel=1e-12)
    assert found.noise is None


def test_a_single_pair_has_no_deviation():
    running = RunningMargins()
    running.update(torch.tensor([2.0, 4.0]))
    before = float(running.std)
    running.update(torch.tensor([3.0]))
    assert float(running.std) == before and running.count == 2
    alone = Margins.of(torch.tensor([3.0], requires_grad=True))
    assert float(alone.std) == 0 and alone.standardized().tolist() == [0.0] and not alone.values.requires_grad


def test_the_draw_is_one_without_replacement_with_the_weights_of_the_paper():
    values = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    running = RunningMargins(seed=1)
    counts = torch.zeros(3, dtype=torch.float64)
    for running.count in range(4000):
        margins = running.margins(values, WHOLE, draws=True)
        kept = margins.kept(values, drop=0.5)  # int(3 * 0.5), one pair
        assert kept.sum() == 1
        counts += kept
    weights = torch.exp(-(values**2) / 2)
    torch.testing.assert_close(counts / 4000, weights / weights.sum(), rtol=0, atol=0.03)  # 4 standard errors
    assert margins.kept(values, drop=0.9).sum() == 1, "never none"
    assert running.margins(values, WHOLE, draws=False).kept(values, drop=0.5).tolist() == [1.0] * 3


def test_ranks_and_a_resumed_run_draw_the_same():
    values = torch.arange(8.0)
    whole, other = RunningMargins(seed=7), RunningMargins(seed=7)
    for running in (whole, other):
        running.update(values)
    resumed = RunningMargins(seed=7)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for running in (whole, other, resumed):
        running.update(2 * values)
    noises = [running.margins(values, WHOLE, draws=True).noise for running in (whole, other, resumed)]
    assert torch.equal(noises[0], noises[1]) and torch.equal(noises[0], noises[2])
    assert float(resumed.mean) == float(whole.mean) and float(resumed.std) == float(whole.std)
    whole.update(values)
    assert not torch.equal(noises[0], whole.margins(values, WHOLE, draws=True).noise)
    with pytest.raises(ValueError, match="Not the state of running margins"):
        RunningMargins().load_state_dict({"mean": 1.0})


def test_two_ranks_are_one_batch(gold):
    """Losses of halves, told of the margins of both, are those of the whole; beta-DPO's mean is over drawn pairs."""
    batch = {name: gold("sum")[name].detach() for name in LOGPS}
    margins = Margins.of((batch[LOGPS[0]] - batch[LOGPS[1]]) - (batch[LOGPS[2]] - batch[LOGPS[3]]))
    noise = torch.arange(8.0, dtype=torch.float64) * 100  # draws the last six
    for name in ("mm_dpo_released", "alpha_dpo", "beta_dpo"):
        known = [
            Margins(margins.values, own, margins.mean, margins.std, noise) for own in (WHOLE, slice(0, 4), slice(4, 8))
        ]
        whole = preference_loss(name, **batch, ranks=known[0]).losses
        halves = [
            preference_loss(name, **{key: value[each.own] for key, value in batch.items()}, ranks=each).losses
            for each in known[1:]
        ]
        if name == "beta_dpo":
            drawn = [2, 4]
            assert torch.equal(whole == 0, torch.arange(8) < 2)
            torch.testing.assert_close(
                whole.sum() * 6 / 8, sum(h.mean() * n for h, n in zip(halves, drawn, strict=True))
            )
        else:
            torch.testing.assert_close(torch.cat(halves), whole)


def test_a_policy_that_is_the_reference_has_a_target_without_its_alpha(gold):
    """All margins are 0, and so is their deviation: the authors' code divides by it."""
    batch = gold("mean")
    for policy, reference in zip(LOGPS[:2], LOGPS[2:], strict=True):
        batch[reference] = batch[policy].detach()
    output = preference_loss("alpha_dpo", **batch, gamma_beta_ratio=0.3)
    assert output.stats["alpha_dpo_target"].tolist() == [0.3] * 8
    output.losses.sum().backward()
    assert torch.isfinite(batch[LOGPS[0]].grad).all()
