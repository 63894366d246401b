# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every loss of the table in the trainer, on one batch in this process; `test_losses_end_to_end` has whole runs."""

from __future__ import annotations

import json
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerState

from forward.tiny import pairs
from resonance.losses import LOSSES, get_loss
from resonance.rows.changed import ChangedCollator
from resonance.training.resume import MarginsCallback
from resonance.training.run import check_columns, check_ranks
from training.one_batch import preference_trainer

torch.set_num_threads(1)
LN2 = math.log(2)
# Policy and reference are the same model, so every log-ratio is 0; those whose loss is then a constant (beta 0.1).
FIRST_LOSS = {
    **dict.fromkeys(
        (
            "sigmoid_norm",
            "f_dpo_js",
            "f_dpo_alpha",
            "mm_dpo",
            "mm_dpo_released",
            "beta_dpo",
            "ddpo",
            "ddpo_segments",
            "chip_visual",
        ),
        LN2,
    ),
    "mdpo": 3 * LN2,
    "focalpo": 2**-0.05 * LN2,
    # of q = sigmoid(5) and sigmoid(1), as the scores say
    "rpo_bwd_kl": sum(p * math.log(2 * p) for x in (5, -5, 1, -1) for p in [1 / (1 + math.exp(-x))]) / 2,
    "rpo_fwd_kl": sum(0.5 * math.log(0.5 * (1 + math.exp(-x))) for x in (5, -5, 1, -1)) / 2,
    "rpo_sq": (25 + 1) / 2,
    "odpo": sum(math.log1p(math.exp(margin)) for margin in (0.5, 2.0)) / 2,
}


@pytest.fixture
def make_trainer(tmp_path):
    return partial(preference_trainer, tmp_path)


def batch_of(model):
    read = {"score_chosen": [8.0, 7.0], "score_rejected": [3.0, 6.0], "margin": [0.5, 2.0]}
    batch = pairs(model, [[], []], chosen=[4, 6], rejected=[5, 2])
    batch |= {name: torch.tensor(values) for name, values in read.items()}
    return ChangedCollator(lambda features: batch)([{}, {}])


def batch_for(name, model):
    """The same, with the chosen responses a second time for a loss that wants them beside corrupted images."""
    batch = batch_of(model)
    if get_loss(name).needs_corrupted:
        rows = ("input_ids", "attention_mask", "labels")
        batch |= {key: torch.cat([batch[key], batch[key][:2]]) for key in rows}
    return batch


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_makes_a_gradient(name, make_trainer):
    trainer = make_trainer(pref_loss=name)
    result = trainer.loss_of(trainer.model, batch_for(name, trainer.model), "train")
    result.loss.backward()
    assert math.isfinite(result.loss.item())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in trainer.model.parameters())
    if name in FIRST_LOSS:
        assert result.loss.item() == pytest.approx(FIRST_LOSS[name], rel=1e-5)


def test_wpo_is_given_how_likely_the_policy_finds_both_responses(make_trainer):
    trainer = make_trainer(pref_loss="wpo")
    batch = batch_of(trainer.model)
    found = trainer.loss_of(trainer.model, batch, "train").metrics["wpo_weight"]
    with torch.no_grad():
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    mask, p = labels != -100, logits.double().softmax(-1)
    beside = p.gather(2, labels.clamp(min=0)[..., None])[..., 0].log() - (p**2).sum(-1).log()
    chosen, rejected = ((beside * mask).sum(-1) / mask.sum(-1)).chunk(2)
    assert found.item() == pytest.approx((chosen + rejected).exp().clamp(max=1).mean().item(), rel=1e-5)


def test_rpo_is_sigmoid_with_pref_ftx(make_trainer):
    metrics = []
    for recipe in (
        {"pref_loss": "rpo", "pref_loss_params": {"rpo_alpha": 0.5}},
        {"pref_loss": "sigmoid", "pref_ftx": 0.5},
    ):
        trainer = make_trainer(**recipe)
        metrics.append(trainer.loss_of(trainer.model, batch_of(trainer.model), "train").loss.item())
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-6)


