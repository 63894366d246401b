# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The built-in rewards, one by one, with the completions that tempt them."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import resonance.rewards
from resonance.policy import overlong_penalty
from resonance.rewards import REWARDS
from resonance.rewards.answers import answer_text, plain_number
from resonance.spec import param_problems

FOLDER = Path(resonance.rewards.__file__).parent


def test_the_table_holds_every_declared_reward():
    declared = [
        node
        for path in FOLDER.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any("declare_reward(" in ast.unparse(d) for d in node.decorator_list)
    ]
    assert len(declared) == len(REWARDS)
    assert set(REWARDS) == set("exact choice numeric format json iou length overlong repetition r1v".split())


@pytest.mark.parametrize("spec", REWARDS.values(), ids=REWARDS.keys())
def test_help_says_what_it_reads_and_takes(spec):
    text = inspect.getdoc(spec.fn)
    assert text.partition("\n")[0].endswith(".") and "Args:" in text and "batch: " in text
    assert ("Columns: answer" in text) == (spec.columns == ("answer",))
    for name in spec.params:
        assert f"\n    {name}: " in text
    given = {name: value for name, value in spec.params.items() if value}
    assert param_problems(spec, given) == []


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("5", "5", 1),
        (" The Cat. ", "the cat", 1),
        ("the  cat", "The cat!", 1),
        ("the cats", "the cat", 0),
        ("The digit is 5.", "5", 0),
        ("<think>5 or 6</think> <answer>\n6 </answer>", "6", 1),
        ("<answer>5</answer> no: <answer>6</answer>", "6", 1),
        (r"so \boxed{6}", 6, 1),
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}", 1),
        (r"so \boxed{6", "6", 0),
        ("", "", 1),
        ("", "5", 0),
    ],
)
def test_exact(completion, answer, expected, rewarded):
    assert rewarded("exact", completion, answer=answer) == [expected]


@pytest.mark.parametrize(
    ("extract", "completion", "expected"),
    [
        (r"\d", "The digit is 5.", 1),
        (r"\d", "5", 1),
        (r"\d", "5, yes: 5", 1),
        (r"\d", "5 or 6", 0),
        (r"\d", "0123456789", 0),
        (r"\d", "five", 0),
        (r"is (\d)", "1 of them is 5", 1),
        (r"is (\d)?", "it is there", 0),
    ],
)
def test_exact_with_extract_takes_one_guess(extract, completion, expected, rewarded):
    assert rewarded({"name": "exact", "extract": extract}, completion, answer="5") == [expected]


def test_exact_to_the_letter(rewarded):
    to_the_letter = {"name": "exact", "normalise": False}
    assert rewarded(to_the_letter, "Cat", " Cat ", "cat", "Cat.", answer="Cat") == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        (r"\boxed{a{b}c} \boxed{d}", "d"),
        ("<ANSWER> a </ANSWER>", "a"),
        (r"\boxed{a} <answer>b</answer>", "b"),
    ],
)
def test_where_the_answer_is(text, expected):
    assert answer_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200", 1200),
        ("-.5", -0.5),
        ("2e3", 2000),
        ("50%", 0.5),
        (r"50\%", 0.5),
        ("$12.00", 12),
        ("$12$", 12),
        ("3 / 4", 0.75),
        (r"\frac{3}{4}", 0.75),
        (r"\dfrac{-3}{4}", -0.75),
        ("7.", 7),
        ("1/0", None),
        ("1e9999", None),
        ("x", None),
        ("5 apples", None),
        ("", None),
        ("nan", None),
        ("1 2", None),
    ],
)
def test_plain_numbers(text, expected):
    assert plain_number(text) == expected


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("0.5", "1/2", 1),
        ("It is 50%.", 0.5, 1),
        ("0.333", "1/3", 0),
        ("Of 10 apples 4 are left: 6", "6", 1),
        ("6, of 10", "6", 0),
        ("it is 10-5", "5", 1),
        ("it is -5", "-5", 1),
        ("1,200 people", 1200, 1),
        (r"\boxed{\frac{1}{2}} of 3", "0.5", 1),
        ("<answer>six</answer>", "6", 0),
        ("no number", "6", 0),
        ("The digit is 5.", "5", 1),
    ],
)
def test_numeric(completion, answer, expected, rewarded):
    assert rewarded("numeric", completion, answer=answer) == [expected]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("B", 1),
        ("(B)", 1),
        ("**B**", 1),
        ("B.", 1),
        ("<think>A?</think><answer>B</answer>", 1),
        (r"\boxed{B}", 1),
        ("The answer is B.", 1),
        ("The answer is A. Wait, the answer is (B), as it barks.", 1),
        ("Answer: B", 1),
        ("B) A dog", 1),
        ("B. A dog", 1),
        ("It must be (B), a dog", 1),
        ("A", 0),
        ("(A) or (B)", 0),
        ("A cat", 0),
        ("a dog", 0),
        ("The answer is Bob", 0),
        ("b", 0),
        ("AB", 0),
        ("", 0),
    ],
)
def test_choice(completion, expected, rewarded):
    assert rewarded("choice", completion, answer="B") == [expected]
    assert rewarded("choice", completion, answer="(B)") == [expected]


