# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rollouts for the tests of the policy room: the gold file's twelve responses, and random ones with holes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

GOLDEN = Path(__file__).parents[1] / "golden"
FIRST = json.loads((GOLDEN / "policy_gradient.json").read_text())
MORE = json.loads((GOLDEN / "policy_gradient_more.json").read_text())
WHOLE_NUMBERS = {"group"}


def as_float64(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def gold() -> dict[str, torch.Tensor]:
    """The inputs of the gold files in float64; `logps` and `new_values` ask for gradients."""
    inputs = {
        name: torch.tensor(values) if name in WHOLE_NUMBERS else as_float64(values)
        for name, values in FIRST["inputs"].items()
    }
    for name in ("logps", "new_values"):
        inputs[name].requires_grad_()
    return inputs


@pytest.fixture
def rollout() -> dict[str, torch.Tensor]:
    """16 random responses of at most 11 tokens, with holes, of 4 prompts that do not stand side by side; float64."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, 12, (16,), generator=generator)
    mask = (torch.arange(11) < lengths[:, None]) & (draw(16, 11) > 0.2)
    mask[:, 0] = True
    old = -0.1 - 3 * draw(16, 11)
    return {
        "mask": mask,
        "group": torch.arange(16) % 4 + 7,
        "rewards": draw(16),
        "logps": (old + 0.6 * (draw(16, 11) - 0.5)).requires_grad_(),
        "old_logps": old,
        "ref_logps": old + 0.4 * (draw(16, 11) - 0.5),
        "advantages": 2 * draw(16, 11) - 1,
        "values": draw(16, 11).requires_grad_(),
        "old_values": draw(16, 11),
        "returns": draw(16, 11),
    }