def test_margins_are_remembered_in_training_and_only_read_in_evaluation(make_trainer):
    trainer = make_trainer(pref_loss="beta_dpo")
    with torch.no_grad():
        trainer.ref_model.lm_head.weight.mul_(1.5)
    batch, running = batch_of(trainer.model), trainer.margins.running
    first = trainer.loss_of(trainer.model, batch, "train").metrics
    assert running.count == 1 and float(running.std) > 0
    assert first["beta_dpo_drawn"].item() == 0.5  # int(2 * 0.8) of two
    evaluated = trainer.loss_of(trainer.model, batch, "eval").metrics
    assert running.count == 1 and evaluated["beta_dpo_drawn"].item() == 1.0
    saved = json.loads(json.dumps(trainer.margins.state()))
    assert saved["attributes"] == {"mean": float(running.mean), "std": float(running.std), "count": 1}
    assert trainer.margins in trainer.callback_handler.callbacks


class TwoRanks:
    """An accelerator of the second rank; the first always has margins of 0 and 2."""

    process_index = 1

    def gather(self, values):
        return torch.cat((torch.tensor([0.0, 2.0]), values))


def test_margins_of_all_ranks_count_and_a_resumed_run_goes_on():
    callback = MarginsCallback(seed=3)
    found = callback.margins(torch.tensor([4.0, 6.0]), TwoRanks(), train=True)
    assert found.values.tolist() == [0, 2, 4, 6] and found.values[found.own].tolist() == [4, 6]
    assert float(found.mean) == pytest.approx(0.1 * 3) and float(found.std) == pytest.approx(0.1 * (20 / 3) ** 0.5)
    state = TrainerState(global_step=1, stateful_callbacks={"MarginsCallback": callback.state()})
    resumed = MarginsCallback(seed=3)
    resumed.on_train_begin(None, state, None)
    again = [each.margins(torch.tensor([1.0, 0.0]), TwoRanks(), train=True) for each in (callback, resumed)]
    assert float(again[0].mean) == float(again[1].mean) and torch.equal(again[0].noise, again[1].noise)


def test_a_loss_that_compares_pairs_needs_two():
    arguments = SimpleNamespace(per_device_train_batch_size=1, world_size=1, do_train=True)
    with pytest.raises(ValueError, match=r"beta_dpo compares .* here that is one pair.*_batch_size: 2 or more"):
        check_ranks(get_loss("beta_dpo"), arguments)
    with pytest.raises(ValueError, match=r"alpha_dpo,sft compares"):
        check_ranks(get_loss("alpha_dpo,sft"), arguments)
    for changed in ({"per_device_train_batch_size": 2}, {"world_size": 2}, {"do_train": False}):
        check_ranks(get_loss("beta_dpo"), SimpleNamespace(**(vars(arguments) | changed)))


def test_weights_multiply_losses_of_training_and_the_mean_is_over_pairs(make_trainer):
    losses = []
    for weights in ([1.0, 0.0], [0.0, 1.0], [3.0, 0.5]):
        trainer = make_trainer(pref_loss="rpo", sample_weights=True)
        batch = batch_of(trainer.model) | {"weight": torch.tensor(weights)}
        losses.append(trainer.loss_of(trainer.model, batch, "train"))
    first, second = losses[0].loss.item(), losses[1].loss.item()
    assert first != second
    assert losses[2].loss.item() == pytest.approx(3 * first + 0.5 * second, rel=1e-6)
    assert losses[2].metrics["weight"].item() == 1.75
    evaluated = trainer.loss_of(trainer.model, batch, "eval").loss.item()
    assert evaluated == pytest.approx(first + second, rel=1e-6)  # the mean of both, unweighted


def test_a_weighted_run_refuses_a_set_without_weights():
    train = SimpleNamespace(column_names=["input_ids", "margin"])
    with pytest.raises(ValueError, match="sample_weights needs weight, but the tokenised set has only input_ids, mar"):
        check_columns("sample_weights", ("weight",), train)
    check_columns("pref_loss: odpo", ("margin",), train, None)
