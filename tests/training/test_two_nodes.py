# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two nodes, each started by LlamaFactory's own launcher, and two Ray workers: the numbers of one process, and ends.

The nodes are on this machine, and meet as two machines would: two torchruns, one rank each.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import SCRIPTS, Run, base_recipe, run_recipe
from training.mixed import same_numbers
from training.policies import completions, policy_recipe, write_policy
from training.test_ranks import CPU_RANKS, RECIPE

pytestmark = pytest.mark.slow
TIMEOUT = 600  # a rank that waits for another would wait for half an hour
# Which rank ends how at its second batch of completions is in the environment.
ENDING = """\
import os, signal

calls = []

def letters(completions, **columns):
    calls.append(1)
    if os.environ.get("ENDS") and os.environ["RANK"] == "1" and len(calls) == 2:
        if os.environ["ENDS"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyError("answer")
    return [sum(map(str.isalpha, text)) / (len(text) + 1) for text in completions]
"""
REWARDS = {"rewards": [{"function": "ending:letters"}]}
VARIANTS = ("grpo", "ppo", "uni_dpo")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


def changes_of(name, data, **more):
    """Changes to the base recipe."""
    return {**RECIPE, **more} if name == "uni_dpo" else policy_recipe(data, name, rollout_batch_size=2, **more)


@pytest.fixture(scope="module")
def alone(run_script, tmp_path_factory, data):
    """One process with accumulation in place of the second rank; each when it is first asked for."""
    known = {}

    def run(name, **more):
        key = name, *more
        if key not in known:
            folder = tmp_path_factory.mktemp(name)
            (folder / "ending.py").write_text(ENDING)
            changes = changes_of(name, data, gradient_accumulation_steps=2, **more)
            known[key] = run_recipe(run_script, base_recipe(folder / "out", **changes), folder)
            assert known[key].returncode == 0, known[key].output[-4000:]
        return known[key]

    return run


@pytest.fixture
def start(cli_env, tmp_path):
    """Starts `llamafactory-cli train` in a folder with the reward, and waits for all that were started."""
    (tmp_path / "ending.py").write_text(ENDING)
    started = []

    def begin(recipe, **env):
        path = tmp_path / f"recipe{len(started)}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        log = (tmp_path / f"output{len(started)}.log").open("w+")
        env = cli_env | {"PYTHONPATH": os.pathsep.join([CPU_RANKS, str(tmp_path)]), **env}
        command = [str(SCRIPTS / "llamafactory-cli"), "train", str(path)]
        process = subprocess.Popen(
            command, env=env, cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)

        def end():
            code = process.wait(TIMEOUT)
            log.seek(0)
            return Run(code, log.read(), Path(recipe["output_dir"]))

        return end

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def two_nodes(start, *recipes, **env):
    """What the two nodes came to; they meet at a port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    env |= {"FORCE_TORCHRUN": "1", "NNODES": "2", "NPROC_PER_NODE": "1", **place}
    ends = [start(recipe, NODE_RANK=str(rank), **env) for rank, recipe in enumerate(recipes)]
    return [end() for end in ends]


def two_workers(start, recipe, **env):
    """What a run with two workers of a local Ray came to."""
    import ray

    # LlamaFactory finds the first node by itself only with `ray[default]`
    keys = {"ray_num_workers": 2, "master_addr": ray.util.get_node_ip_address()}
    keys["ray_init_kwargs"] = {"num_cpus": 20, "include_dashboard": False}
    env |= {"USE_RAY": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return start({**recipe, **keys}, **env)()


def compare(run, one):
    """Losses step by step and weights to 1e-5, and the same completions where there are such."""
    assert run.returncode == 0, run.output[-4000:]
    same_numbers(run, one, but=("time/", "rollout/logp_diff", "train_loss"))
    losses = [[line["loss"] for line in each.state["log_history"] if "loss" in line] for each in (run, one)]
    assert len(losses[1]) == 8 and losses[0] == pytest.approx(losses[1], rel=1e-5, abs=1e-7)
    ours, theirs = (load_file(each.output_dir / "model.safetensors") for each in (run, one))
    gap = torch.stack([(ours[name] - theirs[name]).norm() for name in theirs]).norm()
    assert gap < 1e-5 * torch.stack([tensor.norm() for tensor in theirs.values()]).norm()
    if (one.output_dir / "completions.jsonl").is_file():
        texts = [[line["completion"] for line in completions(each.output_dir)] for each in (run, one)]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("name", VARIANTS)
def test_two_nodes_are_one_process_with_accumulation(name, start, alone, data, tmp_path):
    recipe = base_recipe(tmp_path / "out", **changes_of(name, data))
    first, second = two_nodes(start, recipe, recipe)
    assert second.returncode == 0, second.output[-4000:]
    compare(first, alone(name))
    lines = (tmp_path / "out" / "trainer_log.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["current_steps"] for line in lines}) + 1, (
        "written once; the last sums up"
    )


@pytest.mark.skipif(find_spec("ray") is None, reason="pip install ray")
@pytest.mark.parametrize("name", ["grpo", "uni_dpo"])
def test_two_ray_workers_are_one_process_with_accumulation(name, start, alone, data, tmp_path):
    compare(two_workers(start, base_recipe(tmp_path / "out", **changes_of(name, data))), alone(name))


def test_a_killed_node_is_explained_and_nodes_with_disks_of_their_own_go_on(start, alone, data, tmp_path):
    more = {"save_strategy": "steps", "save_steps": 3, "save_on_each_node": True, "ddp_timeout": 60, **REWARDS}
    recipes = [base_recipe(tmp_path / f"disk{node}", **changes_of("grpo", data, **more)) for node in (0, 1)]
    first, second = two_nodes(start, *recipes, ENDS="killed")
    assert first.returncode == second.returncode == 1
    for run in (first, second):
        assert run.output.rstrip().endswith(
            f"The same command goes on from {run.output_dir / 'checkpoint-3'}, the newest complete checkpoint."
        )
    assert "This rank could not reach another one" in first.output and "exitcode -9 is SIGKILL" in second.output
    first, second = two_nodes(start, *recipes)
    assert second.returncode == 0, second.output[-4000:]
    compare(first, alone("grpo", **REWARDS))


def test_a_reward_that_fails_on_one_node_ends_both_with_the_cause(start, data, tmp_path):
    recipe = base_recipe(tmp_path / "out", **changes_of("grpo", data, **REWARDS))
    first, second = two_nodes(start, recipe, recipe, ENDS="raised")
    cause = "ValueError: rewards[0] (ending:letters) raised KeyError: 'answer'"
    assert first.output.rstrip().endswith(f"ValueError: Rank 1 stopped, and all others with it. {cause}")
    assert second.output.rstrip().endswith(f"Rank 1 was stopped by:\n{cause}")


@pytest.mark.skipif(find_spec("ray") is None, reason="pip install ray")
def test_a_killed_ray_worker_ends_the_run_with_the_cause(start, data, tmp_path):
    recipe = base_recipe(tmp_path / "out", **changes_of("grpo", data, **REWARDS))
    run = two_workers(start, recipe, ENDS="killed")
    assert run.returncode == 1
    *report, last = run.output.rstrip().splitlines()
    assert "died" in "".join(report[-12:]) or "gloo" in "".join(report[-12:])
    assert last.endswith(f"{tmp_path / 'out'} has no complete checkpoint: the same command starts anew.")
