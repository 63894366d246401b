# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipes of `stage: ppo`: what is wrong with one is reported at once, and LlamaFactory's refusals do not hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from llamafactory.hparams import get_train_args

from conftest import MODEL
from resonance.arguments import critic_copy

EXACT = {"name": "exact", "answer": "answer"}
PPO = {"ppo_variant": "ppo"}
SEPARATE = {**PPO, "critic": "separate"}
ZERO3 = str(Path(__file__).parents[2] / "examples" / "deepspeed" / "ds_z3_config.json")
EVALUATED = {"do_eval": True, "eval_dataset": "digits"}


@pytest.fixture
def grpo(tmp_path):
    """Parse a GRPO recipe with changes; returns the five argument objects. None removes a key."""
    info = {"digits": {"file_name": "a.json"}, "pairs": {"file_name": "b.json", "ranking": True}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    base = {
        "model_name_or_path": str(MODEL),
        "stage": "ppo",
        "ppo_variant": "grpo",
        "rewards": [EXACT],
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": str(tmp_path),
        "dataset": "digits",
        "template": "qwen2_vl",
        "output_dir": str(tmp_path / "out"),
        "report_to": "none",
        "use_cpu": True,
    }

    def parse(**changes):
        return get_train_args({key: value for key, value in {**base, **changes}.items() if value is not None})

    parse.base = base
    return parse


def refused(parse, **changes):
    with pytest.raises(ValueError) as caught:
        parse(**changes)
    return str(caught.value)


WRONG = [
    ({"num_generations": 1}, "num_generations: 1: advantage: grpo compares completions of one prompt; give 2 or more"),
    ({"num_generations": 3}, "per_device_train_batch_size: 8 completions are no whole groups of num_generations: 3"),
    ({"rewards": [{"name": "exat"}]}, r"rewards\[0\] \(exat\): Unknown reward 'exat' \(nearest: exact"),
    ({"rewards": [{"function": "nowhere:f"}]}, r"rewards\[0\] \(nowhere:f\).*no module named 'nowhere'"),
    ({"rewards": None}, r"rewards: stage: ppo needs at least one, e.g. `rewards: \[\{name: exact"),
    ({"ppo_variant": "gropo"}, r"ppo_variant: 'gropo' is unknown \(nearest: grpo"),
    ({"loss_aggregation": "mean"}, r"loss_aggregation: 'mean' is unknown \(nearest: "),
    ({"kl_coef": -1}, "kl_coef: -1 is not allowed, it must be a finite number >= 0"),
    ({"kl_coef": 0.0, "ppo_target": 6.0}, "ppo_target: an adaptive kl_coef starts at kl_coef, which is 0"),
    ({"temperature": 0.0}, "temperature: 0.0 is not allowed, it must be a finite number > 0"),
    ({"top_p": 1.5}, "top_p: 1.5 is not allowed, it must be a number > 0 and at most 1"),
    ({"max_new_tokens": 0}, "max_new_tokens: 0 is not allowed, it must be a whole number of at least 1"),
    ({"max_length": 64}, "max_length: has no meaning in stage: ppo; the limit of a completion is max_new_tokens"),
    ({"repetition_penalty": 1.1}, "repetition_penalty: 1.1 is not allowed in stage: ppo"),
    ({"do_sample": False}, "do_sample: False is not allowed in stage: ppo"),
    ({"num_beams": 4}, "num_beams: 4 is not allowed in stage: ppo"),
    (
        {"reward_model": "saves/rm"},
        "reward_model: has no meaning in stage: ppo; completions are rewarded by `rewards`",
    ),
    ({"do_predict": True, **EVALUATED}, "do_predict: has no meaning in stage: ppo; an evaluation generates too"),
    ({"pissa_init": True, "finetuning_type": "lora"}, "pissa_init: has no meaning in stage: ppo; it changes the base"),
    ({"uni_dpo_tau_ref": 1.0}, "uni_dpo_tau_ref: has a meaning in stage: dpo only"),
    ({"vf_coef": 0.1}, "vf_coef, cliprange_value: advantage: grpo has no critic; remove the keys"),
    ({"critic": "separate"}, "critic: advantage: grpo has no critic; remove the key, or set `advantage: gae`"),
    ({"critic_learning_rate": 1e-4}, "critic_learning_rate: advantage: grpo has no critic; remove the key"),
    ({**PPO, "critic": "seperate"}, r"critic: 'seperate' is unknown \(nearest: separate"),
    (
        {**SEPARATE, "deepspeed": ZERO3},
        "does not run with deepspeed: ZeRO stage 3 .*; use stage 2 or lower, or set `cri",
    ),
    ({**SEPARATE, "fsdp": "full_shard"}, "does not run with fsdp: .*; remove fsdp, or set `critic: shared`"),
    (
        {**SEPARATE, "finetuning_type": "lora", "quantization_bit": 4},
        "does not run with quantization_bit: it .*; remove quantization_bit, or set `critic: shared`",
    ),
    ({"lam": 0.9}, "lam: neither advantage: grpo nor policy_loss: ppo_clip has it; remove the key"),
    ({"ppo_variant": "dapo", "overlong_buffer": 20, "max_new_tokens": 10}, "overlong_buffer: 20 is more than max_new"),
    ({"dataset": "pairs"}, "dataset: 'pairs' in .* has pairs; stage: ppo takes prompts, without `ranking`"),
    ({"streaming": True, "max_steps": 1}, "streaming: stage: ppo draws prompts in an order of its own"),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG)
def test_each_problem_stops_the_recipe(grpo, changes, expected):
    if changes.get("ppo_variant") == "dapo":
        changes = {**changes, "num_generations": 8}
    text = refused(grpo, **changes)
    assert text.startswith("the recipe has a problem:"), text
    assert re.search(expected, text), text


def test_all_problems_are_reported_at_once(grpo):
    text = refused(
        grpo,
        num_generations=1,
        kl_coef="x",
        kl_in="los",
        top_p=0,
        max_new_tokens=0,
        do_sample=False,
        reward_model="saves/rm",
        rewards=[{"name": "exat"}, {"function": "nowhere:f"}],
        dataset="digts",
        grop=1,
    )
    assert text.startswith("the recipe has 11 problems:"), text
    keys = "num_generations kl_coef kl_in top_p max_new_tokens do_sample reward_model rewards dataset grop".split()
    for key in keys:
        assert f"- {key}: " in text


@pytest.mark.parametrize(
    ("stage", "variant"), [("grpo", "grpo"), ("DAPO", "dapo"), ("reinforce++", "reinforce_plus_plus")]
)
def test_a_variant_in_the_place_of_its_stage(grpo, stage, variant):
    expected = f"the recipe has a problem:\n  - stage: '{stage}' is a variant of PPO; write two lines, `stage: ppo`"
    assert refused(grpo, stage=stage, ppo_variant=None, num_generations=4).startswith(expected)
    with pytest.raises(ValueError, match=f"write two lines, `stage: ppo` and `ppo_variant: {variant}`"):
        get_train_args(["--stage", stage, "--num_generations", "4"])
    assert grpo(ppo_variant=variant, num_generations=8)[3].policy_settings.preset.num_generations == 8


def test_flags_are_checked_as_recipes_are(grpo):
    flags = [word for key, value in grpo.base.items() if key != "rewards" for word in (f"--{key}", str(value))]
    rewards = ["--rewards", json.dumps([EXACT])]
    with pytest.raises(ValueError, match=r"2 problems:(.|\n)*max_new_tokens: 0(.|\n)*groups of num_generations: 3"):
        get_train_args([*flags, *rewards, "--num_generations", "3", "--max_new_tokens", "0"])
    generating = get_train_args([*flags, *rewards])[4]
    assert (generating.temperature, generating.top_p, generating.top_k) == (1.0, 1.0, 0)


def test_keys_of_the_stage_in_another_one(grpo):
    assert "kl_coef: has a meaning in stage: ppo only" in refused(
        grpo, stage="sft", kl_coef=0.1, ppo_variant=None, rewards=None
    )


# -- what LlamaFactory refuses of its own PPO -----------------------------------------------------------------------


def test_a_critic_of_its_own_where_it_runs(grpo):
    """The cures of the messages above, among others."""
    settings = grpo(**SEPARATE)[3].policy_settings
    assert settings.needs_critic and settings.values["critic"] == "separate"
    assert grpo(**PPO)[3].policy_settings.values["critic"] == "shared"
    assert critic_copy.problems({"deepspeed": ZERO3.replace("z3", "z2"), "fsdp": []}, {}) == []


def test_no_reward_model_is_needed(grpo):
    finetuning = grpo()[3]
    assert finetuning.stage == "ppo" and finetuning.reward_model is None


def test_full_training_beside_the_default_type_of_a_reward_model(grpo):
    assert grpo()[3].reward_model_type == "lora"
    assert grpo(reward_model_type="lora")[3].finetuning_type == "full"


def test_evaluation_alone(grpo, caplog):
    with caplog.at_level("WARNING", logger="llamafactory"):
        training = grpo(do_train=False, **EVALUATED)[2]
    assert training.do_eval and not training.do_train
    assert not [record for record in caplog.records if "ref_model" in record.getMessage()]


@pytest.mark.parametrize("name", ["swanlab", "mlflow", "tensorboard"])
def test_any_logger(grpo, name):
    assert grpo(report_to=[name])[2].report_to == [name]


def test_the_best_model_at_the_end_is_the_one_with_the_highest_reward(grpo):
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 5, "save_steps": 5}
    training = grpo(load_best_model_at_end=True, **EVALUATED, **steps)[2]
    assert training.load_best_model_at_end
    assert (training.metric_for_best_model, training.greater_is_better) == ("eval_reward", True)


