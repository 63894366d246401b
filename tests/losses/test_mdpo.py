# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""mDPO against the authors' code: values, rewards and the gradient of all three terms."""

from __future__ import annotations

import json

import pytest
import torch

from losses.conftest import FOLDER
from resonance.losses import Pairs, preference_loss

GOLD = json.loads((FOLDER / "mdpo.json").read_text())


def corrupted_of(batch):
    """The gold pairs of images; the policy's log-probs beside corrupted images, a leaf."""
    names = ("policy_corrupted_logps", "reference_corrupted_logps")
    ours, theirs = (torch.tensor(GOLD[name], dtype=torch.float64) for name in names)
    ours.requires_grad_()
    return ours, Pairs(batch["policy_chosen_logps"], ours, batch["reference_chosen_logps"], theirs)


def equals_the_authors_code(loss, case, batch):
    """Values, rewards and the gradient of all three log-probabilities are those of a gold case."""
    ours, corrupted = corrupted_of(batch)
    output = preference_loss(loss, **batch, corrupted=corrupted, beta=case["beta"])
    output.losses.sum().backward()
    found = {
        "losses": output.losses.detach(),
        "chosen_rewards": output.chosen_rewards,
        "rejected_rewards": output.rejected_rewards,
        "grad_policy_chosen": batch["policy_chosen_logps"].grad,
        "grad_policy_rejected": batch["policy_rejected_logps"].grad,
        "grad_policy_corrupted": ours.grad,
    }
    for name, values in found.items():
        expected = torch.tensor(case[name], dtype=torch.float64)
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("case", GOLD["cases"], ids=lambda case: f"beta {case['beta']}")
def test_values_and_gradients_of_the_authors_code(case, gold):
    equals_the_authors_code("mdpo", case, gold("sum"))


def test_terms_make_up_the_loss_and_dpo_is_one_of_them(gold):
    batch = gold("sum")
    _, corrupted = corrupted_of(batch)
    weights = {"mdpo_image_weight": 0.5, "mdpo_anchor_weight": 0.25}
    output = preference_loss("mdpo", **batch, corrupted=corrupted, beta=0.3, mdpo_delta=0.5, **weights)
    dpo, image, anchor = (output.stats[f"mdpo_{part}"] for part in ("dpo", "image", "anchor"))
    torch.testing.assert_close(output.losses.detach(), dpo + 0.5 * image + 0.25 * anchor)
    torch.testing.assert_close(dpo, preference_loss("sigmoid", **batch, beta=0.3).losses.detach())
    alone = preference_loss("mdpo", **batch, corrupted=corrupted, beta=0.3, **dict.fromkeys(weights, 0.0))
    torch.testing.assert_close(alone.losses.detach(), dpo)
    assert output.stats["mdpo_image_accuracies"].tolist() == [float(m > 0) for m in output.stats["mdpo_image_margins"]]


def test_means_are_taken_of_all_three(gold):
    batch = gold("sum")
    _, corrupted = corrupted_of(batch)
    lengths = batch["chosen_lengths"]
    corrupted = Pairs(**{**vars(corrupted), "chosen_lengths": lengths, "rejected_lengths": lengths, "logps": "sum"})
    pairs = Pairs(**batch, corrupted=corrupted, logps="sum").as_rule("mean")
    assert pairs.corrupted is not None
    torch.testing.assert_close(pairs.corrupted.logits * lengths, corrupted.logits)


def test_a_batch_without_corrupted_images_is_refused(gold):
    with pytest.raises(ValueError, match="mdpo needs the chosen response beside corrupted images, corrupted is None"):
        preference_loss("mdpo", **gold("sum"))
