# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The line that a run begins its log with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resonance.hooks import routes
from resonance.training.opening import opening


def recipe(**changes):
    base = {"pref_loss": "uni_dpo", "use_ref_model": True, "ref_model": None, "finetuning_type": "full"}
    return SimpleNamespace(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "cached", "reference"),
    [
        ({}, None, "the model as it was loaded"),
        ({"finetuning_type": "lora"}, None, "the model with its adapters off"),
        ({"ref_model": "saves/sft"}, None, "saves/sft"),
        ({}, "out/ref_log_probs", "log-probabilities in out/ref_log_probs"),
        ({"use_ref_model": False}, None, "none"),
    ],
)
def test_it_names_the_reference(changes, cached, reference):
    assert f"reference: {reference}; pairs: none." in opening(recipe(**changes), {}, True, cached, (None, None))


def test_it_names_loss_parameters_and_pairs():
    line = opening(recipe(pref_ftx=0.1), {"beta": 2.0}, False, None, ([1] * 32, {"a": [1], "b": [1, 2]}))
    assert line.startswith("pref_loss: uni_dpo (beta 2.0, pref_ftx 0.1) of log-probabilities of whole responses; ")
    assert line.endswith("pairs: 32 to train on, 1 + 2 to evaluate.")


def test_a_run_of_llamafactory_is_said_to_be_one():
    values = {"stage": "dpo", "pref_loss": "sigmoid", "finetuning_type": "lora"}
    assert routes.runs_stock_loss(values) and not routes.stock_warnings(values)
    assert "sigmoid runs on LlamaFactory's trainer" in routes.stock_opening(values)
    (noise,) = routes.stock_warnings({**values, "neftune_noise_alpha": 5.0})
    assert "computes the reference with noise" in noise
    assert not routes.stock_warnings({**values, "neftune_noise_alpha": 5.0, "pref_loss": "simpo"})
    assert not routes.runs_stock_loss({**values, "pref_engine": "resonance"})
    assert not routes.runs_stock_loss({"stage": "sft"})
