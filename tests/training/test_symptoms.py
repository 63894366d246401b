# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Warnings while a policy trains, decided by sequences of log lines."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from resonance.report.symptoms import REPEAT, new_symptoms, symptoms
from resonance.training.symptoms import SymptomWatch


def lines(**series):
    """Log lines of metrics given as lists; `/` is written as two underscores."""
    names = {name: name.replace("__", "/") for name in series}
    return [
        {names[name]: value for name, value in zip(series, values, strict=True) if value is not None}
        for values in zip(*series.values(), strict=True)
    ]


def ramp(start, end, count):
    return [start + (end - start) * i / (count - 1) for i in range(count)]


# A run that learned: entropy 0.5 -> 0.3, KL to the start up to 0.4, some flat groups, few answers cut off.
GOOD = lines(
    reward=ramp(0.55, 0.85, 30),
    kl=[*ramp(0.0, 0.35, 15), *ramp(0.35, 0.4, 15)],
    entropy=ramp(0.55, 0.3, 30),
    frac_zero_std=ramp(0.2, 0.6, 30),
    completions__mean_length=ramp(9, 7, 30),
    completions__clipped_ratio=[0.0, 0.2, 0.1] * 10,
)

BAD = {
    "flat groups": (lines(frac_zero_std=[0.3, 0.6, 1.0]), "frac_zero_std: 1: in no group do the rewards"),
    "entropy collapse": (lines(entropy=[0.5, 0.5, 0.5, *[0.04] * 3]), "entropy: 0.04, at the start 0.5: "),
    "length collapse": (
        lines(completions__mean_length=[9, 9, 9, 5, 2, 2, 2]),
        "completions/mean_length: 2, at the start 9: ",
    ),
    "truncation": (lines(completions__clipped_ratio=[0.5]), "completions/clipped_ratio: 50% of the completions"),
    "divergence": (
        lines(kl=[0.01, 0.02, 0.05, 0.1, 0.5, 1.5, 3.0], reward=ramp(2.7, 5.1, 7)),
        "kl: 1.67 nats a token, in the first half of the run 0.0267, while the reward rises",
    ),
}


def test_a_good_run_has_none_at_any_line():
    assert [symptoms(GOOD[:end]) for end in range(len(GOOD) + 1)] == [{}] * (len(GOOD) + 1)


@pytest.mark.parametrize("name", BAD)
def test_each_symptom(name):
    history, message = BAD[name]
    found = symptoms(history)
    assert list(found) == [name] and found[name].startswith(message)


@pytest.mark.parametrize(
    "history",
    [
        lines(frac_zero_std=[1.0, 0.99]),
        lines(entropy=[0.5, 0.5, 0.5, 0.04, 0.5, 0.5]),
        lines(entropy=[0.04] * 6),
        lines(completions__mean_length=[9, 9, 9, 4, 4, 4]),
        lines(completions__clipped_ratio=[0.1, 0.3, 0.15]),
        lines(kl=[0.01, 0.02, 0.05, 0.1, 0.5, 1.5, 3.0], reward=ramp(5.1, 2.7, 7)),
        lines(kl=ramp(0.0, 3.0, 20), reward=ramp(0, 1, 20)),
        lines(kl=[0.001, 0.001, 0.001, 0.1, 0.2, 0.3], reward=ramp(0, 1, 6)),
    ],
    ids=["some differ", "one line", "low from the start", "half as long", "few cut", "falls", "steady", "small"],
)
def test_what_is_none(history):
    assert symptoms(history) == {}


def test_rewards_are_in_fewer_lines_than_the_divergence():
    """A rollout is used in several steps, and lines without a metric are passed over."""
    kl, rewards = [0.01, 0.02, 0.05, 0.1, 0.5, 1.5, 3.0, 5.0], [1.0, None, None, None, 2.0, None, None, None]
    assert list(symptoms([{"eval_reward": 1.0}, *lines(kl=kl, reward=rewards)])) == ["divergence"]


def test_each_is_warned_of_once_and_again_after_a_pause():
    bad, good = {"completions/clipped_ratio": 0.9}, {"completions/clipped_ratio": 0.0}
    history, told = [], []
    for line in [good] * 3 + [bad] * 20 + [good] * 3 + [bad] * 5 + [good] * (REPEAT + 3) + [bad] * 5:
        history.append(line)
        told.append(len(new_symptoms(history)))
    assert sum(told) == 2 and told[4] == 0 and told[3] == 1


def test_the_watch_looks_at_lines_of_training_alone():
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("llamafactory.resonance.training.symptoms")
    logger.addHandler(handler)
    history = [{"loss": 0.1, "frac_zero_std": 1.0}]
    state = SimpleNamespace(log_history=history, global_step=7)
    watch = SymptomWatch()
    watch.on_log(None, state, None, logs={"eval_reward": 1.0})
    assert messages == []
    watch.on_log(None, state, None, logs=history[0])
    logger.removeHandler(handler)
    assert [message.partition(":")[0] for message in messages] == ["Step 7"]
