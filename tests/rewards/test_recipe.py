# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From `rewards:` to functions: everything wrong is reported at once, before anything runs."""

from __future__ import annotations

import pytest

from loaded import loaded
from resonance.rewards import Completions, Scores, make_rewards, reward_problems, score
from resonance.rewards import answers as answers_module


def test_the_recipe_of_the_documentation(my_rewards):
    my_rewards(
        "def short(completions, prompts, images, **columns):\n    return [float(len(c) < 9) for c in completions]\n"
    )
    rewards = make_rewards([{"name": "exact", "answer": "solution"}, {"function": "my_rewards:short", "weight": 0.1}])
    assert [(reward.name, reward.title, reward.weight) for reward in rewards] == [
        ("exact", "rewards[0] (exact)", 1.0),
        ("short", "rewards[1] (my_rewards:short)", 0.1),
    ]
    batch = Completions(["5", "five of them"], ["?"] * 2, [["a.png"]] * 2, columns={"solution": ["5", "5"]})
    scores = score(rewards, batch)
    assert scores.parts == {"exact": [1.0, 0.0], "short": [1.0, 0.0]} and scores.totals == [1.1, 0.0]


def test_all_problems_at_once_with_the_nearest_names(my_rewards):
    my_rewards(
        "def short(completions, *, limit=80):\n    return []\ndef needy(completions, solution):\n    return []\n"
    )
    with pytest.raises(ValueError) as error:
        make_rewards(
            [
                {"name": "exat"},
                {"name": "exact", "answer": "answr", "wieght": 0.5},
                {"name": "exact", "answer": 3, "weight": "1", "label": " ", "normalise": "yes"},
                {"function": "my_rewards:shrt"},
                {"function": "my_rewards:short", "limt": 5, "timeout": 0},
                {"function": "my_rewards:needy"},
                {"function": "no_such_module_here:f"},
                {"name": "format", "pattern": "("},
                {"name": "exact", "function": "my_rewards:short"},
                {"weight": 1},
                "exact",
                {"name": "iou", "threshold": 2},
                {"name": "json", "keys": "a"},
                {"name": "length"},
                {"name": "length", "min_length": 9, "max_length": 3},
                {"name": "overlong"},
                {"name": "overlong", "max_length": 10, "cache": 11},
                {"name": "repetition", "ngram": 2.5},
                {"name": ["exact"]},
            ],
            columns=["answer", "level"],
        )
    text = str(error.value)
    for part in (
        "rewards[0] (exat): Unknown reward 'exat' (nearest: exact; all: choice, exact,",
        "For your own write 'function: module:function'",
        "rewards[1] (exact): the data has no column 'answr' (nearest: answer; all: answer, level)",
        "rewards[1] (exact): it has no key 'wieght' (nearest: weight",
        "rewards[2] (exact): answer=3 must be the name of a column of the data",
        "rewards[2] (exact): weight='1' is not allowed, it must be a finite number",
        "rewards[2] (exact): label=' ' is not allowed",
        "rewards[2] (exact): exact: normalise='yes' is not allowed, it must be True or False",
        "has no 'shrt' (nearest: short",
        "rewards[4] (my_rewards:short): it has no key or parameter 'limt' (nearest: limit",
        "rewards[4] (my_rewards:short): timeout=0 is not allowed, it must be a number of seconds > 0",
        "rewards[5] (my_rewards:needy): it needs 'solution', which is no column of the data",
        "no module named 'no_such_module_here'",
        "rewards[7] (format): pattern='(' is no regular expression",
        "rewards[8]: it needs one of 'name' (built in: exact,",
        "rewards[9]: it needs one of 'name'",
        "(keys given: weight)",
        "rewards[10]: it must be a mapping like {name: exact, answer: answer}, got 'exact'",
        "rewards[11] (iou): iou: threshold=2 is not allowed, it must be a number 0 <= x <= 1",
        "rewards[12] (json): keys='a' must be a list of names",
        "rewards[13] (length): give min_length, max_length or both",
        "rewards[14] (length): min_length=9 is above max_length=3",
        "rewards[15] (overlong): max_length is missing: the recipe's limit on new tokens",
        "rewards[16] (overlong): cache=11 is not allowed, it must be 0 < cache <= max_length=10",
        "rewards[17] (repetition): ngram=2.5 must be a whole number of tokens",
        "rewards[18] (['exact']): The reward is named by a string",
    ):
        assert part in text, part


