# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The table is complete, and its one door refuses what is wrong, all of it at once."""

from __future__ import annotations

import ast
import inspect
import math
import pickle
import re
from pathlib import Path

import pytest
import torch

import resonance.losses
from loaded import loaded
from losses.conftest import GOLD
from resonance.losses import LOSSES, LossOutput, Pairs, check_params, declare, get_loss, preference_loss

FOLDER = Path(resonance.losses.__file__).parent
ISSUED = """uni_dpo sigmoid hinge ipo kto_pair orpo simpo robust exo_pair nca_pair bco_pair sppo_hard aot aot_unpaired
    apo_zero apo_down discopop dpop sigmoid_norm rpo cpo f_dpo_js f_dpo_alpha focalpo wpo mm_dpo mm_dpo_released
    beta_dpo alpha_dpo rpo_bwd_kl rpo_fwd_kl rpo_sq odpo odds_ratio sft ddpo ddpo_segments mdpo
    chip_visual""".split()

WITHOUT_REFERENCE = {"simpo", "orpo", "odds_ratio", "cpo", "sft"}


def declared_on_disk() -> set[str]:
    """Names of functions under `@declare(...)` in the files of the room."""
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any("declare(" in ast.unparse(d) for d in node.decorator_list):
                found.add(node.name)
    return found


def test_every_loss_on_disk_is_in_the_table():
    assert set(LOSSES) == declared_on_disk() == set(ISSUED)


@pytest.mark.parametrize("spec", LOSSES.values(), ids=LOSSES.keys())
def test_every_spec_says_where_it_comes_from_and_what_it_takes(spec):
    text = inspect.getdoc(spec.fn)
    assert spec.paper.startswith("arXiv:") and spec.paper in text
    assert "Formula" in text and "(B,)" in text and "Raises:" in text
    assert text.partition("\n")[0].endswith(".")
    assert spec.params["beta"] == 0.1
    for name, default in spec.params.items():
        assert f"\n    {name}: " in text, f"{name} is not in the docstring"
        assert isinstance(default, bool) or name in spec.ranges
    assert check_params(spec, spec.params) == []
    assert get_loss(spec.name) is spec and get_loss(spec) is spec and spec.fn.spec is spec
    assert pickle.loads(pickle.dumps(spec)).fn is spec.fn


def test_what_is_declared_is_in_the_help():
    text = inspect.getdoc(LOSSES["robust"].fn)
    assert "\n    label_smoothing: a number 0 <= x < 0.5 (at 0.5 labels carry nothing and" in text
    assert "\nPaper: arXiv:2403.00409\n" in text and "policy and reference, sums over response tokens unless" in text
    for name, part in {
        "uni_dpo": "detach_weights: True or False; default False",
        "simpo": "log-probs of policy, means over response tokens by definition.",
        "ipo": "rewards beta * (lp - ref)",
        "orpo": "rewards beta * lp,",
        "bco_pair": "delta: a finite number; default 0.0",
    }.items():
        assert part in inspect.getdoc(LOSSES[name].fn)


def test_every_loss_says_what_it_was_compared_with():
    """As the gold file and the other tests have it."""
    compared = {name: re.search(r"Compared with: (.*)", inspect.getdoc(spec.fn))[1] for name, spec in LOSSES.items()}
    for case in GOLD["cases"]:
        ours = {"aot_pair": "aot_unpaired"}.get(case["loss"], case["loss"])
        name, *_, function = case["source"].split()
        if "given" in case:  # of preference_losses_more.json, with the commit
            continue
        assert compared[ours].replace("the authors' multimodal code", "Uni-DPO").startswith(name.rstrip(","))
        assert function in compared[ours]
        assert not function.endswith("dpo_loss") or name != "trl" or f'"{case["loss"]}"' in compared[ours]
    for case in (case for case in GOLD["cases"] if "given" in case):
        assert re.search(r"\b[0-9a-f]{7}\b", compared[case["loss"]])[0] in case["source"]
    assert {name for name, text in compared.items() if "by hand" in text} == {"dpop", "focalpo", "mm_dpo", "odpo"}


