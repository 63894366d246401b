# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of reference log-probabilities on disk: whose recipe it is, and every wrong combination."""

from __future__ import annotations

import pytest

from resonance.arguments import parameters, preference

BASE = {"stage": "dpo", "pref_loss": "sigmoid", "precompute_ref_log_probs": True}


def problems(**changes):
    return parameters.problems({**BASE, **changes})


def test_the_key_brings_a_recipe_to_our_trainer():
    assert preference.runs_on_resonance(BASE)
    assert not preference.runs_on_resonance({**BASE, "precompute_ref_log_probs": False})
    assert not preference.runs_on_resonance({**BASE, "stage": "sft"})
    assert preference.idle_keys(BASE) == ["precompute_ref_log_probs"]  # what another stage is told


def test_what_is_allowed(tmp_path):
    assert problems() == []
    assert problems(ref_log_probs_dir=str(tmp_path / "new" / "folder"), precompute_only=True) == []
    assert problems(streaming=False, ignore_pad_token_for_loss=True) == []


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"precompute_ref_log_probs": "disk"}, "precompute_ref_log_probs: 'disk' is not true or false"),
        ({"precompute_only": 1}, "precompute_only: 1 is not true or false"),
        ({"ref_log_probs_dir": 3}, "ref_log_probs_dir: 3 is not a path"),
        ({"ref_log_probs_dir": "/proc/here"}, "ref_log_probs_dir: cannot write to '/proc/here'"),
        ({"pref_loss": "simpo"}, "precompute_ref_log_probs: pref_loss: simpo has no reference model"),
        ({"streaming": True}, "precompute_ref_log_probs: the rows of a stream"),
        ({"ignore_pad_token_for_loss": False}, "precompute_ref_log_probs: with `ignore_pad_token_for_loss: false`"),
    ],
)
def test_what_is_refused(changes, start):
    found = problems(**changes)
    assert len(found) == 1 and found[0].startswith(start), found


def test_keys_without_the_first_one_have_no_effect_and_say_so():
    found = problems(precompute_ref_log_probs=False, pref_loss="hinge", ref_log_probs_dir="x", precompute_only=True)
    assert found == [
        "ref_log_probs_dir: needs `precompute_ref_log_probs: true`",
        "precompute_only: needs `precompute_ref_log_probs: true`",
    ]
