# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""mDPO in the trainer: one forward for three rows a pair, equal to three of its own, and a run."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from forward.tiny import END, START, VOCABULARY, collate, picture
from resonance.arguments import idle, parameters, preference
from resonance.forward.call import Forward
from resonance.forward.names import PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, VISION_ONCE
from resonance.rows.corrupt import Corrupter
from training.one_batch import preference_trainer

MDPO = {"stage": "dpo", "pref_loss": "mdpo"}
WEIGHTS = {"mdpo_delta": 0.2, "mdpo_image_weight": 0.7, "mdpo_anchor_weight": 0.4}


def batch_of(model, which):
    """Rows of two pairs: chosen, rejected, and chosen beside other pictures of the same sizes; or some of these."""
    generator = torch.Generator().manual_seed(0)
    real, other = [picture(model, seed) for seed in (0, 1)], [picture(model, seed) for seed in (4, 5)]
    starts = []
    for number, one in enumerate(real):
        text = torch.randint(20, VOCABULARY, (3 + 2 * number,), generator=generator)
        shown = [torch.tensor([START]), torch.full((one.tokens,), one.token), torch.tensor([END, 21])]
        starts.append(torch.cat([text, *shown]))
    ends = [torch.randint(20, VOCABULARY, (n,), generator=generator) for n in (5, 8, 7, 4)]
    rows = [torch.cat([starts[number % 2], end]) for number, end in enumerate(ends)]
    rows, media = [*rows, *rows[:2]], [*real, *real, *other]
    return collate(model, [rows[i] for i in which], [len(starts[i % 2]) for i in which], [media[i] for i in which])


def logps(model, batch):
    labels = batch["labels"][:, 1:]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        values = model(**inputs).logits[:, :-1].log_softmax(-1)
    return (values.gather(2, labels.clamp(min=0)[..., None])[..., 0] * (labels != -100)).sum(-1)


@pytest.fixture
def make_trainer(tmp_path):
    def make(**recipe):
        trainer = preference_trainer(tmp_path, "qwen2_vl", pref_loss="mdpo", pref_loss_params=WEIGHTS, **recipe)
        with torch.no_grad():
            trainer.ref_model.lm_head.weight.mul_(1.5)
        return trainer

    return make


def test_the_loss_is_that_of_three_forwards_of_each_model(make_trainer):
    trainer = make_trainer()
    result = trainer.loss_of(trainer.model, batch_of(trainer.model, range(6)), "train")
    ours, theirs = (
        [logps(model, batch_of(model, which)) for which in ((0, 1), (2, 3), (4, 5))]
        for model in (trainer.model, trainer.ref_model)
    )
    chosen, rejected, corrupted = (own - other for own, other in zip(ours, theirs, strict=True))
    expected = -logsigmoid(0.1 * (chosen - rejected)) - 0.7 * logsigmoid(0.1 * (chosen - corrupted))
    expected -= 0.4 * logsigmoid(0.1 * chosen - 0.2)
    found = {name: value.item() for name, value in result.metrics.items()}
    assert result.count == 2 and not torch.allclose(ours[0], ours[2])
    assert result.loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert found["logps/chosen"] == pytest.approx(ours[0].mean().item(), rel=1e-5)
    assert found["logps/rejected"] == pytest.approx(ours[1].mean().item(), rel=1e-5)
    assert found["mdpo_image_margins"] == pytest.approx(0.1 * (chosen - corrupted).mean().item(), rel=1e-4)


def test_speedups_change_neither_loss_nor_gradient(make_trainer):
    results, most = [], (VISION_ONCE, SHARED_PREFIX, RESPONSE_HEAD)
    for on in ((), most, (*most, PADDING_FREE)):
        trainer = make_trainer()
        trainer.engine.use(Forward(on, always=True))
        result = trainer.loss_of(trainer.model, batch_of(trainer.model, range(6)), "train")
        result.loss.backward()
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        results.append((result.loss.detach(), torch.cat([g.flatten() for g in gradients])))
    for other in results[1:]:
        torch.testing.assert_close(other[0], results[0][0], rtol=1e-5, atol=1e-6)
        assert (other[1] - results[0][1]).norm() <= 1e-4 * results[0][1].norm()


def test_the_collator_corrupts_as_the_recipe_asks(make_trainer):
    trainer = make_trainer(mdpo_image="noise")
    assert trainer.engine.batches.collate.corrupt == Corrupter("noise", trainer.args.seed)
    assert trainer.engine.batches.answers == 3


def test_what_does_not_go_with_it():
    assert parameters.problems({**MDPO, "mdpo_image": "blank", "pref_loss_params": WEIGHTS}) == []
    found = parameters.problems({**MDPO, "mdpo_image": "cut", "precompute_ref_log_probs": True, "ld_alpha": 0.5})
    assert found[0] == "mdpo_image: 'cut' is not one of crop, noise, diffusion, blank"
    assert [line.partition(":")[0] for line in found[1:]] == ["precompute_ref_log_probs", "ld_alpha"]
    assert "beside corrupted images too" in found[1]


@pytest.mark.parametrize("given", ["crop", "noise"])
def test_images_are_not_corrupted_for_another_loss(given):
    (found,) = idle.given_without_effect({"stage": "dpo", "pref_loss": "sigmoid", "mdpo_image": given})
    assert found == "mdpo_image: is a parameter of `pref_loss: mdpo` and `chip_visual`, and pref_loss: sigmoid"
    assert idle.given_without_effect({**MDPO, "mdpo_image": given}) == []
    assert idle.given_without_effect({"stage": "dpo", "pref_loss": "mdpo,sft", "mdpo_image": given}) == []
    assert preference.runs_on_resonance(MDPO)


def test_a_run_and_what_a_resume_goes_on_with(train_many):
    base = {"pref_loss": "mdpo", "max_steps": 6, "num_train_epochs": None, "save_strategy": "steps", "save_steps": 2}
    whole = train_many({"whole": base})["whole"]
    assert whole.returncode == 0, whole.output[-3000:]
    names = ("loss", "mdpo_dpo", "mdpo_image", "mdpo_anchor", "mdpo_image_accuracies", "grad_norm")
    lines = whole.logged(*names)
    assert lines[0][:4] == pytest.approx((3 * math.log(2), *[math.log(2)] * 3), rel=1e-4)
    assert lines[-1][0] < lines[0][0] and lines[-1][2] != pytest.approx(math.log(2), rel=1e-6)
    (speedups,) = [line for line in whole.output.splitlines() if "pref_speedups: on:" in line]
    assert "shared_prefix" in speedups and "off:" not in speedups
    cut = {**base, "resume_from_checkpoint": str(whole.output_dir / "checkpoint-2")}
    resumed = train_many({"resumed": cut})["resumed"]
    assert resumed.returncode == 0, resumed.output[-3000:]
    assert len(lines) == 6 and resumed.logged(*names) == lines
