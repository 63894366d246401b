# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which recipes are ours, what the keys become, and every wrong value at once."""

from __future__ import annotations

import math
import pickle

import pytest

from resonance.arguments import chat, feedback, parameters, policy, preference, rates, reward_model, tracking
from resonance.losses import LOSSES

FIXED = ("ipo", "orpo", "simpo", "sigmoid_norm", "odds_ratio", "sft")  # defined on means a token
UNI_DPO = {"stage": "dpo", "pref_loss": "uni_dpo", "pref_beta": 2.0}


@pytest.mark.parametrize(
    ("values", "ours"),
    [
        ({}, False),
        ({"stage": "sft", "pref_loss": "uni_dpo"}, False),
        ({"stage": "dpo"}, False),
        ({"stage": "dpo", "pref_loss": "simpo"}, False),
        ({"stage": "dpo", "pref_loss": "orpo"}, False),
        ({"stage": "dpo", "pref_loss": "sigmoid", "uni_dpo_tau_ref": 1.0}, False),
        ({"stage": "dpo", "pref_loss": "sigmoid", "pref_engine": "resonance"}, True),
        ({"stage": "dpo", "pref_loss": "sigmoid", "dpo_average_log_prob": False}, True),
        ({"stage": "dpo", "pref_loss": "hinge"}, True),
        ({"stage": "dpo", "pref_loss": "simpo", "do_eval": True, "do_train": True}, False),
        ({"stage": "dpo", "pref_loss": "simpo", "do_eval": True, "do_train": False}, True),
        ({"stage": "dpo", "pref_loss": "simpo", "eval_strategy": "steps"}, True),
        ({"stage": "rm", "do_eval": True}, False),
        ({"stage": "dpo", "pref_loss": "my.module:loss"}, True),
        (UNI_DPO, True),
    ],
)
def test_which_recipes_run_on_our_trainer(values, ours):
    assert preference.runs_on_resonance(values) is ours


def test_defaults_are_those_of_the_reference_implementation():
    given = parameters.loss_parameters({**preference.DEFAULTS, **UNI_DPO})
    assert given == {
        "beta": 2.0,
        "qual_eta": 0.7,
        "tau_ref": 2.0,
        "perf_gamma": 3.0,
        "nll_lambda": 0.001,
        "tau_good": 2.5,
        "detach_weights": False,
    }


def test_parameters_without_a_key_come_from_the_dict_in_yaml_or_json():
    base = {**preference.DEFAULTS, "stage": "dpo", "pref_loss": "discopop", "pref_beta": 0.2}
    for given in ({"discopop_tau": 0.1}, '{"discopop_tau": 0.1}'):
        assert parameters.loss_parameters({**base, "pref_loss_params": given})["discopop_tau"] == 0.1


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("asked", [None, True, False])
def test_mean_or_sum(name, asked):
    spec = LOSSES[name]
    expected = (spec.logps == "mean") if asked is None else asked
    if name in FIXED:  # defined on means; what LlamaFactory does whatever is asked
        expected = True
    assert parameters.uses_means({"pref_loss": name, "dpo_average_log_prob": asked}) is expected


def test_only_uni_dpo_and_the_losses_defined_on_means_average_by_themselves():
    means = {n for n in LOSSES if parameters.uses_means({"pref_loss": n, "dpo_average_log_prob": None})}
    assert means == {"uni_dpo", "alpha_dpo", *FIXED}


def test_every_wrong_value_is_reported_at_once_under_its_recipe_key():
    found = parameters.problems(
        {
            **UNI_DPO,
            "pref_beta": 0.0,
            "uni_dpo_perf_gamma": -1.0,
            "uni_dpo_tau_ref": math.nan,
            "uni_dpo_nll_lambda": "much",
            "pref_engine": "resonanse",
            "dpo_average_log_prob": "yes",
            "dpo_label_smoothing": 0.1,
        }
    )
    starts = {message.split(":")[0] for message in found}
    assert starts == {
        "pref_beta",
        "uni_dpo_perf_gamma",
        "uni_dpo_tau_ref",
        "uni_dpo_nll_lambda",
        "pref_engine",
        "dpo_average_log_prob",
        "dpo_label_smoothing",
    }
    assert any("-1" in message for message in found), "the value given is in the message"


