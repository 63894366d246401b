# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Keys without effect are errors, at their defaults too."""

from __future__ import annotations

import pytest
from llamafactory.hparams import get_train_args, parser

from resonance.arguments.idle import does_nothing, given_without_effect
from resonance.arguments.recipe import check

DPO = {"stage": "dpo", "do_train": True}
OURS = {**DPO, "pref_loss": "uni_dpo"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {**DPO, "uni_dpo_tau_good": 3.0},
            "uni_dpo_tau_good: is a parameter of `pref_loss: uni_dpo`, and this",
        ),
        ({**DPO, "uni_dpo_tau_good": 2.5}, "no pref_loss, which means sigmoid"),
        ({**DPO, "pref_loss": "simpo", "uni_dpo_nll_lambda": 0.001}, "and pref_loss: simpo"),
        ({**DPO, "pref_loss": "bco_pair", "uni_dpo_detach_weights": False}, "and pref_loss: bco_pair"),
        ({**OURS, "simpo_gamma": 0.5}, "simpo_gamma: is a parameter of another loss, and pref_loss: uni_dpo"),
        ({**DPO, "pref_loss_params": {"a": 1}}, "pref_loss_params: LlamaFactory's trainer, which runs sigmoid here"),
        ({"stage": "sft", "pref_loss": "uni_dpo"}, "pref_loss: uni_dpo has a meaning in stage: dpo only, and this is"),
        ({"stage": "rm", "pref_loss": "my.module:loss"}, "this is stage: rm"),
        ({"stage": "rm", "uni_dpo_tau_good": 2.5}, "uni_dpo_tau_good: has a meaning in stage: dpo only"),
        ({**OURS, "do_predict": True}, "do_predict: stage: dpo generates nothing"),
        ({"stage": "dpo", "do_predict": True}, "do_predict: stage: dpo generates nothing"),
        ({**OURS, "packing": True}, "packing: has no meaning for pairs"),
        ({**OURS, "train_on_prompt": True}, "train_on_prompt: has no meaning for pairs"),
        ({**DPO, "pref_engine": "resonance", "pref_loss": "orpo", "pref_bco_weight": 0.3}, "needs a reference model"),
    ],
)
def test_what_nothing_reads_is_refused(given, line):
    with pytest.raises(ValueError) as caught:
        check(given, parser)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {**OURS, "uni_dpo_tau_good": 2.5, "pref_beta": 1.0, "dpo_label_smoothing": 0.0},
        {**DPO, "simpo_gamma": 0.5, "pref_loss": "sigmoid", "do_predict": True, "packing": False},  # stock
        {**DPO, "pref_loss": "simpo", "simpo_gamma": 0.5, "pref_engine": "resonance"},
        {"stage": "sft", "do_predict": True},
        {"stage": "rm", "pref_loss": "sigmoid"},
    ],
)
def test_what_has_an_effect_or_is_llamafactorys_is_left_alone(given):
    assert given_without_effect(given) == []


def test_flags_are_refused_too(tmp_path):
    flags = ["--stage", "dpo", "--do_train", "true", "--uni_dpo_tau_good", "2.5", "--output_dir", str(tmp_path)]
    flags += ["--model_name_or_path", "m", "--dataset", "d", "--use_cpu", "true", "--template", "qwen"]
    with pytest.raises(ValueError, match="uni_dpo_tau_good: is a parameter of"):
        get_train_args(flags)


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        ({"stage": "dpo"}, True),
        ({"stage": "rm", "do_train": False}, True),
        ({"stage": "dpo", "do_train": True}, False),
        ({"stage": "dpo", "eval_strategy": "steps"}, False),
        ({"stage": "dpo", "precompute_only": True}, False),
        ({"stage": "sft"}, False),
    ],
)
def test_a_recipe_that_asks_for_nothing(values, idle):
    assert bool(does_nothing(values)) is idle


def test_a_recipe_of_ours_that_asks_for_nothing_is_refused(recipe):
    with pytest.raises(ValueError, match="this recipe neither trains nor evaluates"):
        get_train_args(recipe(pref_loss="hinge", do_train=None))
