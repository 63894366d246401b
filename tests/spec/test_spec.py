# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Kinds of functions other than losses: several inputs, messages with the kind's name, a table, what `help` prints."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest

from resonance.spec import NON_NEGATIVE, Spec, attach, find, make_table, param_problems


@dataclass(frozen=True, eq=False)
class Estimator(Spec):
    """A kind with two inputs."""

    kind: ClassVar[str] = "estimator"
    inputs: ClassVar[Mapping[str, str]] = {"values": "the values", "mask": "the mask"}

    needs_group: bool = False


@attach(Estimator, paper="arXiv:0000.00000", ranges={"gain": NON_NEGATIVE}, needs_group=True)
def scaled(values, mask, *, gain=1.0, centred=False):
    """The values times gain."""
    return values * mask * gain


TABLE = make_table(Estimator, scaled)


def plain(values, mask, *, gain=2.0):
    return values * mask * gain


def wrong(values, *, gain=2.0): ...


def test_inputs_are_no_parameters():
    spec = find("scaled", TABLE, Estimator)
    assert spec.params == {"gain": 1.0, "centred": False} and spec.needs_group
    assert inspect.getdoc(spec.fn) == (
        "The values times gain.\n\nPaper: arXiv:0000.00000\nParameters:\n"
        "    gain: a finite number >= 0; default 1.0\n    centred: True or False; default False"
    )


def test_a_users_function_is_of_the_kind_that_is_asked_for():
    spec = find(f"{__name__}:plain", TABLE, Estimator)
    assert isinstance(spec, Estimator) and spec.params == {"gain": 2.0} and not spec.needs_group
    with pytest.raises(
        ValueError, match=r"must be callable as fn\(values, mask, \*.*first 2 parameters must take the v"
    ):
        find(f"{__name__}:wrong", TABLE, Estimator)


def test_messages_name_the_kind():
    with pytest.raises(ValueError, match=r"Unknown estimator 'scaed' \(nearest: scaled; .*For your own write"):
        find("scaed", TABLE, Estimator)
    with pytest.raises(ValueError, match="Two of kind estimator share a name"):
        make_table(Estimator, scaled, scaled)
    with pytest.raises(ValueError, match="Estimator 'wrong' cannot be declared: its first 2 parameters"):
        attach(Estimator)(wrong)
    assert param_problems(TABLE["scaled"], {"gain": -1, "label_smoothing": 0.0}) == [
        "scaled: gain=-1 is not allowed, it must be a finite number >= 0",
        "scaled has no parameter 'label_smoothing' (centred, gain)",
    ]
