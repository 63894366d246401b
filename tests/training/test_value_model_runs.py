# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Runs with `critic: separate`: two ranks as one, resumed to the same bits, the policy's files without it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training.mixed import same_numbers
from training.policies import LORA, completions, policy_recipe, write_policy
from training.test_policy_checkpoints import EVALUATED, same
from training.test_policy_resume import numbers_but_times
from training.test_ranks import ROOT, TWO_RANKS

SEPARATE = {"critic": "separate", "rollout_batch_size": 2, "save_strategy": "steps", "save_steps": 3}
WAYS: dict[str, dict[str, Any]] = {"full": {}, "lora": LORA}
WEIGHTS = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}
FILE = "value_model.safetensors"
ZERO2 = {"deepspeed": str(ROOT / "examples" / "deepspeed" / "ds_z2_config.json"), "use_cpu": None}
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def one_rank(train_many, data):
    """Runs with accumulation in place of the second rank, each when it is first asked for."""
    known = {}

    def run(way):
        if way not in known:
            changes = {**SEPARATE, **WAYS[way], "gradient_accumulation_steps": 2}
            known[way] = train_many({"one": policy_recipe(data, "ppo", **changes)})["one"]
            assert known[way].returncode == 0, known[way].output[-4000:]
        return known[way]

    return run


@pytest.mark.parametrize(
    ("way", "engine"),
    [
        pytest.param(way, engine, marks=() if (way, engine) == ("lora", "ddp") else slow)
        for way, engine in product(WAYS, ("ddp", "z2"))
    ],
)
def test_two_ranks(way, engine, data, one_rank, recipe, train):
    changes = {**SEPARATE, **WAYS[way], **(ZERO2 if engine == "z2" else {})}
    two, one = train(recipe(**policy_recipe(data, "ppo", **changes)), **TWO_RANKS), one_rank(way)
    together, alone = completions(two.output_dir), completions(one.output_dir)
    assert [line["completion"] for line in together] == [line["completion"] for line in alone]
    same_numbers(two, one, but=("time/",))
    ours, theirs = load_file(two.output_dir / FILE), load_file(one.output_dir / FILE)
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    if engine == "z2":
        resumed(way, "z2", two, data, recipe, train)


@pytest.mark.parametrize("way", ["lora", pytest.param("full", marks=slow)])
def test_resumed(way, data, one_rank, recipe, train):
    whole = one_rank(way)
    resumed(way, "one", whole, data, recipe, train)
    assert not [name for name in load_file(whole.output_dir / WEIGHTS[way]) if "value_" in name]
    assert not (whole.output_dir / "value_head.safetensors").exists()
    own = load_file(whole.output_dir / FILE)
    assert bool(own["head.weight"].any()) and any("body" in name for name in own)
    before = load_file(whole.output_dir / "checkpoint-3" / FILE)
    assert sum(not torch.equal(own[name], before[name]) for name in own) > len(own) / 2, "its body learns"


def resumed(way, engine, whole, data, recipe, train):
    """Go on from a checkpoint in the middle of a rollout, in a folder of its own."""
    changes = {**SEPARATE, **WAYS[way], **({"gradient_accumulation_steps": 2} if engine == "one" else ZERO2)}
    changes["resume_from_checkpoint"] = str(whole.output_dir / "checkpoint-3")
    changes["output_dir"] = str(whole.output_dir) + "-resumed"
    again = train(recipe(**policy_recipe(data, "ppo", **changes)), **(TWO_RANKS if engine == "z2" else {}))
    assert numbers_but_times(again) == numbers_but_times(whole)
    assert all(same(again.output_dir / name, whole.output_dir / name) for name in (WEIGHTS[way], FILE))


@slow
def test_the_best_model_is_kept_with_its_critic_and_goes_on(data, recipe, train):
    changes = {**SEPARATE, **EVALUATED, **LORA}
    run = train(recipe(**policy_recipe(data, "ppo", **changes)))
    best = Path(run.state["best_model_checkpoint"])
    assert best.name == "checkpoint-2"
    for name in (WEIGHTS["lora"], FILE):
        assert same(run.output_dir / name, best / name) and not same(
            best / name, run.output_dir / "checkpoint-4" / name
        )
    changes = {**SEPARATE, **LORA, "max_steps": 1, "adapter_name_or_path": str(run.output_dir)}
    for anew in (False, True):
        changes |= {"create_new_adapter": anew, "output_dir": f"{run.output_dir}-{anew}"}
        on = train(recipe(**policy_recipe(data, "ppo", **changes)))
        continued = f"The critic starts with the value model of {run.output_dir / FILE}" in on.output
        assert continued != anew
        assert ("The critic starts as a copy of the policy, because the adapters are new." in on.output) == anew


@slow
def test_it_learns_other_values_than_a_shared_critic(data, one_rank, recipe, train):
    own = one_rank("full")
    changes = {**SEPARATE, "critic": "shared", "gradient_accumulation_steps": 2}
    shared = train(recipe(**policy_recipe(data, "ppo", **changes)))
    ours, theirs = own.logged("step", "value_loss"), shared.logged("step", "value_loss")
    assert ours[0] == theirs[0], "both expect nothing of the first rollout"
    assert all(mine != other for mine, other in zip(ours[1:], theirs[1:], strict=True))
    changes |= {"critic": "separate", "resume_from_checkpoint": str(shared.output_dir / "checkpoint-3")}

    def refused(**more):
        anew = recipe(**policy_recipe(data, "ppo", **changes), **more, output_dir=f"{shared.output_dir}-2")
        return train(anew, check=False).output

    assert "critic: 'shared', now 'separate'" in refused()
    assert f"{FILE} is missing: the checkpoint was saved with another `critic`" in refused(allow_changed_recipe=True)