def test_what_losses_need():
    assert {name for name, spec in LOSSES.items() if not spec.needs_reference} == WITHOUT_REFERENCE
    assert {name for name, spec in LOSSES.items() if spec.needs_scores} == {
        *("uni_dpo", "mm_dpo", "rpo_bwd_kl", "rpo_fwd_kl", "rpo_sq")
    }
    fixed = {"ipo", "simpo", "orpo", "sigmoid_norm", "odds_ratio", "sft"}
    assert {name for name, spec in LOSSES.items() if spec.logps == "mean"} == {"uni_dpo", "alpha_dpo", *fixed}
    assert {name for name, spec in LOSSES.items() if spec.logps_fixed} == fixed
    assert {name for name, spec in LOSSES.items() if spec.needs_margin} == {"odpo"}
    assert {name for name, spec in LOSSES.items() if spec.needs_on_policy} == {"wpo"}
    assert {name for name, spec in LOSSES.items() if spec.needs_ranks} == {"mm_dpo_released", "beta_dpo", "alpha_dpo"}
    assert {name for name, spec in LOSSES.items() if spec.needs_changed} == {"ddpo", "ddpo_segments"}
    assert {name for name, spec in LOSSES.items() if spec.needs_corrupted} == {"mdpo", "chip_visual"}
    assert {name for name, spec in LOSSES.items() if not spec.per_pair} == {"aot", "aot_unpaired"}
    assert {name for name, spec in LOSSES.items() if spec.baseline} == {"bco_pair"}


def test_parameters_of_uni_dpo_and_their_defaults():
    assert LOSSES["uni_dpo"].params == {
        "beta": 0.1,
        "qual_eta": 0.7,
        "tau_ref": 2.0,
        "perf_gamma": 3.0,
        "nll_lambda": 0.001,
        "tau_good": 2.5,
        "detach_weights": False,
    }


def test_the_room_loads_torch_and_none_of_the_frameworks():
    names = ("llamafactory", "trl", "transformers")
    assert loaded("import resonance.losses", *names, "torch") == ["torch"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unidpo", "nearest: uni_dpo"),
        ("aot_pair", "nearest: aot_unpaired"),
        ("zzz", "Unknown loss 'zzz' (alpha_dpo, aot, aot_unpaired, apo_down"),
        ("", "Unknown loss ''"),
    ],
)
def test_unknown_name_gives_the_nearest_first_then_all(name, expected):
    with pytest.raises(ValueError) as error:
        get_loss(name)
    text = str(error.value)
    assert expected in text and "package.module:function" in text
    assert ", ".join(sorted(LOSSES)) in text


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(ValueError, match="named by a string, got None"):
        get_loss(None)


