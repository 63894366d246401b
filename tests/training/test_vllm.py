# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""GRPO on a real vLLM, on the CPU: prompts and log-probabilities are the trainer's after each refresh of weights."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from conftest import SCRIPTS
from training.policies import completions
from training.vllm_server import VllmProcess, environment, free_port

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
STEPS = 20
LORA = {"finetuning_type": "lora", "lora_rank": 8, "lora_alpha": 16, "freeze_vision_tower": True}
FULL = {"finetuning_type": "full"}


def digits(model, **changes):
    """Changes to `base_recipe`: GRPO on pictures of digits, in float32."""
    return {
        "model_name_or_path": str(model),
        "dataset_dir": str(CHECKOUT / "data"),
        "media_dir": str(CHECKOUT / "data"),
        "dataset": "digits_pref_prompts",
        "stage": "ppo",
        "ppo_variant": "grpo",
        "rewards": [{"name": "length", "max_length": 12}],
        "num_generations": 4,
        "per_device_train_batch_size": 16,
        "cutoff_len": 256,
        "max_new_tokens": 16,
        "learning_rate": 1e-3,
        "kl_coef": 0.05,
        "max_steps": STEPS,
        "num_train_epochs": None,
        "rollout_backend": "vllm",
        "rollout_logp_limit": 1e-5,
        **changes,
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([sys.executable, CHECKOUT / "scripts" / "make_tiny_model.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """One that takes adapters and whole models."""
    folder = tmp_path_factory.mktemp("vllm")
    found = VllmProcess(environment(folder), digits(model, **LORA), folder / "vllm.log")
    found.start()
    yield found
    found.kill()


def check(run, steps=STEPS):
    differences = [value for (value,) in run.logged("rollout/logp_diff_max")]
    assert len(differences) == steps and max(differences) < 1e-5, differences
    print(f"largest difference of a log-probability: {max(differences):.2g}")
    assert len(completions(run.output_dir)) == 16 * steps
    history = run.logged("time/generate")
    print(f"seconds to generate: first {history[0][0]:.2f}, median {sorted(history)[len(history) // 2][0]:.2f}")


def test_log_probabilities_are_the_trainers_after_each_adapter(train, recipe, model, server):
    check(train(recipe(**digits(model, rollout_url=server.url, **LORA)), timeout=1200))


def check_recipe(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    done = subprocess.run(
        [SCRIPTS / "resonance", "rollout-check", path], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    print(done.stdout)
    return done.returncode, done.stdout


def test_the_check_of_a_recipe_passes(recipe, model, server, tmp_path):
    code, output = check_recipe(recipe(**digits(model, rollout_url=server.url, **LORA)), tmp_path)
    assert code == 0 and "FAIL" not in output and "PASS  log-probabilities" in output


def test_log_probabilities_are_the_trainers_after_each_refresh(train, recipe, model, server):
    """From here on the server's base model is no longer the one of adapters."""
    check(train(recipe(**digits(model, rollout_url=server.url, **FULL)), timeout=1200))


def test_weights_of_another_run_are_noticed(recipe, model, server, tmp_path):
    """The base model is now the one that was trained above."""
    code, output = check_recipe(recipe(**digits(model, rollout_url=server.url, **LORA)), tmp_path)
    assert code == 1 and "FAIL  log-probabilities" in output
    assert "FAIL  settings: its base model was replaced by rollout-" in output


def test_a_run_goes_on_when_its_server_was_killed_and_started_again(train, recipe, model, server, tmp_path):
    """It comes back with the weights that it was started with."""
    changes = digits(model, rollout_url=server.url, max_steps=8, rollout_wait=400, **FULL)
    log = tmp_path / "out" / "trainer_log.jsonl"
    stop = threading.Event()

    def crash():
        while not stop.wait(0.2):
            if log.is_file() and len(log.read_text().splitlines()) >= 3:
                server.kill()
                server.start(wait=False)
                return

    thread = threading.Thread(target=crash)
    thread.start()
    try:
        run = train(recipe(**changes), timeout=1200)
    finally:
        stop.set()
        thread.join()
    check(run, steps=8)
    assert "is left out until it answers" in run.output
    assert "answers again, and has the weights of now" in run.output
    server.wait()


def test_a_run_without_its_server_stops_with_the_cause(train, recipe, model):
    changes = digits(model, rollout_url=f"http://127.0.0.1:{free_port()}", rollout_wait=3, **FULL)
    run = train(recipe(**changes), check=False, timeout=600)
    assert run.returncode
    assert "rollout_url: no completion for 3 s (rollout_wait)" in run.output and "Connection refused" in run.output
    assert f"VLLM_SERVER_DEV_MODE=1 vllm serve {model}" in run.output
