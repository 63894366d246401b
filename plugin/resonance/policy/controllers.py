# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What kl_coef is at a step: a constant, or steered towards a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class FixedKL:
    """A kl_coef that stays.

    Attributes:
        value: the coefficient.
    """

    value: float

    def update(self, kl: float, n_steps: int) -> None:
        """Nothing; AdaptiveKL takes the same call."""

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, for a checkpoint."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from `state_dict()`. ValueError when it is no such state."""
        if set(state) != {"value"}:
            raise ValueError(f"Not the state of a KL controller: {dict(state)!r}; expected 'value'.")
        self.value = float(state["value"])


@dataclass
class AdaptiveKL(FixedKL):
    """A kl_coef that grows while the KL divergence is above its target and shrinks while it is below.

    Paper: arXiv:1909.08593, section 2.2. A target of 6 nats a sequence is LlamaFactory's `ppo_target`, a horizon of
    10,000 sequences that of trl's PPO up to 0.11. Formula, with n new sequences:

        error = clip(kl / target - 1, -0.2, 0.2)
        value = value * (1 + error * n / horizon)

    Attributes:
        target: the KL divergence to hold, > 0, in the unit of the `kl` passed to `update`.
        horizon: sequences in which the coefficient can change by about a fifth, > 0.
    """

    target: float = 6.0
    horizon: float = 10_000.0

    def __post_init__(self) -> None:
        wrong = [f"{name}={value!r}" for name in ("target", "horizon") if not (value := getattr(self, name)) > 0]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is not allowed, it must be a number > 0.")

    def update(self, kl: float, n_steps: int) -> None:
        """Move the coefficient.

        Args:
            kl: the mean KL divergence of the last rollout over all ranks: the sum over tokens, a mean over sequences.
            n_steps: sequences in it, over all ranks.
        """
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.value *= 1 + error * n_steps / self.horizon
