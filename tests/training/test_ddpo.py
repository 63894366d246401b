# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DDPO from token ids to the gradient of each token, in the trainer, and in a run."""

from __future__ import annotations

import json
import math

import pytest
import torch

from conftest import GOLDEN
from resonance.arguments import parameters
from resonance.forward.call import Forward
from resonance.forward.names import PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX
from resonance.forward.result import TokenLogps, sums
from resonance.losses import Pairs, preference_loss
from resonance.rows.changed import CHANGED, ChangedCollator
from resonance.training.beside import changed_pairs
from training.one_batch import preference_trainer
from training.test_every_loss import batch_of

CASES = json.loads((GOLDEN / "ddpo.json").read_text())["cases"]
LENGTH = max(len(case[side]) for case in CASES for side in ("chosen", "rejected"))


def padded(rows, fill=0.0):
    return torch.tensor([[*row, *[fill] * (LENGTH - len(row))] for row in rows], dtype=torch.float64)


def gold_pairs():
    """All gold pairs in one batch; the policy's tokens, a leaf, and the pairs."""
    labels = padded([case[side] for side in ("chosen", "rejected") for case in CASES], -100).long()
    labels = torch.cat([torch.full_like(labels[:, :1], -100), labels], 1)  # the last token of the prompt
    changed = ChangedCollator(lambda features: {"labels": labels})([{}] * len(CASES))[CHANGED]
    mask = labels[:, 1:] != -100
    policy, reference = (
        padded([case[model][side] for side in (0, 1) for case in CASES]) for model in ("policy", "reference")
    )
    tokens, theirs = (TokenLogps({"logp": values}, mask) for values in (policy.requires_grad_(), reference))
    logps = [part for each in (tokens, theirs) for part in sums(each).chunk(2)]
    pairs = Pairs(*logps, *tokens.lengths.chunk(2), changed=changed_pairs(tokens, theirs, changed))
    return policy, pairs


def near(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("setting", range(3))
def test_values_and_gradients_of_rlhf_v(setting):
    policy, pairs = gold_pairs()
    expected = [case["ddpo"][setting] for case in CASES]
    gamma, beta, means = (expected[0][name] for name in ("gamma", "beta", "average"))
    pairs = Pairs(**{**vars(pairs), "logps": "sum"}).as_rule("mean" if means else "sum")
    output = preference_loss("ddpo", **vars(pairs), beta=beta, ddpo_gamma=gamma)
    near(output.losses.detach(), [each["loss"] for each in expected])
    near(torch.stack([output.chosen_rewards, output.rejected_rewards], 1), [each["rewards"] for each in expected])
    output.losses.sum().backward()
    near(policy.grad, padded([each["gradients"][side] for side in (0, 1) for each in expected]).tolist())


def test_values_and_gradients_of_vl_rlhf():
    policy, pairs = gold_pairs()
    expected = [case["segments"] for case in CASES]
    output = preference_loss("ddpo_segments", **vars(pairs), beta=0.1)
    near(output.losses.detach(), [each["loss"] for each in expected])
    assert pairs.changed is not None
    near(torch.stack([pairs.changed.policy_chosen_logps, pairs.changed.policy_rejected_logps], 1).detach(),
         [each["policy"] for each in expected])  # fmt: skip
    output.losses.sum().backward()
    slope = -0.1 * torch.sigmoid(-0.1 * output.stats["logits"])
    for row, case in enumerate(CASES):
        for side, (places, sign) in enumerate(((case["w_mod"], 1), (case["r_mod"], -1))):
            whole = torch.zeros(LENGTH, dtype=torch.float64)
            whole[places] = sign * slope[row]
            torch.testing.assert_close(policy.grad[row + side * len(CASES)], whole, rtol=0, atol=1e-12)


def test_gamma_1_is_dpo_and_means_of_nothing_are_nothing():
    _, pairs = gold_pairs()
    ddpo, dpo = preference_loss("ddpo", **vars(pairs), ddpo_gamma=1.0), preference_loss("sigmoid", **vars(pairs))
    torch.testing.assert_close(ddpo.losses, dpo.losses)
    means = Pairs(**{**vars(pairs), "logps": "sum"}).as_rule("mean")
    found = preference_loss("ddpo_segments", **vars(means)).losses
    assert found[3:5].tolist() == pytest.approx([math.log(2)] * 2) and torch.isfinite(found).all()


def changed_batch(model):
    """Two pairs: one in whose responses some tokens differ, one in which all do."""
    batch = batch_of(model)
    labels, rows = batch["labels"], (0, 2)
    first = int((labels[0] != -100).int().argmax())
    for name in ("labels", "input_ids"):
        batch[name][rows[1], first] = batch[name][rows[0], first]
    return ChangedCollator(lambda features: batch)([{}, {}])


@pytest.mark.parametrize("name", ["ddpo", "ddpo_segments", "sigmoid,ddpo"])
def test_speedups_change_neither_loss_nor_gradient(name, tmp_path):
    results = []
    for on in ((), (SHARED_PREFIX, RESPONSE_HEAD), (SHARED_PREFIX, RESPONSE_HEAD, PADDING_FREE)):
        trainer = preference_trainer(tmp_path, pref_loss=name)
        with torch.no_grad():
            trainer.ref_model.lm_head.weight.mul_(1.5)
        trainer.engine.use(Forward(on, always=True))
        result = trainer.loss_of(trainer.model, changed_batch(trainer.model), "train")
        result.loss.backward()
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        results.append((result.loss.detach(), torch.cat([g.flatten() for g in gradients])))
    for other in results[1:]:
        torch.testing.assert_close(other[0], results[0][0], rtol=1e-5, atol=1e-6)
        assert (other[1] - results[0][1]).norm() <= 1e-4 * results[0][1].norm()


def test_what_does_not_go_with_it():
    given = {"stage": "dpo", "pref_loss": "ddpo", "pref_loss_params": {"ddpo_gamma": 5}}
    assert parameters.problems(given) == []
    found = parameters.problems({**given, "precompute_ref_log_probs": True, "ld_alpha": 0.5})
    assert [line.partition(":")[0] for line in found] == ["precompute_ref_log_probs", "ld_alpha"]
    assert "reads the reference token by token" in found[0]


def test_a_run(train_many):
    run = train_many({"ddpo": {"pref_loss": "ddpo", "max_steps": 3, "num_train_epochs": None}})["ddpo"]
    assert run.returncode == 0, run.output[-3000:]
    losses = [value for (value,) in run.logged("loss")]
    assert losses[0] == pytest.approx(math.log(2), rel=1e-4) and losses[-1] < losses[0]
    assert len(losses) == 3 and all(0 < value <= 1 for (value,) in run.logged("ddpo_changed"))
