# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Learning rates of the vision tower and the projector: whose weights move by which rate."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from llamafactory.hparams import FinetuningArguments, TrainingArguments
from llamafactory.train.trainer_utils import create_custom_optimizer
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerCallback

from conftest import MODEL
from forward.tiny import FAMILIES, make, pairs, picture
from resonance.training.critic import CriticTrainer
from resonance.training.rates import PART, RatesTrainer, check_model, part_of
from resonance.training.resume import ResumableTrainer
from training.policies import policy_recipe, write_policy
from training.test_ranks import ROOT, TWO_RANKS

torch.set_num_threads(1)

RATES = {"vision_lr": 0.25, "projector_lr": 0.5}
BASE = 0.125
# Beginnings of names below `model.`: of the tower, and of the projector.
PARTS = {
    "qwen2_vl": (("visual.patch_embed.", "visual.blocks."), "visual.merger."),
    "qwen2_5_vl": (("visual.patch_embed.", "visual.blocks."), "visual.merger."),
    "qwen3_vl": (
        ("visual.patch_embed.", "visual.pos_embed.", "visual.blocks.", "visual.deepstack_merger_list."),
        "visual.merger.",
    ),
    "llava": (("vision_tower.",), "multi_modal_projector."),
    "llava_next": (("vision_tower.",), "multi_modal_projector."),
    "internvl": (("vision_tower.",), "multi_modal_projector."),
    "gemma3": (("vision_tower.",), "multi_modal_projector."),
}


