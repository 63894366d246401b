# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The line that says which speed-ups are on and what they are expected to save."""

from __future__ import annotations

# First, as in training: trl 0.24 beside transformers 5 believes that mergekit is installed, and this sets that right.
import llamafactory.extras.packages  # noqa: F401
import pytest

from forward.tiny import FAMILIES, make, pairs
from resonance.forward.call import Forward
from resonance.forward.names import RESPONSE_HEAD, SHARED_PREFIX
from resonance.forward.selftest import Verdict
from resonance.training.speedups import _saving


@pytest.fixture
def prepared():
    """One pair of text; its second row has other tokens than its first."""
    model = make(FAMILIES["qwen2"]())
    return Forward([RESPONSE_HEAD, SHARED_PREFIX]).prepare(pairs(model, [[]], [8], [8]), model)


def test_the_saving_is_said_with_what_was_counted(prepared):
    found = _saving(Verdict(prepared.on, logps=0.0, gradient=0.0, saving=2.7561), prepared)
    assert found.startswith(
        "expected saving: 2.76 times fewer FLOPs (counted: matrix products of forward and backward"
    )
    assert f"a pass become {prepared.layout.inputs['input_ids'].numel()}, the head sees 16 of them" in found


def test_a_saving_of_the_forward_alone_is_said_to_be_one(prepared):
    assert "matrix products of forward, without" in _saving(Verdict(prepared.on, logps=0.0, saving=2.0), prepared)


def test_what_was_not_counted_is_not_said(prepared):
    assert "saving" not in _saving(Verdict(prepared.on), prepared)
