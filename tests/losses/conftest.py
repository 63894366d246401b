# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Batches for the tests of losses: the gold file's eight pairs, and random ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

GOLD = json.loads((Path(__file__).parents[1] / "golden" / "preference_losses.json").read_text())
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
Batch = dict[str, torch.Tensor]


def gold_batch(rule: str = "sum") -> Batch:
    """The gold pairs in float64; with the rule "mean", log-probs divided by the lengths."""
    batch = {name: torch.tensor(values, dtype=torch.float64) for name, values in GOLD["inputs"].items()}
    if rule == "mean":
        for name in LOGPS:
            batch[name] = batch[name] / batch["chosen_lengths" if "chosen" in name else "rejected_lengths"]
    for name in LOGPS[:2]:
        batch[name].requires_grad_()
    return batch


def random_batch(size: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    """`size` pairs with mean log-probs (valid for every loss), scores in 0..5 and gradients on the policy."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(6, size, generator=generator, dtype=torch.float64).to(dtype)
    batch = {name: -0.2 - 3 * draw[row] for row, name in enumerate(LOGPS)}
    for name in LOGPS[:2]:
        batch[name].requires_grad_()
    return batch | {"score_chosen": 5 * draw[4], "score_rejected": 5 * draw[5]}


@pytest.fixture
def gold() -> Callable[[str], Batch]:
    return gold_batch


@pytest.fixture
def pairs_of() -> Callable[..., Batch]:
    return random_batch


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a gold case where a test asks for `gold_case`."""
    if "gold_case" in metafunc.fixturenames:
        ids = [f"{index}-{case['loss']}-{case['logps']}" for index, case in enumerate(GOLD["cases"])]
        metafunc.parametrize("gold_case", GOLD["cases"], ids=ids)
