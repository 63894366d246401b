# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/convert_jsonl_to_llamafactory.py` of Uni-DPO and `scripts/prepare_dataset.py` of the Qwen3-VL pipeline."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from importers.case import picture, write

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
Said = pytest.CaptureFixture[str]


def run(name: str, *arguments: object) -> int:
    main = runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]
    return main([str(argument) for argument in arguments])


def convert(*arguments: object) -> int:
    return run("convert_jsonl_to_llamafactory", *arguments)


def maths(question: str, system: str | None = SYSTEM, **changes: Any) -> dict[str, Any]:
    """A row of Uni-DPO's `Train_Qwen_2_5_math_7B.jsonl`."""
    opening = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    row = {
        "prompt": f"{opening}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
        "chosen": "So it is \\boxed{2}. é",
        "rejected": "So it is \\boxed{3}.",
        "score_chosen": 9.5,
        "score_rejected": 1.25,
        "score_margin": 8.25,
        "correct_chosen": True,
        "correct_rejected": False,
        "score_margin_normalized": 0.3,
    }
    return row | changes


def as_the_original(question: str, system: str = SYSTEM) -> dict[str, Any]:
    """What Uni-DPO's script makes of it: the keys in this order, nothing else."""
    row = maths(question)
    kept = {key: row[key] for key in ("chosen", "rejected", "score_chosen", "score_rejected")}
    return {"system": system, "instruction": question, **kept}


def test_the_same_text_as_the_original_beside_the_input(tmp_path: Path, capsys: Said) -> None:
    source = write(tmp_path / "Train_Qwen.jsonl", [maths("1 + 1?"), maths("2 + 0?\nIn two lines.")])
    assert convert(source) == 0
    output = tmp_path / "Train_Qwen_llama_factory.json"
    expected = [as_the_original("1 + 1?"), as_the_original("2 + 0?\nIn two lines.")]
    assert output.read_text(encoding="utf-8").rstrip("\n") == json.dumps(expected, ensure_ascii=False, indent=2)
    assert capsys.readouterr().out == (
        f"2 rows written to {output}, 0 left out\nNext: resonance data register {output}\n"
    )


@pytest.mark.parametrize(
    "row, expected",
    [
        (maths("What is <|im_sep|>?"), as_the_original("What is <|im_sep|>?")),  # the original stops at `<|im`
        (maths("What is user\n<|im_end|>?"), as_the_original("What is user\n<|im_end|>?")),
        (maths("1 + 1?", "Be brief."), as_the_original("1 + 1?", "Be brief.")),  # the original exchanges it
        (maths("1 + 1?", None), as_the_original("1 + 1?")),
    ],
    ids=["a token in the text", "the end token in the text", "another system turn", "no system turn"],
)
def test_where_the_original_goes_wrong(row: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "out" / "pairs.json"
    assert convert(write(tmp_path / "in.jsonl", [row]), "--output_file", output) == 0
    assert json.loads(output.read_text(encoding="utf-8")) == [expected]


def test_the_system_turn_of_prompts_that_have_none(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [maths("1 + 1?", None), maths("1 + 1?", "Own.")])
    assert convert(source, "--system", "Think.") == 0
    rows = json.loads((tmp_path / "in_llama_factory.json").read_text())
    assert [row["system"] for row in rows] == ["Think.", "Own."]


def test_bad_lines_are_all_named_and_the_others_written(tmp_path: Path, capsys: Said) -> None:
    two_questions = maths("1 + 1?")["prompt"] + "2<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
    bad = [
        ('{"prompt": ', "line 2 is not valid JSON (Expecting value: line 1 column 11 (char 10))"),
        (maths("1 + 1?", prompt="1 + 1?"), "the prompt is no ChatML text (it starts with '1 + 1?')"),
        (maths("1 + 1?", prompt=two_questions), "more than one question (3 turns; an alpaca row holds one question)"),
        (maths("1 + 1?", score_chosen=None), "score_chosen is not a number (None)"),
        (maths("1 + 1?", rejected=""), "empty rejected text"),
        ([1], "not an object (list)"),
    ]
    source = write(tmp_path / "in.jsonl", [maths("1 + 1?"), *[row for row, _ in bad], maths("2 + 2?")])
    assert convert(source) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"{source}, row {number}: {why}" for number, (_, why) in enumerate(bad, 1)]
    assert said.out.startswith(f"2 rows written to {tmp_path / 'in_llama_factory.json'}, {len(bad)} left out\n")
    assert len(json.loads((tmp_path / "in_llama_factory.json").read_text())) == 2


