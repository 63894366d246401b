# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `group_prompts`: what is understood, and the orders that it does not go with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resonance.arguments import parameters, recipe
from resonance.arguments.grouping import asked_grouping, grouping_problems

OURS = {"stage": "dpo", "pref_loss": "hinge"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("auto", None), ("Auto", None), (True, True), ("true", True), (False, False), ("False", False)],
)
def test_what_is_understood(given, expected):
    assert asked_grouping(given) is expected
    assert parameters.problems({**OURS, "group_prompts": given}) == []


@pytest.mark.parametrize("given", ["on", 1, None, ["auto"]])
def test_what_is_refused(given):
    (found,) = parameters.problems({**OURS, "group_prompts": given})
    assert found == f"group_prompts: {given!r} is not understood; allowed: auto, true, false"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"streaming": True}, "streaming: true"),
        ({"disable_shuffling": True}, "disable_shuffling: true"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy: group_by_length"),
        ({"train_sampling_strategy": "sequential"}, "train_sampling_strategy: sequential"),
        ({"group_by_length": True}, "group_by_length: true"),
    ],
)
def test_another_order_is_refused_by_name(other, named):
    for asked in (True, "true"):
        (found,) = recipe.run_problems({**OURS, **other, "group_prompts": asked})
        assert found.startswith(f"group_prompts: true does not go with `{named}`")
    for left_alone in ("auto", False):
        assert recipe.run_problems({**OURS, **other, "group_prompts": left_alone}) == []
    assert grouping_problems({**OURS, "group_prompts": True, "train_sampling_strategy": "random"}) == []


def test_recipes_given_as_flags_are_refused_too(tmp_path):
    of_a_run = dict(do_train=True, do_eval=False, output_dir=str(tmp_path))
    training = SimpleNamespace(**of_a_run, train_sampling_strategy="sequential")
    finetuning = SimpleNamespace(**{**parameters.DEFAULTS, **OURS, "group_prompts": "true"})
    with pytest.raises(ValueError, match="group_prompts: true does not go with `train_sampling_strategy: sequential`"):
        recipe.check_parsed(["--stage", "dpo"], SimpleNamespace(), training, finetuning)
