# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Runs whose completions come from a server with vLLM's routes, which answers with the weights it was given."""

from __future__ import annotations

import json

import pytest
import yaml

from conftest import base_recipe
from rollout.fake_vllm import FakeVllm
from training.policies import LORA, completions, policy_recipe, write_policy
from training.served import ModelAnswers
from training.test_ranks import ROOT, TWO_RANKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def fake(folder):
    found = FakeVllm(ModelAnswers(folder / "model"))
    yield found
    found.kill()


def served(folder, fake, **changes):
    """A rollout is good for one optimizer step."""
    steps = {"ppo_buffer_size": 1, "ppo_epochs": 1, "max_steps": 4, "learning_rate": 1e-2}
    server = {"rollout_backend": "vllm", "rollout_url": fake.url, "rollout_logp_limit": 1e-5, "rollout_wait": 3}
    return policy_recipe(folder, **{**steps, **server, "image_max_pixels": 10000, **changes})


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_run_trains_on_answers_of_each_version_of_its_weights(train, recipe, folder, fake, kind):
    changes = LORA if kind == "lora" else {"do_eval": True, "eval_dataset": "heldout"}
    run = train(recipe(**served(folder, fake, **changes)))
    differences = [value for (value,) in run.logged("rollout/logp_diff_max")]
    assert len(differences) == 4 and max(differences) < 1e-5
    assert len(completions(run.output_dir)) == 16
    if kind == "lora":
        assert len(fake.called("/v1/load_lora_adapter")) == 4 and len(fake.adapters) == 1
    else:
        assert len(fake.called("/collective_rpc")) == 5
        assert "eval_reward" in json.loads((run.output_dir / "all_results.json").read_text())
    assert not (run.output_dir / "rollout_weights").exists()


def test_a_server_that_keeps_old_weights_is_noticed(train, recipe, folder, fake):
    fake.deaf = True
    run = train(recipe(**served(folder, fake)), check=False)
    assert run.returncode
    assert "rollout_logp_limit: the servers' log-probabilities differ from the trainer's" in run.output


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stage"), [("full", "z3"), ("lora", "z3"), ("full", "z2"), ("lora", None)])
def test_two_ranks_with_a_server_each_are_one_with_accumulation(train, train_many, recipe, folder, fake, kind, stage):
    changes = LORA if kind == "lora" else {}
    one = train_many({"one": served(folder, fake, gradient_accumulation_steps=2, **changes)})["one"]
    assert one.returncode == 0, one.output[-3000:]
    other = FakeVllm(ModelAnswers(folder / "model"))
    engine = {"deepspeed": str(ROOT / "examples" / "deepspeed" / f"ds_{stage}_config.json"), "use_cpu": None}
    before = len(fake.called("/v1/chat/completions"))
    try:
        urls = {"rollout_url": [fake.url, other.url], **(engine if stage else {})}
        two = train(recipe(**served(folder, fake, **changes, **urls)), **TWO_RANKS)
        asked = [len(fake.called("/v1/chat/completions")) - before, len(other.called("/v1/chat/completions"))]
    finally:
        other.kill()
    assert asked[0] == asked[1] > 0
    assert [line["completion"] for line in completions(two.output_dir)] == [
        line["completion"] for line in completions(one.output_dir)
    ]
    assert max(value for (value,) in two.logged("rollout/logp_diff_max")) < 1e-5


def checked(run_script, folder, fake, cwd, *words):
    recipe = base_recipe(cwd / "out", **served(folder, fake, **LORA))
    (cwd / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run_script("resonance", "rollout-check", cwd / "recipe.yaml", *words, cwd=cwd, fork=False)


@pytest.mark.slow
def test_rollout_check_of_the_right_server(run_script, folder, fake, tmp_path):
    code, output = checked(run_script, folder, fake, tmp_path)
    found = [line.split(":")[0] for line in output.splitlines() if line.startswith(("PASS", "FAIL"))]
    assert found == [f"PASS  {name}" for name in ("server", "settings", "weights", "prompts", "log-probabilities")]
    assert code == 0 and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_rollout_check_of_the_wrong_server(run_script, folder, fake, tmp_path):
    fake.deaf, fake.rank, fake.logprobs_mode = True, 2, "processed_logprobs"
    code, output = checked(run_script, folder, fake, tmp_path)
    assert code == 1
    for line in (
        "FAIL  settings: --logprobs-mode is processed_logprobs, the recipe needs raw_logprobs",
        "FAIL  settings: --max-lora-rank is 2, lora_rank is 4",
        "FAIL  weights: rollout_url:",
        "LoRA rank 4 is greater than max_lora_rank 2.",
        "VLLM_SERVER_DEV_MODE=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve",
    ):
        assert line in output


@pytest.mark.slow
def test_a_run_that_generates_ahead_goes_on_to_the_same_numbers(train, train_many, recipe, folder, fake):
    ahead = {"rollout_ahead": 1, "rollout_correction": "token-truncate", "max_steps": 6, "save_strategy": "steps"}
    changes = served(folder, fake, **LORA, **ahead, save_steps=3)
    whole = train_many({"whole": changes})["whole"]
    assert whole.returncode == 0, whole.output[-3000:]
    differences = [value for (value,) in whole.logged("rollout/logp_diff")]
    assert differences[0] < 1e-5 < min(differences[1:]), "all but the first are of the weights before"
    again = train(recipe(**changes, resume_from_checkpoint=str(whole.output_dir / "checkpoint-3")))
    names = ("loss", "reward", "rollout/logp_diff", "rollout/ess")
    assert again.logged(*names) == whole.logged(*names)
    assert completions(again.output_dir) == completions(whole.output_dir)[12:]
