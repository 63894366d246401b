# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The tables are complete, their docstrings hold what a user needs, and presets fit the pieces they name."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import resonance.policy
from loaded import loaded
from resonance.policy import ADVANTAGES, AGGREGATIONS, KLS, POLICY_LOSSES, PRESETS, advantages, get_preset
from resonance.spec import param_problems

FOLDER = Path(resonance.policy.__file__).parent
TABLES = {"declare_advantage": ADVANTAGES, "declare_policy_loss": POLICY_LOSSES}
SPECS = {**ADVANTAGES, **POLICY_LOSSES}


@pytest.mark.parametrize("decorator", TABLES)
def test_every_declared_function_is_in_its_table(decorator):
    found = {
        node.name
        for path in FOLDER.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any(decorator in ast.unparse(d) for d in node.decorator_list)
    }
    assert set(TABLES[decorator]) == found


def test_the_names_are_those_of_the_field():
    assert set(ADVANTAGES) == set(
        "gae grpo dr_grpo rloo reinforce_plus_plus reinforce_plus_plus_baseline gdpo".split()
    )
    assert set(POLICY_LOSSES) == set("ppo_clip gspo gspo_token cispo sapo".split())
    assert set("k1 k2 k3 abs".split()) < set(KLS)
    assert set(PRESETS) == set(
        "ppo grpo dr_grpo rloo reinforce_plus_plus reinforce_plus_plus_baseline dapo gspo cispo sapo".split()
    )


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_help_holds_formula_paper_shapes_reference_and_every_parameter(spec):
    text = inspect.getdoc(spec.fn)
    assert "Formula" in text and "(B, T)" in text and "Raises:" in text and "Compared with: verl 0.9.1" in text
    assert f"Paper: {spec.paper}" in text and spec.paper.startswith("arXiv:")
    written, declared = text.split(f"Paper: {spec.paper}")
    for name, default in spec.params.items():
        assert any(line.strip().split(":")[0].split(", ").count(name) for line in written.splitlines()), name
        assert f"    {name}: " in declared
        assert isinstance(default, bool) or name in spec.ranges or name == "weights"
    assert param_problems(spec, spec.params) == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_pieces_that_exist_and_parameters_that_they_take(name):
    preset = get_preset(name)
    assert preset.aggregation in AGGREGATIONS and preset.kl in KLS and preset.kl_in in ("loss", "reward")
    assert param_problems(ADVANTAGES[preset.advantage], preset.advantage_params) == []
    assert param_problems(POLICY_LOSSES[preset.loss], preset.loss_params) == []
    assert bool(preset.critic) == (preset.advantage == "gae")
    assert preset.num_generations >= 1 and preset.ppo_epochs >= 1 and preset.kl_coef >= 0
    fields = set(vars(preset)) - {"paper", "sources"}
    assert set(preset.sources) <= fields | {*preset.advantage_params, *preset.loss_params, *preset.critic}
    with pytest.raises(AttributeError):
        preset.kl_coef = 1.0
    assert replace(preset, kl_coef=0.5).kl_coef == 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_without_groups_samples_one_completion_and_one_with_groups_more(name, rollout):
    preset = PRESETS[name]
    call = (torch.zeros(2, 3), torch.ones(2, 3))
    alone = {"group": torch.arange(2), "values": torch.zeros(2, 3)}
    if preset.num_generations == 1:
        advantages(preset.advantage, *call, **alone)
    else:
        with pytest.raises(ValueError, match="num_generations"):
            advantages(preset.advantage, *call, **alone)


def test_what_papers_set_apart():
    assert PRESETS["grpo"].kl_coef == 0.04 and PRESETS["grpo"].aggregation == "seq-mean-token-mean"
    assert PRESETS["dr_grpo"].aggregation == "seq-mean-token-sum-norm" and PRESETS["dr_grpo"].kl_coef == 0
    assert PRESETS["dapo"].loss_params == {"clip_low": 0.2, "clip_high": 0.28}
    assert (
        PRESETS["dapo"].dynamic_sampling and PRESETS["dapo"].mask_truncated and PRESETS["dapo"].num_generations == 16
    )
    assert PRESETS["gspo"].loss_params == {"clip_low": 3e-4, "clip_high": 4e-4}
    assert [name for name, preset in PRESETS.items() if preset.kl_in == "reward"] == [
        "ppo",
        "rloo",
        "reinforce_plus_plus",
    ]


def test_an_unknown_preset_gives_the_nearest():
    with pytest.raises(ValueError, match="Unknown ppo_variant 'drgrpo' .nearest: dr_grpo, grpo"):
        get_preset("drgrpo")


def test_advantages_of_ones_own(tmp_path, monkeypatch, rollout):
    (tmp_path / "my_advantages.py").write_text(
        "def centred(rollout, *, scale=1.0):\n"
        "    return rollout.over_tokens(scale * (rollout.scores - rollout.scores.mean())), None\n"
        "def bare(rollout):\n    return rollout.token_rewards\n"
        "def wrong(rollout):\n    return rollout.scores, None\n"
    )
    monkeypatch.chdir(tmp_path)
    call = (rollout["returns"], rollout["mask"])
    found, returns = advantages("my_advantages:centred", *call, scale=2.0)
    assert returns is None and found.shape == (16, 11) and not found[~rollout["mask"]].any()
    with pytest.raises(ValueError, match="returned Tensor; it must be .advantages, returns or None."):
        advantages("my_advantages:bare", *call)
    with pytest.raises(ValueError, match=r"returned wrong shapes: advantages must be .* got shape \(16,\)"):
        advantages("my_advantages:wrong", *call)


def test_the_room_loads_torch_and_none_of_the_frameworks():
    names = ("llamafactory", "trl", "transformers")
    assert loaded("import resonance.policy", *names, "torch") == ["torch"]
