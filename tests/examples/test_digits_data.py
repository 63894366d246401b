# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The demo data: it can be made again to the byte, no set sees another's pictures, scores follow their rubric."""

from __future__ import annotations

import filecmp
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
PAIR_SETS = ("digits_pref", "digits_heldout")
SETS = ("digits_sft", *PAIR_SETS, "digits_rl")
RM_SETS = {"digits_rm": ("digits_sft", "digits_pref"), "digits_rm_heldout": ("digits_heldout",)}  # on whose pictures
PROMPT_SETS = tuple(f"{name}_prompts" for name in PAIR_SETS)  # on the pictures of the pairs


def rows(name: str) -> list[dict[str, Any]]:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def pictures(name: str) -> set[str]:
    return {path for row in rows(name) for path in row["images"]}


def text(row: dict[str, Any]) -> str:
    if "messages" in row:
        return "".join(turn["content"] for turn in row["messages"])
    return row["instruction"] if "instruction" in row else row["prompt"]


def test_data_can_be_made_again_to_the_byte(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_digits_data.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = [path.relative_to(DATA) for path in DATA.rglob("*.png")]
    committed += [Path(f"{name}.json") for name in (*SETS, *RM_SETS, *PROMPT_SETS)]
    assert made == sorted(committed)
    _, different, unreadable = filecmp.cmpfiles(tmp_path, DATA, [str(path) for path in made], shallow=False)
    assert (different, unreadable) == ([], [])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("digits_sft", 240),
        ("digits_pref", 400),
        ("digits_heldout", 160),
        ("digits_rl", 997),
        ("digits_rm", 3840),
        ("digits_rm_heldout", 960),
    ],
)
def test_every_row_has_one_placeholder_and_one_real_picture(name: str, size: int) -> None:
    assert len(rows(name)) == size
    for row in rows(name):
        assert text(row).count("<image>") == len(row["images"]) == 1
        with Image.open(DATA / row["images"][0]) as picture:
            assert (picture.format, picture.size) == ("PNG", (56, 56))
            darkest, brightest = picture.convert("L").getextrema()
            assert darkest < 64 < 192 < brightest


def test_no_picture_is_in_two_sets_neither_by_name_nor_by_content() -> None:
    seen: dict[str, str] = {}
    for name in SETS:
        contents = {hashlib.sha256((DATA / path).read_bytes()).hexdigest() for path in pictures(name)}
        assert len(contents) == len(pictures(name)) == len(rows(name))
        for content in contents:
            assert content not in seen, f"{name} and {seen[content]} share a picture"
            seen[content] = name


@pytest.mark.parametrize("name", RM_SETS)
def test_pairs_for_a_reward_model_are_on_these_pictures_six_each_with_different_wrong_digits(name: str) -> None:
    assert pictures(name) == {path for of in RM_SETS[name] for path in pictures(of)}
    wrong: dict[str, set[str]] = {}
    for row in rows(name):
        if row["score_chosen"] - row["score_rejected"] == 3:  # they differ in the digit alone
            wrong.setdefault(row["images"][0], set()).update(filter(str.isdigit, row["rejected"]))
    assert len(rows(name)) == 6 * len(wrong) and {len(digits) for digits in wrong.values()} == {5}


def test_prompts_for_rewards_have_the_digit_that_scikit_learn_says_it_is_and_all_pictures_are_used() -> None:
    from sklearn.datasets import load_digits

    truth = load_digits().target
    used = {int(Path(path).stem) for name in SETS for path in pictures(name)}
    assert used == set(range(len(truth)))
    for row in rows("digits_rl"):
        assert set(row) == {"prompt", "answer", "images"}
        assert row["answer"] == str(truth[int(Path(row["images"][0]).stem)])
    assert {row["answer"] for row in rows("digits_rl")} == set("0123456789")


def test_the_whole_demo_data_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize("name", PAIR_SETS)
def test_prompts_are_the_questions_of_the_pairs_with_the_digit(name: str) -> None:
    for prompt, pair in zip(rows(f"{name}_prompts"), rows(name), strict=True):
        assert set(prompt) == {"prompt", "answer", "images"}
        assert (prompt["prompt"], prompt["images"]) == (pair["instruction"], pair["images"])
        right = pair["score_chosen"] >= 3  # of two wrong answers the better one has at most 2
        assert (prompt["answer"] in pair["chosen"]) == right


@pytest.mark.parametrize("name", (*PAIR_SETS, *RM_SETS))
def test_scores_are_numbers_from_0_to_5_and_prefer_the_chosen_answer(name: str) -> None:
    for row in rows(name):
        scores = row["score_chosen"], row["score_rejected"]
        assert all(isinstance(score, float) and math.isfinite(score) and 0 <= score <= 5 for score in scores)
        assert row["score_chosen"] > row["score_rejected"]
        assert row["chosen"] != row["rejected"]


@pytest.mark.parametrize("name", (*PAIR_SETS, *RM_SETS))
def test_scores_follow_the_rubric_for_the_digit_that_scikit_learn_says_it_is(name: str) -> None:
    from sklearn.datasets import load_digits

    truth = load_digits().target
    for row in rows(name):
        right = str(truth[int(Path(row["images"][0]).stem)])
        for answer, score in ((row["chosen"], row["score_chosen"]), (row["rejected"], row["score_rejected"])):
            wording = 2.0 if answer.startswith("The digit is") else 1.0 if len(answer) == 1 else 0.0
            assert score == 3.0 * (right in answer) + wording, row
            assert (score >= 2.5) == (right in answer), "tau_good 2.5 tells right answers from wrong ones"


def test_most_heldout_pairs_can_only_be_judged_by_the_picture() -> None:
    """Blank out the digits: pairs whose answers then read alike are decided by the digit alone."""

    def blank(answer: str) -> str:
        return "".join("#" if letter.isdigit() else letter for letter in answer)

    visual = [row for row in rows("digits_heldout") if blank(row["chosen"]) == blank(row["rejected"])]
    assert 0.6 < len(visual) / len(rows("digits_heldout")) < 0.8