# name, parameter, refused values, accepted values, what the message says is allowed
RULES = [
    *[(name, "beta", [0, -0.1], [1e-6, 10], "a finite number > 0") for name in sorted(LOSSES)],
    ("sigmoid", "label_smoothing", [-0.1, 0.51], [0, 0.5], "0 <= x <= 0.5"),
    ("aot", "label_smoothing", [-0.1, 0.51], [0, 0.5], "0 <= x <= 0.5"),
    ("aot_unpaired", "label_smoothing", [-0.1, 0.51], [0, 0.5], "0 <= x <= 0.5"),
    ("robust", "label_smoothing", [-0.1, 0.5], [0, 0.49], "0 <= x < 0.5"),
    ("exo_pair", "label_smoothing", [0, 0.0, 0.5, -1], [1e-3, 0.49], "0 < x < 0.5 (the paper uses 1e-3)"),
    ("simpo", "simpo_gamma", [-0.1], [0, 2.5], "a finite number >= 0"),
    ("uni_dpo", "qual_eta", [-0.1], [0], "a finite number >= 0"),
    ("uni_dpo", "perf_gamma", [-1], [0], "a finite number >= 0"),
    ("uni_dpo", "nll_lambda", [-1e-9], [0], "a finite number >= 0"),
    ("uni_dpo", "tau_ref", [], [-1, 0], "a finite number"),
    ("uni_dpo", "tau_good", [], [-1, 0], "a finite number"),
    ("discopop", "discopop_tau", [0, -0.05], [0.05, 2], "a finite number > 0"),
    ("dpop", "dpop_lambda", [-1], [0, 50], "a finite number >= 0"),
    ("bco_pair", "delta", [], [-1.5, 0], "a finite number"),
    ("sigmoid_norm", "label_smoothing", [-0.1, 0.51], [0, 0.5], "0 <= x <= 0.5"),
    ("rpo", "rpo_alpha", [-0.1], [0, 2], "a finite number >= 0"),
    ("cpo", "cpo_alpha", [-0.1], [0, 2], "a finite number >= 0"),
    ("f_dpo_alpha", "f_alpha", [0, 1.1], [0.3, 1], "0 < x <= 1 (near 0 it is DPO)"),
    ("focalpo", "focalpo_gamma", [-0.1], [0, 0.05], "a finite number >= 0"),
    ("mm_dpo", "mm_dpo_w", [-0.1], [0, 0.5], "a finite number >= 0"),
    ("mm_dpo", "mm_dpo_k", [-0.1], [0, 0.5], "a finite number >= 0"),
    ("mm_dpo_released", "ls_factor_weight", [], [-0.1, 0.1], "a finite number"),
    ("beta_dpo", "beta_dpo_a", [], [-0.1, 0.6], "a finite number"),
    ("beta_dpo", "beta_dpo_drop", [-0.1, 1], [0, 0.2], "0 <= x < 1"),
    ("alpha_dpo", "alpha_dpo_alpha", [-0.1], [0, 0.2], "a finite number >= 0"),
    ("alpha_dpo", "gamma_beta_ratio", [-0.1], [0, 0.4], "a finite number >= 0"),
    ("rpo_sq", "gt_reward_scale", [0, -1], [0.3], "a finite number > 0"),
    ("mdpo", "mdpo_delta", [], [-0.1, 0, 1], "a finite number"),
    ("mdpo", "mdpo_image_weight", [-0.1], [0, 1], "a finite number >= 0"),
    ("mdpo", "mdpo_anchor_weight", [-0.1], [0, 1], "a finite number >= 0"),
    ("ddpo", "ddpo_gamma", [-0.1], [0, 3.0], "a finite number >= 0"),
    ("odpo", "odpo_alpha", [-0.1], [0, 1], "a finite number >= 0"),
]


@pytest.mark.parametrize(("name", "key", "refused", "accepted", "allowed"), RULES)
def test_values_out_of_range(name, key, refused, accepted, allowed):
    for value in [*refused, math.nan, math.inf, -math.inf, "0.1", None, True, [0.1]]:
        (message,) = check_params(name, {key: value})
        assert f"{name}: {key}={value!r}" in message and allowed in message
    for value in accepted:
        assert check_params(name, {key: value}) == []


def test_a_switch_takes_true_or_false_only():
    assert check_params("uni_dpo", {"detach_weights": True}) == []
    for value in (1, 0.0, "true", None):
        assert "must be True or False" in check_params("uni_dpo", {"detach_weights": value})[0]


def test_label_smoothing_zero_asks_nothing_of_a_loss_without_it():
    assert check_params("hinge", {"label_smoothing": 0.0}) == []
    assert "hinge has no parameter 'label_smoothing'" in check_params("hinge", {"label_smoothing": 0.1})[0]
    assert "hinge has no parameter 'label_smoothing'" in check_params("hinge", {"label_smoothing": False})[0]
    ones = torch.ones(2)
    plain, smoothed = (preference_loss("hinge", ones, ones, ones, ones, **p) for p in ({}, {"label_smoothing": 0.0}))
    assert torch.equal(plain.losses, smoothed.losses)