def test_choice_refuses_an_answer_that_is_none(rewarded):
    with pytest.raises(ValueError, match=r"rewards\[0\] \(choice\): the answer of completion 1 is no choice: 'a dog'"):
        rewarded("choice", "B", "B", answer=["B", "a dog"])


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>a\nb</think>\n<answer>c</answer>", 1),
        (" <think></think><answer></answer>\n", 1),
        ("<think>a</think> so <answer>c</answer>", 0),
        ("<answer>c</answer>", 0),
        ("<think>a</think><answer>c</answer> bye", 0),
    ],
)
def test_format(completion, expected, rewarded):
    assert rewarded("format", completion) == [expected]


def test_format_of_ones_own(rewarded):
    assert rewarded({"name": "format", "pattern": r"The digit is \d\."}, "The digit is 5.", "5") == [1, 0]


@pytest.mark.parametrize(
    ("completion", "keys", "expected"),
    [
        ('{"a": [1, null]}', None, 1),
        ("[1]", None, 1),
        ('```json\n{"a": 1}\n```', ["a"], 1),
        ('{"a": 1}', ["a", "b"], 0),
        ("[1]", ["a"], 0),
        ("{'a': 1}", None, 0),
        ("NaN", None, 0),
        ('Here: {"a": 1}', None, 0),
        ("[" * 100_000, None, 0),
        ("", None, 0),
    ],
)
def test_json(completion, keys, expected, rewarded):
    assert rewarded({"name": "json"} | ({"keys": keys} if keys else {}), completion) == [expected]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("[0, 0, 10, 10]", 1),
        ("<answer>(5, 0, 15, 10)</answer>", 1 / 3),
        ("first [90, 90, 99, 99], then [0.0, 0, 10, 5]", 0.5),
        ("[10, 10, 20, 20]", 0),
        ("[10, 10, 0, 0]", 0),
        ("[-5, 0, 5, 10]", 1 / 3),
        ("0, 0, 10, 10", 0),
        ("", 0),
    ],
)
def test_iou(completion, expected, rewarded):
    for answer in ([0, 0, 10, 10], "[0, 0, 10.0, 10]"):
        assert rewarded("iou", completion, answer=[answer]) == [pytest.approx(expected)]
    reaches = float(expected >= 0.5)
    assert rewarded({"name": "iou", "threshold": 0.5}, completion, answer=[[0, 0, 10, 10]]) == [reaches]


@pytest.mark.parametrize("answer", ["a cat", [1, 2, 3], [0, 0, "x", 1], [0, 0, float("nan"), 1], [5, 5, 5, 9], 7])
def test_iou_refuses_an_answer_that_is_no_box(answer, rewarded):
    with pytest.raises(
        ValueError, match=r"rewards\[0\] \(iou\): the answer of completion 0 is no box: .*x1, y1, x2, y2"
    ):
        rewarded("iou", "[0, 0, 1, 1]", answer=[answer])


def test_length(rewarded):
    entry = {"name": "length", "min_length": 2, "max_length": 3}
    assert rewarded(entry, *"abcd", ids=[[1], [1] * 2, [1] * 3, [1] * 4]) == [0, 1, 1, 0]
    assert rewarded({"name": "length", "min_length": 2}, *"ab", ids=[[1], [1] * 9999]) == [0, 1]


def test_repetition(rewarded):
    ids = [[1, 2, 3, 4], [5, 5, 5, 5, 5], [1, 2], []]
    assert rewarded({"name": "repetition", "ngram": 2}, *"abcd", ids=ids) == [0, -0.75, 0, 0]
    assert rewarded("repetition", "a", ids=[[1, 2, 3] * 3]) == [pytest.approx(3 / 7 - 1)]


def test_overlong_is_the_penalty_of_the_policy_room(rewarded):
    import torch

    ids = [[0] * length for length in (0, 80, 81, 90, 100, 150)]
    expected = overlong_penalty(torch.tensor([len(row) for row in ids]), max_length=100, cache=20).tolist()
    for cache in ({"cache": 20}, {}):  # a fifth by itself
        entry = {"name": "overlong", "max_length": 100} | cache
        assert rewarded(entry, *"abcdef", ids=ids) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "entry", [{"name": "length", "max_length": 3}, {"name": "overlong", "max_length": 3}, "repetition"]
)
def test_what_counts_tokens_says_that_it_needs_them(entry, rewarded):
    with pytest.raises(ValueError, match=r"rewards\[0\] .*: it needs completion_ids, the tokens of each completion"):
        rewarded(entry, "a")


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("<think>t</think> it is 15 <answer>15</answer>", "15", 1.0),
        ("<think>t</think>\n<answer>15</answer>", "15", 0.5),
        ("<think>t</think> so <answer>B</answer>", " b ", 1.0),
        ("<think>t</think> so <answer>15.0</answer>", "15", 1.0),
        ("<think>t</think> so <answer>16</answer>", "15", 0.0),
        ("<answer>15</answer> or <answer>16</answer>", "16", 0.0),
        ("15", "15", 1.0),
        ("it is 15", "15", 0.0),
        ("<think>t</think> so <answer>1\n5</answer>", "15", 0.0),
    ],
)
def test_r1v(completion, answer, expected, rewarded):
    assert rewarded("r1v", completion, answer=answer) == [expected]


@pytest.mark.parametrize("name", [name for name, spec in REWARDS.items() if spec.columns])
def test_a_row_without_an_answer_is_left_out(name, rewarded):
    assert rewarded(name, "a", answer=[None]) == [None]