class LlamaFactorys(Trainer):
    """Transformers' Trainer with LlamaFactory's optimizers, as LlamaFactory's trainers are."""

    def __init__(self, finetuning_args: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.finetuning_args, self.model_accepts_loss_kwargs = finetuning_args, False

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        if self.optimizer is None:
            self.optimizer = create_custom_optimizer(self.model, self.args, self.finetuning_args)
        return super().create_optimizer(*args, **kwargs)


class Rated(RatesTrainer, ResumableTrainer, LlamaFactorys):
    pass


def lora(model: Any, **config: Any) -> Any:
    return get_peft_model(model, LoraConfig(r=2, task_type="CAUSAL_LM", **config))


def trainer_of(
    model: Any, folder: Any, finetuning: dict[str, Any], kind: Any = Rated, more: Any = (), **training: Any
) -> Any:
    options = {"report_to": "none", "use_cpu": True, "learning_rate": BASE, "per_device_train_batch_size": 1}
    options |= {"logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, "remove_unused_columns": False}
    args = TrainingArguments(output_dir=str(folder), **{**options, **training})
    recipe = {"stage": "sft", "finetuning_type": "full", **finetuning}
    rows = [batch_of(model, seed) for seed in range(4)]
    return kind(
        **dict(more),
        finetuning_args=FinetuningArguments(**recipe),
        model=model,
        args=args,
        train_dataset=rows,
        data_collator=lambda features: features[0],
    )


def batch_of(model: Any, seed: int) -> dict[str, torch.Tensor]:
    shown = picture(model, seed)
    return pairs(model, [[shown]], chosen=[4], rejected=[5])


def rates_by_name(model: Any, optimizer: Any) -> dict[str, tuple[float, float, str | None]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group.get("weight_decay", group.get("wd")), group.get(PART))
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("family", sorted(PARTS))
def test_a_weight_is_in_the_group_of_its_part(family, tmp_path):
    model = make(FAMILIES[family]())
    found = rates_by_name(model, trainer_of(model, tmp_path, RATES, weight_decay=0.1).create_optimizer())
    plain = rates_by_name(model, trainer_of(model, tmp_path, {}, weight_decay=0.1).create_optimizer())
    assert set(found) == set(plain) == {name for name, _ in model.named_parameters()}
    tower, projector = PARTS[family]
    for name, (rate, decay, part) in found.items():
        short = name.removeprefix("model.")
        expected = (RATES["vision_lr"], "vision") if short.startswith(tower) else (BASE, None)
        expected = (RATES["projector_lr"], "projector") if short.startswith(projector) else expected
        assert (rate, part) == expected, name
        assert decay == plain[name][1], name
    assert {part for _, _, part in found.values()} == {None, "vision", "projector"}
    assert {decay for _, decay, _ in found.values()} == {0.0, 0.1}


def test_one_rate_leaves_the_other_part_alone(tmp_path):
    model = make(FAMILIES["qwen2_vl"]())
    found = rates_by_name(model, trainer_of(model, tmp_path, {"vision_lr": 0.25}).create_optimizer())
    assert {rate for name, (rate, *_) in found.items() if "visual.blocks" in name} == {0.25}
    assert {rate for name, (rate, *_) in found.items() if "visual.merger" in name} == {BASE}


def test_projectors_inside_a_tower_are_projectors():
    assert part_of("model.vision_tower.merger.mlp.0.weight", "dots_ocr") == "projector_lr"
    assert part_of("model.vision_tower.blocks.0.weight", "dots_ocr") == "vision_lr"
    assert part_of("model.visual._fsdp_wrapped_module.merger.mlp.0.weight", "qwen2_vl") == "projector_lr"


def test_adapters_belong_to_the_part_that_they_are_in(tmp_path):
    model = lora(make(FAMILIES["qwen2_vl"]()), target_modules=["qkv", "q_proj"], modules_to_save=["visual.merger"])
    found = rates_by_name(model, trainer_of(model, tmp_path, RATES).create_optimizer())
    assert {(part, rate) for rate, _, part in found.values()} == {
        (None, BASE),
        ("vision", RATES["vision_lr"]),
        ("projector", RATES["projector_lr"]),
    }
    assert all("visual.blocks" in name and "lora_" in name for name, group in found.items() if group[2] == "vision")
    assert all("visual.merger.modules_to_save" in name for name, group in found.items() if group[2] == "projector")


class WithCritic(RatesTrainer, CriticTrainer, LlamaFactorys):
    pass


def test_a_value_model_has_the_rate_of_the_critic(tmp_path):
    """It is a copy of the policy, with a vision tower of its own."""
    model = make(FAMILIES["qwen2_vl"]())
    critic = {"critic": "separate", "critic_learning_rate": 0.75, "critic_folder": None}
    found = rates_by_name(model, trainer_of(model, tmp_path, RATES, WithCritic, critic).create_optimizer())
    parts = {name: (rate, part) for name, (rate, _, part) in found.items()}
    assert {parts[name] for name in parts if name.startswith("value_model.")} == {(0.75, "critic")}
    policy = {parts[name] for name in parts if not name.startswith("value_model.")}
    assert policy == {(BASE, None), (RATES["vision_lr"], "vision"), (RATES["projector_lr"], "projector")}
    assert set(parts) == {name for name, _ in model.named_parameters()}


class Steps(TrainerCallback):
    """Weights before each step and the gradients that it takes."""

    def __init__(self) -> None:
        self.seen: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.seen.append({name: (p.detach().clone(), p.grad.clone()) for name, p in named if p.grad is not None})


@pytest.mark.parametrize("way", ["full", "lora"])
def test_each_part_moves_by_its_own_rate_and_the_schedule_scales_all_alike(way, tmp_path):
    model = make(FAMILIES["qwen2_vl"]())
    if way == "lora":
        model = lora(model, target_modules=["qkv", "q_proj"], modules_to_save=["visual.merger"])
    sgd = {"optim": "sgd", "max_grad_norm": 0.0, "lr_scheduler_type": "linear", "max_steps": 2}
    trainer, steps = trainer_of(model, tmp_path, RATES, **sgd), Steps()
    trainer.add_callback(steps)
    rates = {name: rate for name, (rate, *_) in rates_by_name(model, trainer.create_optimizer()).items()}
    trainer.train()
    first, second = steps.seen
    after = dict(model.named_parameters())
    moved = set()
    for name, (weight, gradient) in first.items():
        assert torch.equal(second[name][0], weight.add(gradient, alpha=-rates[name])), name
        assert torch.equal(after[name], second[name][0].add(second[name][1], alpha=-rates[name] / 2)), name
        moved |= {rates[name]} if gradient.any() else set()
    assert moved == {BASE, *RATES.values()}
    lines = [line for line in trainer.state.log_history if "learning_rate" in line]
    logged = [tuple(line[f"learning_rate{part}"] for part in ("", "/vision", "/projector")) for line in lines]
    assert logged == [(BASE, 0.25, 0.5), (BASE / 2, 0.125, 0.25)]


def trained(folder: Any, finetuning: dict[str, Any], resume: str | None = None, **training: Any) -> Any:
    model = make(FAMILIES["qwen2_vl"]())
    options = {"weight_decay": 0.1, "max_steps": 4, "learning_rate": 1e-3, **training}
    trainer = trainer_of(model, folder, finetuning, **options)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return dict(trainer.model.named_parameters())


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(p, weights(other)[name]) for name, p in weights(one).items())


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor", "adagrad", "rmsprop"])
def test_equal_rates_train_as_none(optim, tmp_path):
    equal = {"vision_lr": 1e-3, "projector_lr": 1e-3}
    plain, rated = trained(tmp_path / "plain", {}, optim=optim), trained(tmp_path / "rated", equal, optim=optim)
    assert same(plain, rated)
    other = trained(tmp_path / "other", {**equal, "vision_lr": 1e-2}, optim=optim)
    assert not same(plain, other)
    ours = [{k: v for k, v in line.items() if "/" not in k} for line in rated.state.log_history if "loss" in line]
    assert ours == [line for line in plain.state.log_history if "loss" in line]


def test_a_resumed_run_goes_on_with_every_rate(tmp_path):
    recipe = {"vision_lr": 1e-4, "projector_lr": 3e-3}
    saved = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine"}
    whole = trained(tmp_path / "whole", recipe, **saved)
    resumed = trained(tmp_path / "resumed", recipe, str(tmp_path / "whole" / "checkpoint-2"), **saved)
    assert same(whole, resumed)
    rates = [
        [{k: v for k, v in line.items() if k.startswith("learning_rate")} for line in run.state.log_history]
        for run in (whole, resumed)
    ]
    assert rates[0] == rates[1] and len(rates[0][0]) == 3


@pytest.mark.parametrize(
    ("finetuning", "expected"),
    [
        ({"use_muon": True}, {0.25, 0.5, BASE}),
        # the rate of B is four times that of A in every part
        ({"loraplus_lr_ratio": 4.0, "finetuning_type": "lora"}, {0.25, 1.0, BASE, 4 * BASE, 2.0}),
    ],
)
def test_optimizers_of_llamafactory(finetuning, expected, tmp_path):
    model = make(FAMILIES["qwen2_vl"]())
    if "loraplus_lr_ratio" in finetuning:
        model = lora(model, target_modules=["qkv", "q_proj", "visual.merger.mlp.0"])
        expected = expected | {0.5}
    trainer = trainer_of(model, tmp_path, {**RATES, **finetuning}, max_steps=1)
    found = rates_by_name(model, trainer.create_optimizer())
    assert {rate for rate, *_ in found.values()} == expected
    if "loraplus_lr_ratio" in finetuning:
        assert all(
            rate == {None: BASE, "vision": 0.25, "projector": 0.5}[part] * (4 if "lora_B" in name else 1)
            for name, (rate, _, part) in found.items()
        )
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer.train()
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


class ElsewhereSGD(torch.optim.SGD):
    """As layer-wise optimizers, which keep one for each weight elsewhere, appear to the Trainer."""

    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__([torch.zeros(1)], lr=lr)


def test_an_optimizer_that_has_not_the_weights_is_refused(tmp_path):
    trainer = trainer_of(make(FAMILIES["qwen2_vl"]()), tmp_path, RATES)
    trainer.optimizer_cls_and_kwargs = ElsewhereSGD, {"lr": BASE}
    with pytest.raises(ValueError, match="vision_lr: ElsewhereSGD does not hold the weights"):
        trainer.create_optimizer()


@pytest.mark.parametrize(
    ("key", "config", "cure"),
    [
        ("projector_lr", {"target_modules": ["qkv", "q_proj"]}, "`additional_target: visual.merger`"),
        ("vision_lr", {"target_modules": ["q_proj"]}, "`freeze_vision_tower: false` and `lora_target: all`"),
    ],
)
def test_a_part_without_adapters_stops_the_run_before_a_step(key, config, cure, tmp_path):
    model = lora(make(FAMILIES["qwen2_vl"]()), **config)
    trainer = trainer_of(model, tmp_path, {key: 0.25, "finetuning_type": "lora"})
    with pytest.raises(ValueError, match=f"{key}: 0.25 has nothing to train") as caught:
        trainer.train()
    assert cure in str(caught.value) and trainer.state.global_step == 0


def test_a_frozen_part_stops_the_run_before_a_step(tmp_path):
    model = make(FAMILIES["llava"]())
    model.model.vision_tower.requires_grad_(False)
    with pytest.raises(ValueError, match="no weight of vision_tower is trained; set `freeze_vision_tower: false`"):
        trainer_of(model, tmp_path, RATES).create_optimizer()


def test_a_model_without_a_tower_is_refused_before_it_is_loaded(tmp_path):
    from llamafactory.hparams import ModelArguments

    FAMILIES["qwen2"]().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"vision_lr: .* is a qwen2 model, in which LlamaFactory knows no vision tower"
    ):
        check_model(ModelArguments(model_name_or_path=str(tmp_path)), ["vision_lr"])
    check_model(ModelArguments(model_name_or_path=str(MODEL)), ["vision_lr"])


