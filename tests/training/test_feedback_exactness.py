# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""KTO on the engine against LlamaFactory's own trainer: where that hands a model all its inputs, and where not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.hparams import FinetuningArguments, TrainingArguments
from llamafactory.train.kto.trainer import CustomKTOTrainer

from forward.tiny import FAMILIES, for_training, inner, make, pairs, picture
from resonance.forward.media import is_media
from resonance.rows.fields import TAG
from resonance.training.feedback import FeedbackTrainer
from resonance.training.finite import ROWS, RowNames

TAGS = [True, False, True]
PARAMS = {"pref_beta": 0.4, "kto_chosen_weight": 1.3, "kto_rejected_weight": 0.7}
PLAIN = {"pref_speedups": "off"}
# LlamaFactory hands these all that they need; the seed is one with which the KL divergence is above 0
SAME_INPUTS = {"qwen2": 0, "llava": 1, "llava_next": 0, "internvl": 0}


def trainer(folder: Any, model: Any, reference: Any, **recipe: Any) -> FeedbackTrainer:
    arguments = FinetuningArguments(stage="kto", finetuning_type="full", kto_engine="resonance", **PARAMS, **recipe)
    options = {"output_dir": str(folder), "report_to": "none", "remove_unused_columns": False, "use_cpu": True}
    made = FeedbackTrainer(
        model,
        reference,
        arguments,
        processor=None,
        args=TrainingArguments(**options),
        tokenizer=None,
        data_collator=lambda rows: rows,
        train_dataset=None,
        eval_dataset=None,
    )
    return made


def llamafactory(model: Any, reference: Any) -> CustomKTOTrainer:
    """Its trainer with what its forward, its loss and its metrics read, and nothing else."""
    made = CustomKTOTrainer.__new__(CustomKTOTrainer)
    made.beta, made.desirable_weight, made.undesirable_weight = PARAMS.values()
    made.calculate_KL, made.loss_type, made.ftx_gamma, made.ref_model = True, "kto", 0.0, reference
    made.accelerator = SimpleNamespace(
        gather_for_metrics=lambda part: part, unwrap_model=inner, device=torch.device("cpu")
    )
    return made


def batches(model: Any, video: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Three rows, as our collator makes them and as LlamaFactory's does: own and borrowed answers to one prompt."""
    shows = hasattr(inner(model).config, "vision_config")
    prompts = [[picture(model, seed, video)] if shows else [] for seed in range(len(TAGS))]
    batch = pairs(model, prompts)
    text = ("input_ids", "attention_mask", "labels")
    theirs = {name: batch[name][:3] for name in text} | {f"kl_{name}": batch[name][3:] for name in text}
    for name in batch.keys() - set(text):
        halves = batch[name].chunk(2, dim=1 if name == "position_ids" else 0)
        theirs[name] = halves[0]
        if not is_media(name):
            theirs[f"kl_{name}"] = halves[1]
    names = RowNames([{TAG: float(tag)} for tag in TAGS])
    ours = {**batch, TAG: torch.tensor(TAGS).float(), ROWS: names}
    return ours, theirs | {"kto_tags": torch.tensor(TAGS)}


def models(family: str) -> tuple[Any, Any]:
    """A policy, and a reference whose weights are a little different."""
    policy, reference = for_training(make(FAMILIES[family]()), "full"), make(FAMILIES[family]()).eval()
    generator = torch.Generator().manual_seed(SAME_INPUTS.get(family, 0))
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return policy, reference


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("speedups", ["off", "auto"])
@pytest.mark.parametrize("family", SAME_INPUTS)
def test_equal_to_llamafactory(family, speedups, tmp_path):
    policy, reference = models(family)
    ours, theirs = batches(policy)
    mine = trainer(tmp_path, policy, reference, pref_speedups=speedups)
    result = mine.loss_of(policy, ours, "train")
    result.loss.backward()
    our_gradients = gradients(policy)
    loss, metrics = llamafactory(policy, reference).get_batch_loss_metrics(policy, theirs)
    loss.backward()
    assert float(result.metrics["kl"]) == pytest.approx(metrics["kl"], rel=1e-5) and metrics["kl"] > 0
    assert float(result.loss) == pytest.approx(float(loss), rel=1e-6)
    means = mine.meters["train"].means()
    for side, count in (("chosen", 2), ("rejected", 1)):
        for name in ("rewards", "logps"):
            theirs_mean = metrics[f"{name}/{side}_sum"] / count
            assert means[f"{name}/{side}"] == pytest.approx(theirs_mean, rel=1e-5, abs=1e-5)
    assert means["rewards/margins"] == pytest.approx(means["rewards/chosen"] - means["rewards/rejected"])
    their_gradients = gradients(policy)
    largest = max(float(each.abs().max()) for each in their_gradients.values())
    for name, gradient in our_gradients.items():
        other = their_gradients.get(name, torch.zeros_like(gradient))
        assert float((gradient - other).abs().max()) <= 2e-5 * largest, name


@pytest.mark.parametrize(
    ("family", "video", "dropped"),
    [
        ("qwen2_vl", False, {"position_ids"}),  # M-RoPE: positions of images
        ("qwen2_5_vl", True, {"position_ids", "pixel_values_videos", "video_grid_thw"}),
        ("qwen3_vl", False, {"position_ids"}),
    ],
)
def test_what_llamafactory_drops_is_read(family, video, dropped, tmp_path):
    """Its numbers are not those of the model on the batch that its own collator made; ours are."""
    policy, reference = models(family)
    ours, theirs = batches(policy, video)
    seen: set[str] = set()
    hook = policy.register_forward_pre_hook(lambda _, __, kwargs: seen.update(kwargs), with_kwargs=True)
    with torch.no_grad():
        try:
            _, wrong, _ = llamafactory(policy, reference).forward(policy, theirs)
        except ValueError as error:  # later versions of Transformers ask for what is missing
            wrong, missing = None, str(error)
            assert "mm_token_type_ids" in missing
        hook.remove()
        assert not seen & dropped and dropped <= theirs.keys()
        inputs = {name: value for name, value in ours.items() if name not in ("labels", TAG, ROWS)}
        logits = policy(**inputs).logits.log_softmax(-1)
    labels = ours["labels"][:, 1:]
    each = logits[:, :-1].gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    plain = (each * (labels != -100)).sum(-1)
    if wrong is not None:
        assert float((wrong - plain[:3]).abs().min()) > 1e-2
    mine = trainer(tmp_path, policy, reference)
    result = mine.loss_of(policy, ours, "train")
    means = mine.meters["train"].means()
    assert means["logps/chosen"] == pytest.approx(float(plain[[0, 2]].mean()), rel=1e-5)
    assert means["logps/rejected"] == pytest.approx(float(plain[1]), rel=1e-5)
    assert 0 < float(result.loss) < 1.3


def test_the_tower_sees_each_image_once_for_both_answers(tmp_path):
    """LlamaFactory's calls it for the own and for the borrowed answers, of the policy and of the reference."""
    policy, reference = models("llava")
    ours, theirs = batches(policy)
    seen: list[int] = []
    tower = policy.model.vision_tower
    tower.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(kwargs.get("pixel_values", args[0] if args else None))),
        with_kwargs=True,
    )
    mine = trainer(tmp_path, policy, reference, pref_speedups="auto")
    mine.loss_of(policy, ours, "train")  # the first batch is computed both ways
    seen.clear()
    mine.loss_of(policy, ours, "train")
    assert seen == [len(TAGS)]
    seen.clear()
    llamafactory(policy, reference).get_batch_loss_metrics(policy, theirs)
    assert seen == [len(TAGS)] * 2