def test_unknown_loss_names_the_nearest_first():
    (message,) = parameters.problems({"stage": "dpo", "pref_loss": "unidpo"})
    assert message.startswith("pref_loss: ") and "unidpo" in message
    assert message.index("uni_dpo") < message.index("aot")


def test_unknown_parameter_of_a_loss_names_the_nearest():
    (message,) = parameters.problems(
        {"stage": "dpo", "pref_loss": "discopop", "pref_loss_params": {"discopop_tua": 1}}
    )
    assert message.startswith("pref_loss_params.discopop_tua") and "discopop_tau" in message


@pytest.mark.parametrize("given", ["not json", [1, 2], "[1]"])
def test_parameters_that_are_no_mapping(given):
    (message,) = parameters.problems({"stage": "dpo", "pref_loss": "discopop", "pref_loss_params": given})
    assert message.startswith("pref_loss_params: ")


@pytest.mark.parametrize(("name", "default"), [("exo_pair", 1e-3), ("robust", 0.1)])
def test_losses_that_are_nothing_without_smoothing_have_their_own(name, default):
    """LlamaFactory's default of 0 would turn robust into plain DPO and divide by zero in exo_pair."""
    values = {**preference.DEFAULTS, "stage": "dpo", "pref_loss": name, "dpo_label_smoothing": 0.0}
    assert parameters.problems(values) == []
    assert "label_smoothing" not in parameters.loss_parameters(values)
    assert LOSSES[name].params["label_smoothing"] == default
    assert parameters.loss_parameters({**values, "dpo_label_smoothing": 0.2})["label_smoothing"] == 0.2
    (message,) = parameters.problems({**values, "dpo_label_smoothing": 0.5})
    assert message.startswith("dpo_label_smoothing: ")


@pytest.mark.parametrize(("key", "value"), [("pref_ftx", -0.5), ("pref_bco_weight", math.nan), ("ld_alpha", 1.5)])
def test_modifiers_out_of_range(key, value):
    (message,) = parameters.problems({"stage": "dpo", "pref_loss": "hinge", key: value})
    assert message.startswith(f"{key}: {value!r} is not allowed")


def test_parameters_that_the_trainer_takes_from_elsewhere():
    given = {"beta": 0.5, "delta": 5.0}
    found = parameters.problems({"stage": "dpo", "pref_loss": "bco_pair", "pref_loss_params": given})
    assert any("pref_loss_params.beta" in message and "pref_beta" in message for message in found)
    assert any("pref_loss_params.delta" in message and "running mean" in message for message in found)


MPO = {"stage": "dpo", "pref_loss": ["sigmoid", "bco_pair", "sft"], "pref_loss_weights": [0.8, 0.2, 1.0]}


@pytest.mark.parametrize("given", [MPO["pref_loss"], "sigmoid,bco_pair,sft", "sigmoid, bco_pair,sft"])
@pytest.mark.parametrize("weights", [[0.8, 0.2, 1.0], "0.8,0.2,1.0", "[0.8, 0.2, 1.0]", ["0.8", 0.2, 1]])
def test_a_mix_from_yaml_and_from_flags(given, weights):
    values = {
        **preference.DEFAULTS,
        "stage": "dpo",
        "pref_loss": given,
        "pref_beta": 0.2,
        "pref_loss_weights": weights,
    }
    assert preference.runs_on_resonance(values) and parameters.problems(values) == []
    assert parameters.loss_parameters(values) == {"beta": 0.2, "weights": [0.8, 0.2, 1.0]}
    assert not parameters.uses_means(values) and parameters.needs_reference(given)


def test_one_loss_in_a_list_is_that_loss():
    assert not preference.runs_on_resonance({"stage": "dpo", "pref_loss": ["simpo"]})
    assert preference.loss_name(["simpo"]) == "simpo"


