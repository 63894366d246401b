# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""In a run: rescored log-probabilities are those of generation, an unmoved policy is its reference, ratios are 1."""

from __future__ import annotations

import json

import pytest

from conftest import base_recipe, run_recipe
from training.policies import LORA, policy_recipe, write_policy

# A reward that comes with a look at what the trainer computes: maxima over the tokens of each rollout and update.
SPYING = """\
import json
import resonance.training.credit as credit, resonance.training.policy as policy

found = {"rescored": [], "reference": [], "ratio": [], "tokens": 0}

def letters(completions, **columns):
    return [sum(map(str.isalpha, text)) / (len(text) + 1) for text in completions]

def write():
    with open("spied.json", "w") as file:
        json.dump(found, file)

assign, loss = credit.Credit.assign, policy.policy_loss

def spied_assign(self, batches):
    given, reference = [], []
    for batch in batches:
        for row, sample in enumerate(batch.samples):
            length = len(sample.completion.logps)
            old, ref = (batch.tensors[name][row, :length].tolist() for name in ("old_logps", "ref_logps"))
            given += [abs(a - b) for a, b in zip(old, sample.completion.logps)]
            reference += [abs(a - b) for a, b in zip(old, ref)]
    found["rescored"].append(max(given))
    found["reference"].append(max(reference))
    found["tokens"] += len(given)
    write()
    return assign(self, batches)

def spied_loss(name, logps, old, advantages, mask, **params):
    found["ratio"].append(float(((logps - old).exp() - 1)[mask].abs().max()))
    write()
    return loss(name, logps, old, advantages, mask, **params)

credit.Credit.assign, policy.policy_loss = spied_assign, spied_loss
"""
WAYS = {
    "lora": LORA,
    "full": {},
    "plain": {"pref_speedups": "off"},
    "dropout": {**LORA, "lora_dropout": 0.1},
    "one model as reference": {"ref_model": "model"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


@pytest.mark.parametrize(
    "way", ["lora", *(pytest.param(name, marks=pytest.mark.slow) for name in WAYS if name != "lora")]
)
def test_a_run_is_exact(way, data, run_script, tmp_path):
    (tmp_path / "spying.py").write_text(SPYING)
    changes = dict(WAYS[way])
    if "ref_model" in changes:
        changes["ref_model"] = str(data / changes["ref_model"])
    given = policy_recipe(data, "grpo", rewards=[{"function": "spying:letters"}], max_steps=5, **changes)
    run = run_recipe(run_script, base_recipe(tmp_path / "out", gradient_accumulation_steps=2, **given), tmp_path)
    assert run.returncode == 0, run.output[-4000:]
    found = json.loads((tmp_path / "spied.json").read_text())
    assert max(found["rescored"]) < 1e-5 and found["tokens"] > 100
    assert found["reference"][0] == 0.0 < found["reference"][1], "the policy has moved before the second rollout"
    # two micro-batches a step, four steps a rollout: the first step trains the policy that sampled
    assert found["ratio"][:2] == [0.0, 0.0] == found["ratio"][8:10] and min(found["ratio"][2:8]) > 0
    assert run.logged("step", "kl", "ratio")[0] == (1, 0.0, 1.0)
    assert ("Dropout is off in stage: ppo" in run.output) == ("lora_dropout" in changes)