@pytest.mark.parametrize("tag", [1.0, 0.0], ids=["good alone", "bad alone"])
def test_rows_of_one_side_and_repeated_rows(tag, tmp_path):
    """Of a batch of three whose last row only fills it up, two rows count, in the KL divergence as in all else."""
    policy, reference = models("qwen2")
    ours, _ = batches(policy)
    ours |= {TAG: torch.full((3,), tag), ROWS: RowNames([{TAG: tag}] * 3)}
    mine = trainer(tmp_path, policy, reference)
    whole = mine.loss_of(policy, ours, "eval")
    mine.meters["eval"].means()
    mine.counted = 2
    part = mine.loss_of(policy, ours, "eval")
    side, other = ("chosen", "rejected") if tag else ("rejected", "chosen")
    means = mine.meters["eval"].means()
    assert part.count == 2 and part.loss.isfinite() and float(part.metrics["kl"]) != float(whole.metrics["kl"])
    assert f"rewards/{side}" in means and f"rewards/{other}" not in means and "rewards/margins" not in means


def test_weights_and_the_chosen_answers_likelihood(tmp_path):
    """Weights multiply losses; `pref_ftx` adds the mean log-likelihood a token of good answers, over all rows."""
    policy, reference = models("qwen2")
    ours, _ = batches(policy)
    weights = torch.tensor([0.5, 2.0, 1.0])
    plain = trainer(tmp_path, policy, reference)
    losses = [float(plain.loss_of(policy, one_row(ours, row), "train").loss) for row in range(3)]
    kls = [float(plain.loss_of(policy, one_row(ours, row), "train").metrics["kl"]) for row in range(3)]
    weighted = trainer(tmp_path, policy, reference, sample_weights=True, pref_ftx=0.3)
    for row in range(3):
        batch = {**one_row(ours, row), "weight": weights[row : row + 1]}
        found = weighted.loss_of(policy, batch, "train")
        labels = batch["labels"][0, 1:] != -100
        logps = plain.engine.on_batch(policy, {k: v for k, v in batch.items() if k != "weight"})
        likelihood = float(logps.values[0].sum() / labels.sum()) * TAGS[row]
        assert float(found.loss) == pytest.approx(float(weights[row]) * (losses[row] - 0.3 * likelihood), rel=1e-5)
        assert float(found.metrics["kl"]) == pytest.approx(kls[row], rel=1e-5)
        assert float(weighted.loss_of(policy, batch, "eval").loss) == pytest.approx(losses[row] - 0.3 * likelihood)


def one_row(batch: dict[str, Any], row: int) -> dict[str, Any]:
    text = {name: batch[name][[row, row + 3]] for name in ("input_ids", "attention_mask", "labels")}
    return {**text, TAG: batch[TAG][row : row + 1], ROWS: RowNames(batch[ROWS].rows[row : row + 1])}
