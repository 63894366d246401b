# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From the rewards of a rollout to the advantages of its tokens. Moves numbers between `policy/` and the ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch

from ..arguments.policy_settings import PolicySettings
from ..policy import (
    AdaptiveKL,
    FixedKL,
    RunningMoments,
    advantages,
    at_last_token,
    counts,
    explained_variance,
    get_advantage,
    kl,
    masked_moments,
    masked_whiten,
    rollout_correction,
    value_moments,
)
from .rollouts import MicroBatch, Sample, Sizes, spread, stacked


class Credit:
    """Advantages of rollouts.

    Args:
        settings: of the recipe.
        sizes: of a rollout.
        total: sums a tensor of the host over ranks.

    Attributes:
        kl: the controller of `kl_coef`.
        norm: moments of all rewards so far, for `ppo_score_norm`.
    """

    def __init__(self, settings: PolicySettings, sizes: Sizes, total: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.settings, self.sizes, self.total = settings, sizes, total
        coef, target = settings.preset.kl_coef, settings.kl_target
        self.kl = FixedKL(coef) if target is None else AdaptiveKL(coef, target, settings.values["kl_horizon"])
        self.norm = RunningMoments()

    @property
    def needed(self) -> list[str]:
        """Which log-probabilities and values have to be computed before an update."""
        preset, names = self.settings.preset, []
        in_reward = self.settings.needs_reference and preset.kl_in == "reward"
        # where a rollout is used once, the policy that trains is still the one that sampled; a server may have another
        asked = self.settings.correction or self.settings.urls or self.settings.kl_target is not None
        if self.settings.updates > 1 or in_reward or asked:
            names.append("old_logps")
        if self.settings.needs_reference:
            names.append("ref_logps")
        if self.settings.needs_critic:
            names.append("values")
        return names

    def assign(self, batches: list[MicroBatch]) -> dict[str, float]:
        """Add `advantages`, and `returns` and `weights` where there are such, to a rollout's micro-batches.

        Returns metrics. Counts the tokens of each optimizer step on all ranks.
        """
        mask, given = stacked(batches)
        preset, metrics = self.settings.preset, dict[str, float]()
        spec = get_advantage(preset.advantage)
        rewards = at_last_token(self._scores(batches, spec.parts), mask)
        if "ref_logps" in given and "old_logps" in given:
            divergence = torch.where(mask, kl(preset.kl, given["old_logps"], given["ref_logps"]), 0.0)
            if preset.kl_in == "reward":
                rewards = rewards - self.kl.value * divergence
            self._steer(divergence)
        if self.settings.whiten_rewards:
            rewards = self._whitened(rewards, mask, shift_mean=False)
        params = dict(preset.advantage_params)
        if whiten := params.get("whiten", False):
            params["whiten"] = False  # over all ranks, below
        group = torch.tensor([sample.place for batch in batches for sample in batch.samples])
        found, returns = advantages(spec, rewards, mask, group=group, values=given.get("values"), **params)
        if whiten:
            found = self._whitened(found, mask)
        spread(batches, "advantages", found)
        if returns is not None and "values" in given:
            spread(batches, "returns", returns)
            moments = self.total(value_moments(given["values"], returns, mask))
            metrics["explained_variance"] = float(explained_variance(given["values"], returns, mask, moments))
        if "old_logps" in given:
            metrics |= self._compare(batches, given["old_logps"], mask)
        if self.settings.kl_target is not None:
            metrics["kl_coef"] = self.kl.value
        self._leave_out(batches)
        return metrics

    def _scores(self, batches: list[MicroBatch], parts: bool) -> torch.Tensor:
        """(N,) rewards, or (N, n) where they are kept apart; NaN where there is none."""
        samples = [sample for batch in batches for sample in batch.samples]
        if parts:
            weights = self.settings.weights
            rows = [
                [math.nan if v is None else v * w for v, w in zip(s.rewards.values(), weights, strict=True)]
                for s in samples
            ]
            return torch.tensor(rows)
        totals = torch.tensor([0.0 if sample.total is None else sample.total for sample in samples])
        if not self.settings.score_norm:
            return totals
        known = torch.tensor([[sample.total is not None for sample in samples]])
        self.norm.update(self.total(masked_moments(totals[None], known)))
        return self.norm.normalise(totals)

    def _steer(self, divergence: torch.Tensor) -> None:
        """Move an adaptive `kl_coef`."""
        sums = divergence.sum(1)
        total, count = self.total(torch.stack([sums.sum(), torch.tensor(float(len(sums)))])).tolist()
        self.kl.update(total / count, int(count))

    def _whitened(self, x: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True) -> torch.Tensor:
        return masked_whiten(x, mask, self.total(masked_moments(x, mask)), shift_mean=shift_mean)

    def _compare(self, batches: list[MicroBatch], old_logps: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
        """Compare with the log-probabilities that the rollout came with; importance weights, if they are asked for."""
        level, _, mode = (self.settings.correction or "token-truncate").partition("-")
        sampled = torch.zeros_like(old_logps)
        for row, sample in enumerate(s for batch in batches for s in batch.samples):
            sampled[row, : len(sample.completion.logps)] = torch.tensor(sample.completion.logps)
        threshold = self.settings.values["rollout_correction_threshold"]
        found = rollout_correction(old_logps, sampled, mask, level=level, mode=mode, threshold=threshold)
        if self.settings.correction:
            spread(batches, "weights", found.weights)
        return {name: float(value) for name, value in found.stats.items()}

    def _leave_out(self, batches: list[MicroBatch]) -> None:
        """Take completions that were cut off out of the loss if the recipe says so, and count what is left.

        They count in the statistics of their group.
        """
        if self.settings.preset.mask_truncated:
            for batch in batches:
                cut = torch.tensor([sample.completion.finish_reason == "length" for sample in batch.samples])
                batch.mask = batch.mask & ~cut[:, None]
        steps = self.sizes.accumulation
        own = torch.tensor([[float(n) for n in counts(batch.mask)] for batch in batches], dtype=torch.float64)
        totals = self.total(own.view(-1, steps, 2).sum(1)).tolist()
        if not any(tokens for tokens, _ in totals):
            self._nothing_left([sample for batch in batches for sample in batch.samples])
        for i, batch in enumerate(batches):
            batch.tokens, batch.sequences = totals[i // steps]

    def _nothing_left(self, samples: list[Sample]) -> NoReturn:
        cut = sum(sample.completion.finish_reason == "length" for sample in samples)
        bare = sum(sample.total is None for sample in samples)
        cut, bare, count = map(int, self.total(torch.tensor([cut, bare, len(samples)])).tolist())
        masked = cut and self.settings.preset.mask_truncated
        cures = ["raise max_new_tokens", "set `mask_truncated: false`"] if masked else []
        cures += ["give `rewards` one that judges every completion"] if bare else []
        raise ValueError(
            f"No completion of this rollout can be learned from. Of {count}, {cut} were cut off at max_new_tokens"
            f"{', and mask_truncated leaves those out' if masked else ''}; {bare} have no reward, because every "
            f"reward returned None for them. To do: {', or '.join(cures)}."
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return {"kl": self.kl.state_dict(), "norm": self.norm.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.kl.load_state_dict(state["kl"])
        self.norm.load_state_dict(state["norm"])
