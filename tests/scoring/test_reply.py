# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A score is read from a reply only where it cannot be meant otherwise."""

from __future__ import annotations

import pytest

from resonance.scoring.reply import REFUSAL, NoScore, scores_in, wanted


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 7}', 7.0),
        ('{"reason": "good", "score": 7.5}', 7.5),
        ('```json\n{"score": 0}\n```', 0.0),
        ("<think>Score: 3</think>\nScore: 10", 10.0),
        ("It is right.\n**Score:** 6", 6.0),
        ("score: 2", 2.0),
    ],
)
def test_what_is_a_score(text, score):
    assert scores_in(text, ("score",), 0, 10)[0] == (score,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Good answer, I give it 7 of 10.", "neither a JSON object nor a line"),
        ("Score: 7/10", "score is '7/10'"),
        ("Score: 7\nScore: 8", "2 lines"),
        ('{"score": 11}', "score is 11, but a number from 0 to 10"),
        ('{"score": -1}', "score is -1"),
        ('{"score": NaN}', "score is nan"),
        ('{"score": Infinity}', "score is inf"),
        ('{"score": "7"}', "score is '7'"),
        ('{"score": true}', "score is True"),
        ('{"score": null}', "score is None"),
        ('{"score": 3, "score": 9}', "score twice"),
        ('{"rating": 3}', "no score"),
        ("[7]", "no JSON object"),
        ("7", "no JSON object"),
        ("", "neither"),
        ('Here it is: {"score": 7}', "neither"),
        ("Score: \uff17", "score is"),
        ("Score: 1e1", "score is '1e1'"),
    ],
)
def test_what_is_none(text, why):
    with pytest.raises(NoScore) as caught:
        scores_in(text, ("score",), 0, 10)
    assert why in str(caught.value)


def test_two_answers_at_once():
    names = ("score_a", "score_b")
    assert scores_in('{"score_a": 1, "score_b": 5}', names, 1, 5)[0] == (1.0, 5.0)
    assert scores_in("Score A: 4\nScore B: 2", names, 1, 5)[0] == (4.0, 2.0)
    with pytest.raises(NoScore, match="no score_b"):
        scores_in('{"score_a": 1}', names, 1, 5)
    assert wanted(names, 1, 5).endswith('{"score_a": a number from 1 to 5, "score_b": a number from 1 to 5}')


@pytest.mark.parametrize("text", ["I'm sorry, but I cannot judge this.", "I can't help with that.", "对不起"])
def test_refusals_are_known(text):
    assert REFUSAL.match(text)


def test_an_apology_inside_is_none():
    assert not REFUSAL.match("The answer says that it is sorry. Score: 3")