def test_the_smoothing_of_a_mix():
    values = {**preference.DEFAULTS, **MPO, "pref_loss": ["sigmoid", "exo_pair"], "pref_loss_weights": None}
    assert "label_smoothing" not in parameters.loss_parameters({**values, "dpo_label_smoothing": 0.0})
    assert parameters.problems({**values, "dpo_label_smoothing": 0.0}) == []
    assert parameters.loss_parameters({**values, "dpo_label_smoothing": 0.2})["label_smoothing"] == 0.2


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            MPO | {"pref_loss_weights": [0.8, 0.2]},
            ["pref_loss_weights: weights=[0.8, 0.2] are 2 numbers for 3 losses"],
        ),
        (MPO | {"pref_loss_weights": "much"}, ["pref_loss_weights: weights='much' is not allowed"]),
        (MPO | {"pref_loss": "hinge"}, ["pref_loss_weights: pref_loss: hinge is one loss"]),
        (MPO | {"pref_loss": ["sigmoid", "bco"]}, ["pref_loss: Unknown loss 'bco'"]),
        (MPO | {"pref_loss": ["sigmoid", "sft", "sft"]}, ["pref_loss: A mix has each loss once"]),
        (MPO | {"pref_beta": -1.0}, [f"pref_beta: {part}: beta=-1.0" for part in MPO["pref_loss"]]),
        (
            MPO | {"pref_loss_params": {"weights": [1, 1, 1], "delta": 0.1}},
            [
                "pref_loss_params.weights: cannot be given here; use the key pref_loss_weights",
                "pref_loss_params.delta: cannot be given here",
            ],
        ),
        (MPO | {"sample_weights": "yes"}, ["sample_weights: 'yes' is not true or false"]),
        ({"stage": "dpo", "pref_loss": "aot", "sample_weights": True}, ["sample_weights: pref_loss: aot sorts pairs"]),
    ],
)
def test_wrong_mixes_and_weights(values, messages):
    found = parameters.problems(values)
    assert len(found) == len(messages)
    for message in messages:
        assert any(line.startswith(message) for line in found), message


# -- in LlamaFactory's own dataclass ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finetuning_arguments():
    from llamafactory.hparams import FinetuningArguments

    return FinetuningArguments


def test_the_keys_are_in_llamafactorys_dataclass_and_it_still_pickles(finetuning_arguments):
    args = finetuning_arguments(**UNI_DPO, finetuning_type="full")
    assert args.uni_dpo_tau_ref == 2.0 and args.use_ref_model
    assert finetuning_arguments.__module__ == "llamafactory.hparams.finetuning_args"
    assert pickle.loads(pickle.dumps(args)).to_dict() == args.to_dict()


def test_llamafactorys_own_checks_still_run(finetuning_arguments):
    with pytest.raises(ValueError, match="use_llama_pro"):
        finetuning_arguments(**UNI_DPO, finetuning_type="full", use_llama_pro=True)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_reference_model_follows_the_loss(finetuning_arguments, name):
    args = finetuning_arguments(stage="dpo", pref_loss=name, pref_engine="resonance")
    assert args.use_ref_model is (name not in ("orpo", "simpo", "odds_ratio", "cpo", "sft"))


def test_label_smoothing_of_a_loss_that_llamafactory_does_not_know_it_for(finetuning_arguments):
    assert finetuning_arguments(stage="dpo", pref_loss="robust", dpo_label_smoothing=0.2).dpo_label_smoothing == 0.2


def test_stock_arguments_are_what_they_were(finetuning_arguments):
    original = finetuning_arguments.__mro__[1]
    ours, stock = finetuning_arguments(stage="dpo"), original(stage="dpo")
    rooms = (preference, policy, reward_model, feedback, tracking, rates)
    keys = (*(key for room in rooms for key in room.KEYS), chat.KEY)
    assert {k: v for k, v in ours.to_dict().items() if k not in keys} == stock.to_dict()
    assert ours.use_ref_model == stock.use_ref_model


def test_wrong_values_stop_the_dataclass_too(finetuning_arguments):
    with pytest.raises(ValueError, match=r"2 problems:(.|\n)*pref_beta(.|\n)*uni_dpo_perf_gamma"):
        finetuning_arguments(stage="dpo", pref_loss="uni_dpo", pref_beta=-1.0, uni_dpo_perf_gamma=-2.0)


def test_a_mix_in_the_dataclass(finetuning_arguments):
    args = finetuning_arguments(**MPO, finetuning_type="full")
    assert args.pref_loss == "sigmoid,bco_pair,sft" and args.use_ref_model
    assert not finetuning_arguments(stage="dpo", pref_loss=["odds_ratio", "sft"]).use_ref_model
    assert finetuning_arguments(stage="dpo", pref_loss=["simpo"]).pref_loss == "simpo"
    assert finetuning_arguments(stage="dpo", sample_weights=True).use_ref_model