@pytest.mark.parametrize("entries", [None, [], {}, "exact", {"name": "exact"}])
def test_rewards_must_be_a_list(entries):
    assert reward_problems(entries) == [
        f"rewards must be a list like [{{name: exact, answer: answer}}], got {entries!r}"
    ]


def test_names_are_unique_and_a_label_makes_them_so():
    twice = [{"name": "format", "pattern": "a"}, {"name": "format", "pattern": "b"}]
    (problem,) = reward_problems(twice)
    assert problem == "rewards[1] (format): another reward is called 'format'; add 'label: another_name'"
    assert [reward.name for reward in make_rewards([twice[0], twice[1] | {"label": "b"}])] == ["format", "b"]


def test_columns_are_checked_where_they_are_known_and_else_at_the_first_batch(rewarded):
    assert reward_problems([{"name": "exact"}], columns=["solution"]) == [
        "rewards[0] (exact): the data has no column 'answer' (solution); name the one that holds the answer: "
        "'answer: COLUMN'"
    ]
    assert reward_problems([{"name": "exact"}]) == []
    with pytest.raises(
        ValueError, match=r"rewards\[0\] \(exact\): the data has no column 'answer' \(nearest: answers"
    ):
        rewarded("exact", "5", answers="5")


def test_a_module_that_fails_to_import_something_shows_its_own_error(my_rewards):
    my_rewards("import a_package_that_is_not_there\n")
    with pytest.raises(ImportError, match="a_package_that_is_not_there"):
        make_rewards([{"function": "my_rewards:f"}])


def test_without_math_verify_one_warning_says_what_is_compared(monkeypatch, caplog):
    monkeypatch.setattr(answers_module, "has_math_verify", lambda: False)
    monkeypatch.setattr("resonance.rewards.recipe.has_math_verify", lambda: False)
    make_rewards([{"name": "numeric"}, {"name": "r1v"}, {"name": "exact"}])
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.getMessage().startswith("rewards[0] (numeric), rewards[1] (r1v): math_verify is not installed")
    assert "pip install math-verify" in record.getMessage()
    caplog.clear()
    make_rewards([{"name": "exact"}])
    assert not caplog.records


def test_the_result_keeps_parts_apart_and_leaves_out_what_is_none():
    scores = Scores({"a": [1.0, None, None], "b": [0.5, 2.0, None]}, {"a": 1.0, "b": -0.1})
    assert scores.totals == [pytest.approx(0.95), pytest.approx(-0.2), None]
    assert scores.unscored == [2]
    assert [[value if value == value else "nan" for value in row] for row in scores.rows] == [
        [1.0, 0.5],
        ["nan", 2.0],
        ["nan", "nan"],
    ]
    assert scores.mean("a") == 1.0 and scores.mean("b") == 1.25
    assert Scores({"a": [None]}, {"a": 1.0}).mean("a") is None


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="There are 2 completions, but images has 1, answer has 3"):
        Completions(["a", "b"], ["?"] * 2, [[]], columns={"answer": [1, 2, 3]})
    with pytest.raises(ValueError, match="Columns images of the data have names that rewards use; rename them"):
        Completions(["a"], ["?"], [[]], columns={"images": [1]})


def test_an_empty_batch_has_no_scores():
    scores = score(make_rewards([{"name": "exact"}]), Completions([], [], [], columns={"answer": []}))
    assert scores.totals == [] and scores.rows == []


def test_the_room_needs_no_torch():
    code = "from resonance.rewards import *; make_rewards([{'name': name} for name in ('exact', 'r1v')])"
    assert loaded(code, "torch", "numpy", "transformers", "llamafactory") == []
