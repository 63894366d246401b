# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Expressions, by math_verify; skipped where it is not installed."""

from __future__ import annotations

import signal
import time

import pytest

pytest.importorskip("math_verify")

from resonance.rewards import Completions, make_rewards, score
from resonance.rewards.limits import TimeUp, time_limit


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        (r"so \boxed{\sqrt{8}}", r"2\sqrt{2}", 1),
        (r"<answer>x^2 + 2x + 1</answer>", "(x+1)^2", 1),
        (r"<answer>\frac{\pi}{2}</answer>", r"$\frac{\pi}{2}$", 1),
        (r"<answer>\sqrt{3}</answer>", r"\sqrt{2}", 0),
        ("<answer>no idea</answer>", r"\sqrt{2}", 0),
        ("<answer>1/2</answer>", "0.5", 1),
    ],
)
@pytest.mark.parametrize("name", ["numeric", "r1v"])
def test_expressions(name, completion, answer, expected, rewarded):
    assert rewarded(name, completion, answer=answer) == [expected]


def test_no_warning_where_it_is_installed(caplog):
    make_rewards([{"name": "numeric"}])
    assert not caplog.records


def test_the_time_limit_of_the_batch_goes_on_after_its_own_timers():
    rewards = make_rewards([{"name": "numeric", "timeout": 30}])
    score(rewards, Completions([r"\boxed{\sqrt{8}}"], ["?"], [[]], columns={"answer": [r"2\sqrt{2}"]}))
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with pytest.raises(TimeUp), time_limit(0.5):
        rewards[0].fn(Completions([r"\boxed{\sqrt{8}}"], ["?"], [[]], columns={"answer": [r"2\sqrt{2}"]}))
        time.sleep(20)
