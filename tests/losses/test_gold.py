# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every gold case: losses and gradients of trl 0.24, LlamaFactory and the authors' own codes, within 1e-9."""

from __future__ import annotations

import torch

from losses.conftest import GOLD, read_beside
from resonance.losses import LOSSES, preference_loss

RENAMED = {"aot_pair": "aot_unpaired"}


def as_float64(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_losses_and_gradients(gold_case, gold):
    name = RENAMED.get(gold_case["loss"], gold_case["loss"])
    batch = gold(gold_case["logps"])

    output = preference_loss(name, **batch, **read_beside(gold_case, batch), **gold_case["params"])
    output.losses.sum().backward()

    near = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(output.losses.detach(), as_float64(gold_case["losses"]), **near)
    chosen, rejected = as_float64(gold_case["grad_policy_chosen"]), as_float64(gold_case["grad_policy_rejected"])
    torch.testing.assert_close(batch["policy_chosen_logps"].grad, chosen, **near)
    torch.testing.assert_close(batch["policy_rejected_logps"].grad, rejected, **near)


def test_which_losses_have_no_gold_case():
    covered = {RENAMED.get(case["loss"], case["loss"]) for case in GOLD["cases"]}
    by_hand = {"kto_pair", "bco_pair", "dpop", "focalpo", "mm_dpo", "odpo", "sft"}  # these are in test_worked.py
    by_hand |= {"ddpo", "ddpo_segments"}  # and those in tests/training/test_ddpo.py, which read tokens
    by_hand |= {"mdpo", "chip_visual"}  # in test_mdpo.py and test_chip.py
    by_trl = {"cpo", "rpo", "f_dpo_js", "f_dpo_alpha", "sigmoid_norm", "odds_ratio"}  # and these in test_trl.py
    assert set(LOSSES) - covered == by_hand | by_trl
