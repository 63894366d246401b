# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `pref_speedups` in all the forms that YAML and flags give it."""

from __future__ import annotations

import pytest

from resonance.arguments import parameters
from resonance.arguments.speedups import asked_speedups
from resonance.forward.names import SPEEDUPS


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", set(SPEEDUPS)),
        (["auto"], set(SPEEDUPS)),
        ("off", set()),
        (False, set()),  # what YAML makes of `off`
        (["response_head"], {"response_head"}),
        ("response_head,shared_prefix", {"response_head", "shared_prefix"}),
        ("response_head, shared_prefix", {"response_head", "shared_prefix"}),  # a YAML line without brackets
        (["frozen_tower", "vision_once"], {"frozen_tower", "vision_once"}),
        ("padding_free", {"padding_free"}),
    ],
)
def test_what_is_understood(given, expected):
    assert asked_speedups(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["liger"],
            "'liger' is no speed-up; allowed: auto, off, or a list of frozen_tower, response_head",
        ),
        ("shared_prefx", "'shared_prefx' is no speed-up; did you mean shared_prefix?"),
        (["auto", "response_head"], "'auto' is no speed-up"),
        ([], r"\[\] is not understood"),
        (True, "True is no speed-up"),
        (None, "None is not understood"),
        (3, "3 is not understood"),
        ({"auto": 1}, "is not understood"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=f"pref_speedups: .*{message}"):
        asked_speedups(given)
    (found,) = parameters.problems({"stage": "dpo", "pref_loss": "uni_dpo", "pref_speedups": given})
    assert found.startswith("pref_speedups: ")
