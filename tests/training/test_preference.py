# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the preference trainer hands to models and to losses, on one batch in this process."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from forward.tiny import pairs
from resonance.forward.call import Forward
from resonance.forward.result import sums
from training.one_batch import preference_trainer

torch.set_num_threads(1)


@pytest.fixture
def make_trainer(tmp_path):
    return partial(preference_trainer, tmp_path)


def batch_of(model):
    scores = {"score_chosen": torch.tensor([8.0, 7.0]), "score_rejected": torch.tensor([3.0, 6.0])}
    return pairs(model, [[], []], chosen=[4, 6], rejected=[5, 2]) | scores


def test_a_model_is_given_nothing_but_its_inputs(make_trainer):
    trainer, given = make_trainer(pref_loss="uni_dpo"), []
    for model in (trainer.model, trainer.ref_model):
        model.register_forward_pre_hook(lambda _, args, kwargs: given.append(set(kwargs)), with_kwargs=True)
    batch = batch_of(trainer.model) | {"ref_chosen_logps": torch.zeros(2), "ref_rejected_logps": torch.zeros(2)}
    trainer.loss_of(trainer.model, batch, "train")
    for name in ("ref_chosen_logps", "ref_rejected_logps"):
        del batch[name]
    trainer.loss_of(trainer.model, batch, "train")
    assert len(given) >= 3 and set.union(*given) <= {"input_ids", "attention_mask", "use_cache", "return_dict"}


@pytest.mark.parametrize(("loss", "means"), [("uni_dpo", True), ("sigmoid", False)])
def test_a_loss_is_given_means_a_token_or_sums(loss, means, make_trainer):
    trainer = make_trainer(pref_loss=loss)
    batch = batch_of(trainer.model)
    found = trainer.loss_of(trainer.model, batch, "train").metrics
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        plain = Forward.call(trainer.model, trainer.model, Forward(()).prepare(inputs, trainer.model))
    expected = (sums(plain) / (torch.tensor([4, 6, 5, 2]) if means else 1)).view(2, 2).mean(1)
    assert found["logps/chosen"].item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert found["logps/rejected"].item() == pytest.approx(expected[1].item(), rel=1e-5)