@pytest.mark.parametrize("finetuning_type", ["full", "freeze", "lora"])
def test_a_run_is_resumed(grpo, tmp_path, finetuning_type):
    checkpoint = tmp_path / "out" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    for asked in ({}, {"resume_from_checkpoint": str(checkpoint)}):
        training = grpo(finetuning_type=finetuning_type, freeze_trainable_layers=1, **asked)[2]
        assert training.resume_from_checkpoint == str(checkpoint)


@pytest.mark.parametrize("finetuning_type", ["full", "freeze"])
def test_a_reward_model_gets_the_checkpoint_that_its_recipe_names(grpo, tmp_path, finetuning_type):
    checkpoint = tmp_path / "out" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    rm = {"stage": "rm", "ppo_variant": None, "rewards": None, "dataset": "pairs"}
    rm |= {"finetuning_type": finetuning_type, "freeze_trainable_layers": 1}
    for asked in (str(checkpoint), True):
        assert "complete checkpoint" in refused(grpo, **rm, resume_from_checkpoint=asked)
    (checkpoint / "trainer_state.json").write_text("{}")
    for asked in (str(checkpoint), True):
        assert grpo(**rm, resume_from_checkpoint=asked)[2].resume_from_checkpoint == str(checkpoint)
    assert grpo(**rm)[2].resume_from_checkpoint is None, "a recipe without the key starts anew, as without us"


