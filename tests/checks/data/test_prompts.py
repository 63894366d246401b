# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data check` of prompts for `stage: ppo`."""

from __future__ import annotations

from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "golden" / "trajectory" / "model"
COLUMNS = {"prompt": "problem", "images": "images", "meta": ["answer"]}


def ask(i, text=None, **changes):
    return {
        "problem": text or f"<image>What is picture {i}?",
        "images": [f"images/{i % 4}.png"],
        "answer": str(i),
    } | changes


def verl(i, text=None, truth="7", role="user"):
    return {
        "data_source": "pictures",
        "prompt": [{"role": role, "content": text or f"<image>What is picture {i}?"}],
        "images": [f"images/{i % 4}.png"],
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": i},
    }


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("make", [ask, verl])
def test_sound_prompts_are_sound(folder, make, suffix):
    path = folder.write([make(i) for i in range(4)], f"rl{suffix}", name=None)
    result = folder.check(path, "--strict")
    assert result.code == 0 and ", prompts; read as its first rows look" in result.out
    assert "0 errors, 0 warnings; 4 rows checked" in result.out


def test_a_registered_set_of_prompts(folder):
    folder.write([ask(i) for i in range(4)], "rl.json", "rl", ranking=False, columns=COLUMNS)
    result = folder.check("rl", "--strict")
    assert result.code == 0 and "rl: alpaca, prompts; entry 'rl'" in result.out


def test_conversations_that_end_with_a_question_are_prompts(folder):
    rows = [{"conversations": [{"from": "human", "value": f"Question {i}?"}]} for i in range(3)]
    rows.append({"conversations": [{"from": "human", "value": " "}]})
    folder.write(rows, "rl.json", "rl", formatting="sharegpt", ranking=False, columns={"messages": "conversations"})
    assert folder.found("rl") == {"no question": [3]}
    rows[1]["conversations"].append({"from": "gpt", "value": "An answer."})
    folder.write(rows, "rl.json", "rl", formatting="sharegpt", ranking=False, columns={"messages": "conversations"})
    assert folder.found("rl")["invalid turns"] == [0, 2, 3], "where one has an answer, the others lack theirs"


def test_what_is_wrong_with_prompts(folder):
    rows = [
        ask(0, answer=None),
        ask(1, answer=" "),
        ask(2, "<image><image>What is it?"),
        ask(3, images=["images/gone.png"]),
        ask(4, "<image>What is it?\nAnswer: 4"),
        ask(5, " ", images=[]),
        ask(6),
        ask(6),
        ask(6, answer="7"),
    ]
    folder.write(rows, "rl.json", "rl", ranking=False, columns=COLUMNS)
    result = folder.check("rl", "--json")
    assert result.by_kind() == {
        "answer missing": [0, 1],
        "placeholder count": [2],
        "image missing": [3],
        "answer in prompt": [4],
        "no question": [5],
        "duplicate row": [7],
        "duplicate prompt": [8],
    }
    told = {problem["row"]: problem["message"] for problem in result.problems}
    assert told[0] == "`answer` is missing or null" and told[1] == "`answer` is empty"
    assert told[4] == "`answer` '4' stands in the prompt"


@pytest.mark.parametrize(
    ("text", "truth", "tells"),
    [
        ("Solve it. <answer>12</answer>", "12", True),
        ("Solve it. <answer>12</answer>", "<answer> 12 </answer>", True),
        (r"Solve it: \boxed{12}", "12", True),
        ("The answer is 12. Explain why.", "12", True),
        ("Ground truth: 12", "12", True),
        ("Answer: A, B or C?", "A", False),
        ("Is 12 more than 7?", "12", False),
        ("The answer is 12.5 at most", "12", False),
        ("Put the answer in \\boxed{}.", "12", False),
    ],
)
def test_an_answer_within_an_object_that_stands_in_its_prompt(folder, text, truth, tells):
    rows = [verl(0, truth="none"), verl(1, f"<image>{text}", truth)]
    assert folder.found(folder.write(rows, "rl.json", None)) == ({"answer in prompt": [1]} if tells else {})


def test_an_object_without_an_answer(folder):
    rows = [verl(0), verl(1, truth=None), verl(2)]
    found = folder.check(folder.write(rows, "rl.json", None), "--json").problems
    assert [(problem["row"], problem["message"]) for problem in found] == [
        (1, "`reward_model.ground_truth` is missing or null")
    ]


def test_meta_names_columns_that_are_there(folder):
    folder.write([ask(0), ask(1)], "rl.json", "rl", ranking=False, columns=COLUMNS | {"meta": ["answr"]})
    (problem,) = folder.check("rl", "--json").problems
    assert (
        problem["kind"] == "column missing"
        and "`meta` names column `answr`, which no row has; did you mean `answer`?" in problem["message"]
    )
    folder.write([ask(0), ask(1)], "rl.json", "rl", ranking=False, columns=COLUMNS | {"meta": "answer"})
    assert "`meta` is 'answer', but a list of columns is needed" in folder.check("rl").out


def test_prompts_over_the_cutoff_are_counted_without_an_answer(folder):
    rows = [verl(i, "<image>" + "What is it? " * (1 + 40 * (i == 1))) for i in range(3)]
    rows[2]["prompt"].append({"role": "assistant", "content": "Long. " * 200})
    path = folder.write(rows, "rl.json", None)
    options = ["--json", "--model", MODEL, "--template", "qwen2_vl", "--cutoff-len", 100]
    folder.register(
        "rl",
        "rl.json",
        formatting="sharegpt",
        ranking=False,
        columns={"messages": "prompt", "images": "images", "meta": ["reward_model"]},
        tags={"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    )
    (problem,) = folder.check(path, *options).problems
    assert (problem["kind"], problem["row"]) == ("too long", 1) and "answer" not in problem["message"]