@pytest.mark.parametrize("there", [True, False], ids=["none is usable", "no such file"])
def test_an_older_output_stays_where_nothing_can_be_written(tmp_path: Path, capsys: Said, there: bool) -> None:
    older = tmp_path / "in_llama_factory.json"
    older.write_text("[]")
    if there:
        write(tmp_path / "in.jsonl", [{"prompt": "x"}])
    assert convert(tmp_path / "in.jsonl") == 1
    what = f"no row of {tmp_path / 'in.jsonl'} can be used; {older} was not written" if there else "no such file"
    assert what in capsys.readouterr().err
    assert older.read_text() == "[]"
    assert {path.name for path in tmp_path.iterdir()} <= {"in.jsonl", "in_llama_factory.json"}


def test_lines_where_lines_are_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [maths("1 + 1?"), maths("2 + 0?")])
    assert convert(source, "--output_file", tmp_path / "out.jsonl") == 0
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [as_the_original("1 + 1?"), as_the_original("2 + 0?")]


def test_the_input_is_not_written_over(tmp_path: Path, capsys: Said) -> None:
    source = write(tmp_path / "in.jsonl", [maths("1 + 1?")])
    before = source.read_bytes()
    assert convert(source, "--output_file", tmp_path / "." / "in.jsonl") == 1
    assert "in.jsonl: is the input" in capsys.readouterr().err and source.read_bytes() == before


def test_topic_overwrite_becomes_sharegpt_pairs_with_jpegs(tmp_path: Path, capsys: Said) -> None:
    raw = [
        {"image": {"bytes": picture(number), "path": None}, "question": "What?", "chosen": "A.", "rejected": "B."}
        for number in range(3)
    ]
    source, out = write(tmp_path / "train.parquet", raw), tmp_path / "data"
    assert run("prepare_dataset", "--input", source, "--output_dir", out, "--limit", 2) == 0
    rows = json.loads((out / "topic_overwrite.json").read_text())
    assert len(rows) == 2
    for number, row in enumerate(rows):
        assert row["conversations"] == [{"from": "human", "value": "<image>What?"}]
        assert (row["chosen"], row["rejected"]) == ({"from": "gpt", "value": "A."}, {"from": "gpt", "value": "B."})
        with Image.open(out / row["images"][0]) as image:
            assert (image.format, image.size) == ("JPEG", (56, 56))
            assert abs(image.getpixel((0, 0))[0] - number * 40) < 4
    assert list(json.loads((out / "dataset_info.json").read_text())) == ["topic_overwrite"]

    assert run("prepare_dataset", "--input", source, "--output_dir", out) == 1
    assert "topic_overwrite.json exists: --force replaces it" in capsys.readouterr().err
    assert run("prepare_dataset", "--input", source, "--output_dir", out, "--force", "--restart") == 0
    assert len(json.loads((out / "topic_overwrite.json").read_text())) == 3


def test_topic_overwrite_comes_from_the_hub_if_no_input_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    import datasets

    asked = []

    def load_dataset(*arguments: Any, **settings: Any) -> None:
        asked.append((arguments, settings))
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert run("prepare_dataset", "--output_dir", tmp_path / "data") == 1
    ((arguments, settings),) = asked
    assert arguments == ("helehan/topic-overwrite",)
    assert (settings["split"], settings["streaming"]) == ("train", True)
    assert "hf download --repo-type dataset helehan/topic-overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["change_data_image_path", "convert_jsonl_to_llamafactory", "prepare_dataset"])
def test_without_the_package_a_script_says_what_to_install(tmp_path: Path, name: str) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / f"{name}.py"
    code = f"import runpy, sys; sys.modules['resonance'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("; run this first, in the checkout: pip install .\n")


def test_the_startup_benchmark_explains_itself() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_startup.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "usage: benchmark_startup.py" in done.stdout
