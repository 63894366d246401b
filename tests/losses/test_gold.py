# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every gold case: losses and gradients of trl 0.24, LlamaFactory and Uni-DPO's own code, within 1e-9."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from resonance.losses import LOSSES, preference_loss

RENAMED = {"aot_pair": "aot_unpaired"}


def as_float64(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_losses_and_gradients(gold_case, gold):
    name = RENAMED.get(gold_case["loss"], gold_case["loss"])
    batch = gold(gold_case["logps"])

    output = preference_loss(name, **batch, **gold_case["params"])
    output.losses.sum().backward()

    near = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(output.losses.detach(), as_float64(gold_case["losses"]), **near)
    chosen, rejected = as_float64(gold_case["grad_policy_chosen"]), as_float64(gold_case["grad_policy_rejected"])
    torch.testing.assert_close(batch["policy_chosen_logps"].grad, chosen, **near)
    torch.testing.assert_close(batch["policy_rejected_logps"].grad, rejected, **near)


def test_only_three_losses_have_no_gold_case():
    path = Path(__file__).parents[1] / "golden" / "preference_losses.json"
    cases = json.loads(path.read_text())["cases"]
    covered = {RENAMED.get(case["loss"], case["loss"]) for case in cases}
    assert set(LOSSES) - covered == {"kto_pair", "bco_pair", "dpop"}  # these are in test_worked.py