# -- what rollouts are sampled from ---------------------------------------------------------------------------------


def warnings(caplog, parse, **changes):
    caplog.clear()
    with caplog.at_level("WARNING", logger="llamafactory.resonance"):
        parsed = parse(**changes)
    ours = [record for record in caplog.records if record.name.startswith("llamafactory.resonance")]
    return [record.getMessage() for record in ours], parsed[4]


def test_unset_sampling_is_the_distribution_that_is_trained(grpo, caplog):
    told, generating = warnings(caplog, grpo)
    assert (generating.temperature, generating.top_p, generating.top_k) == (1.0, 1.0, 0) and told == []
    told, generating = warnings(caplog, grpo, temperature=0.7, top_p=1.0, top_k=0)
    assert generating.temperature == 0.7 and told == []


def test_another_distribution_is_warned_of(grpo, caplog):
    (told,), generating = warnings(caplog, grpo, top_p=0.7, top_k=50)
    assert (generating.top_p, generating.top_k) == (0.7, 50)
    assert told.startswith("top_p: 0.7, top_k: 50: rollouts are sampled from another distribution than the one whose")
    (told,), _ = warnings(caplog, grpo, top_k=50)
    assert told.startswith("top_k: 50: rollouts are sampled")


def test_the_reference_is_warned_of_where_it_may_not_be_what_was_meant(grpo, caplog):
    adapter = {"finetuning_type": "lora", "adapter_name_or_path": "saves/sft"}
    (told,), _ = warnings(caplog, grpo, **adapter)
    assert told.startswith(
        "The reference is the base model without saves/sft, because training continues that adapter"
    )
    assert warnings(caplog, grpo, **adapter, create_new_adapter=True)[0] == []
    assert warnings(caplog, grpo, **adapter, kl_coef=0.0)[0] == []
    (told,), _ = warnings(caplog, grpo, kl_coef=0.0, kl_in="loss", ref_model="saves/sft")
    assert told == "kl_in, ref_model: no effect: kl_coef is 0, so there is no reference model."
