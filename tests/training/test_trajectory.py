# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whole runs through `llamafactory-cli train` give the numbers of the original implementations, step by step.

`golden/trajectory/expected.json` was recorded from the Uni-DPO authors' code on its own LlamaFactory and Transformers
versions; the tiny model and the 32 pairs are beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resonance.forward.names import SPEEDUPS
from training.mixed import on_off

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = {run["name"]: run for run in json.loads((GOLDEN / "trajectory" / "expected.json").read_text())}
# our name (LlamaFactory's) -> the recorded one
NAMES = {
    "logps/chosen": "policy_logps/chosen",
    "logps/rejected": "policy_logps/rejected",
    "rewards/chosen": "rewards/chosen",
    "rewards/rejected": "rewards/rejected",
    "rewards/margins": "rewards/margins",
    "rewards/accuracies": "rewards/accuracies",
    "w_qual": "w_qual",
    "w_perf": "w_perf",
    "pi_logratios": "pi_logratios",
    "ref_logratios": "ref_logratios",
    "logits": "logits",
    "nll_coeffi": "nll_coeffi",
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_trajectory(name, recipe, train):
    recorded = EXPECTED[name]
    run = train(recipe(**recorded["recipe"]))
    assert on_off(run)[0] == set(SPEEDUPS), "on our trainer, with every speed-up"
    assert "is not used for some batches" not in run.output, "a batch holds what is no model input"
    expected = [step for step in recorded["steps"] if "loss" in step]
    found = [entry for entry in run.state["log_history"] if "loss" in entry]
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert round(ours["loss"], 4) == theirs["loss"]
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
        assert ours["learning_rate"] == pytest.approx(theirs["learning_rate"], rel=1e-12)
        compared = [key for key in NAMES if NAMES[key] in theirs and key in ours]
        assert {"logps/chosen", "logps/rejected", "rewards/chosen"} <= set(compared)
        for key in compared:  # differences of log-probs lose digits: absolute 1e-5 where the value is near zero
            assert ours[key] == pytest.approx(theirs[NAMES[key]], rel=1e-4, abs=1e-5), (key, ours["step"])
    if recorded["recipe"]["pref_loss"] == "uni_dpo":
        assert {"w_qual", "w_perf", "nll", "nll_coeffi", "logits"} <= set(found[0])
