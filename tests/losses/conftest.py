# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Batches for the tests of losses: the gold file's eight pairs, and random ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resonance.losses import LOSSES, Margins, Pairs

FOLDER = Path(__file__).parents[1] / "golden"
GOLD = json.loads((FOLDER / "preference_losses.json").read_text())
GOLD["cases"] += json.loads((FOLDER / "preference_losses_more.json").read_text())["cases"]
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
Batch = dict[str, Any]


def gold_batch(rule: str = "sum") -> Batch:
    """The gold pairs in float64; with the rule "mean", log-probs divided by the lengths."""
    batch = {name: torch.tensor(values, dtype=torch.float64) for name, values in GOLD["inputs"].items()}
    if rule == "mean":
        for name in LOGPS:
            batch[name] = batch[name] / batch["chosen_lengths" if "chosen" in name else "rejected_lengths"]
    for name in LOGPS[:2]:
        batch[name].requires_grad_()
    return batch


def noise_of(drawn: list[int], size: int) -> torch.Tensor:
    """Noise that makes these pairs the ones that are drawn."""
    return torch.tensor([1e6 * (index in drawn) for index in range(size)], dtype=torch.float64)


def read_beside(case: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """What the loss of a gold case reads beside log-probs, lengths and scores."""
    given = case.get("given", {})
    likely = {name: torch.tensor(values, dtype=torch.float64) for name, values in given.items() if "policy" in name}
    if not LOSSES.get(case["loss"]) or not LOSSES[case["loss"]].needs_ranks:
        return likely
    chosen, rejected, reference_chosen, reference_rejected = (batch[name].detach() for name in LOGPS)
    values = (chosen - rejected) - (reference_chosen - reference_rejected)
    mean, std = (torch.tensor(given.get(name, 0.0), dtype=torch.float64) for name in ("mean", "std"))
    noise = noise_of(given["drawn"], len(values)) if "drawn" in given else None
    return {"ranks": Margins(values, slice(None), mean, std, noise)}


def random_batch(size: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    """`size` pairs with mean log-probs (valid for every loss), scores in 0..5 and gradients on the policy.

    And all else that some loss reads, but `ranks`.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(6, size, generator=generator, dtype=torch.float64).to(dtype)
    more = torch.rand(5, size, generator=generator, dtype=torch.float64).to(dtype)
    batch = {name: -0.2 - 3 * draw[row] for row, name in enumerate(LOGPS)}
    for name in LOGPS[:2]:
        batch[name].requires_grad_()
    batch |= {"margin": 2 * more[0], "chosen_on_policy": -more[1], "rejected_on_policy": -more[2]}
    batch |= {"chosen_lengths": 1 + 9 * more[3], "rejected_lengths": 1 + 9 * more[4]}
    batch |= {"score_chosen": 5 * draw[4], "score_rejected": 5 * draw[5]}
    return batch | nested_batch(batch)


def nested_batch(batch: dict[str, Any]) -> dict[str, Pairs]:
    """The pairs inside pairs that a few losses read, made of the pairs of a batch; without a gradient."""
    known = {name: batch[name].detach().clone() for name in LOGPS}
    lengths = {name: torch.full_like(known[LOGPS[0]], 2.0) for name in ("chosen_lengths", "rejected_lengths")}
    changed = Pairs(**{name: values / 3 for name, values in known.items()}, **lengths, logps="sum")
    beside = {name: known[name] - 0.5 * ("policy" in name) for name in (LOGPS[0], LOGPS[2])}
    corrupted = Pairs(known[LOGPS[0]], beside[LOGPS[0]], known[LOGPS[2]], beside[LOGPS[2]])
    return {"changed": changed, "corrupted": corrupted}


def each(batch: dict[str, Any], change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """The same batch with every tensor changed, those of pairs inside pairs too."""

    def changed(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return change(value)
        return Pairs(**each(vars(value), change)) if isinstance(value, Pairs) else value

    return {name: changed(value) for name, value in batch.items()}


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