# -- whole runs -------------------------------------------------------------------------------------------------------

CHANGED = {"vision_lr": 1e-5, "projector_lr": 5e-5, "learning_rate": 2e-4, "max_steps": 2, "num_train_epochs": None}
LOGGED = ("learning_rate", "learning_rate/vision", "learning_rate/projector")
FIRST = (2e-4, 1e-5, 5e-5)


@pytest.mark.parametrize("stage", ["sft", pytest.param("rm", marks=pytest.mark.slow)])
def test_a_stage_logs_its_rates(stage, recipe, train, with_sft_set):
    """LlamaFactory's trainer of answers with adapters; reward models go to our trainer."""
    adapters = {"finetuning_type": "lora", "lora_rank": 4, "additional_target": "visual.merger"}
    changes = {"dataset_dir": str(with_sft_set), "dataset": "sft", **adapters} if stage == "sft" else {}
    run = train(recipe(stage=stage, **changes, **CHANGED))
    assert run.logged(*LOGGED)[0] == pytest.approx(FIRST) and len(run.logged(*LOGGED)) == 2
    assert json.loads((run.output_dir / "resonance_run.json").read_text())["settings"]["vision_lr"] == 1e-5
    assert "1e-05 for" in run.output and "5e-05 for 6 weights of the projector, 0.0002 for all others" in run.output


@pytest.mark.slow
def test_a_policy_with_a_value_model_logs_all_rates(recipe, train, tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    critic = {"critic": "separate", "critic_learning_rate": 3e-4}
    run = train(recipe(**policy_recipe(write_policy(folder), "ppo", **CHANGED, **critic)))
    assert run.logged(*LOGGED, "learning_rate/critic")[0] == pytest.approx((*FIRST, 3e-4))


def test_zero_2_on_two_ranks_is_one_rank(recipe, train, tmp_path):
    changes = {**CHANGED, "stage": "dpo", "pref_speedups": "off", "per_device_train_batch_size": 2, "max_steps": 4}
    zero = {"deepspeed": str(ROOT / "examples" / "deepspeed" / "ds_z2_config.json"), "use_cpu": None}
    alone = train(recipe(**changes, gradient_accumulation_steps=2, output_dir=tmp_path / "alone"))
    together = train(recipe(**changes, **zero), **TWO_RANKS)
    for one, two in zip(alone.logged("loss", *LOGGED), together.logged("loss", *LOGGED), strict=True):
        assert two == pytest.approx(one, abs=1e-5)
