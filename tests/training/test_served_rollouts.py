# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Runs whose completions come from a server with vLLM's routes, which answers with the weights it was given."""

from __future__ import annotations

import json

import pytest

from rollout.fake_vllm import FakeVllm
from training.policies import LORA, completions, policy_recipe, write_policy
from training.served import ModelAnswers


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