def test_everything_wrong_is_reported_at_once(pairs_of):
    batch = pairs_of(3)
    batch["score_chosen"] = torch.tensor([1.0, math.nan, -math.inf])
    batch["score_rejected"] = None
    batch["reference_chosen_logps"] = None
    with pytest.raises(ValueError) as error:
        preference_loss("uni_dpo", **batch, beta=-1, perf_gamm=3.0, tau_ref="2")
    text = str(error.value)
    for part in (
        "Loss 'uni_dpo' cannot be computed",
        "needs a reference model's log-probs, reference_chosen_logps is None",
        "score_chosen must be finite, at index [1, 2] it is [nan, -inf]",
        "uni_dpo needs scores, score_rejected is None",
        "beta=-1 is not allowed",
        "no parameter 'perf_gamm' (nearest: perf_gamma",
        "all: beta, detach_weights, nll_lambda, perf_gamma, qual_eta, tau_good, tau_ref",
        "tau_ref='2' is not allowed",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("policy_rejected_logps", torch.zeros(4), r"policy_rejected_logps has the shape \(4,\)"),
        ("policy_chosen_logps", torch.zeros(3, 1), r"policy_chosen_logps must have the shape \(B,\)"),
        ("policy_chosen_logps", torch.tensor(1.0), r"policy_chosen_logps must have the shape \(B,\).*got \(\)"),
        ("reference_chosen_logps", torch.zeros(3, 1), r"reference_chosen_logps must have the shape \(B,\)"),
        ("chosen_lengths", torch.zeros(2), r"chosen_lengths has the shape \(2,\)"),
        ("score_rejected", [1.0, 2.0, 3.0], "score_rejected must be a tensor of shape .* got list"),
        ("policy_rejected_logps", None, "policy_rejected_logps must be a tensor"),
        ("policy_chosen_logps", torch.zeros(3, dtype=torch.long), "floating-point numbers, got torch.int64"),
    ],
)
def test_wrong_tensors_are_named(key, value, expected, pairs_of):
    with pytest.raises(ValueError, match=expected):
        preference_loss("uni_dpo", **(pairs_of(3) | {key: value}))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="with B >= 1"):
        preference_loss("sigmoid", *[torch.zeros(0)] * 4)


def test_scores_and_lengths_are_no_trouble_to_a_loss_that_needs_none(pairs_of):
    batch = pairs_of(3)
    batch["score_chosen"] = batch["margin"] = torch.full((3,), math.nan)
    with_all = preference_loss("sigmoid", **batch)
    without = preference_loss("sigmoid", *list(batch.values())[:4])
    assert torch.equal(with_all.losses, without.losses)


def test_a_reference_free_loss_takes_no_reference_and_ignores_one(pairs_of):
    batch = pairs_of(3)
    chosen, rejected = batch["policy_chosen_logps"], batch["policy_rejected_logps"]
    lengths = {name: batch[name] for name in ("chosen_lengths", "rejected_lengths")}
    for name in WITHOUT_REFERENCE:
        alone = preference_loss(name, chosen, rejected, None, None, **lengths, beta=2.0)
        assert torch.equal(alone.losses, preference_loss(name, **batch, beta=2.0).losses)
        assert torch.equal(alone.chosen_rewards, (2.0 * chosen).detach())


def test_pairs_say_what_they_lack():
    ones = torch.ones(2)
    with pytest.raises(ValueError, match="no reference_chosen_logps, reference_rejected_logps"):
        _ = Pairs(ones, ones).logits


def test_declare_refuses_a_function_it_cannot_call():
    with pytest.raises(ValueError) as error:

        @declare(logps="average")
        def loss(pairs, beta, *rest, **others): ...

    for part in ("'loss'", "'beta' needs a default", "'*rest' hides", "'**others' hides", "logps='average'"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="first parameter must take the Pairs"):

        @declare()
        def keyword(*, pairs): ...

    with pytest.raises(ValueError, match="ranges names 'gama'.*needs a parameter 'delta'"):

        @declare(ranges={"gama": resonance.losses.Range()}, baseline=True)
        def typo(pairs, *, gamma=1.0): ...


def test_an_output_cannot_be_changed(gold):
    output = preference_loss("sigmoid", **gold("sum"))
    assert isinstance(output, LossOutput)
    with pytest.raises(AttributeError):
        output.losses = None
