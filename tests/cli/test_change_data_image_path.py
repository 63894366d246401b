# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/change_data_image_path.py`: the bytes of Uni-DPO's script where that works, a clear word elsewhere."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "change_data_image_path.py"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "new" / "MM-RLHF" / "long").mkdir(parents=True)
    for name in ("1.jpg", "2 ü.jpg"):
        (tmp_path / "new" / "MM-RLHF" / "long" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return stop.value.code if isinstance(stop.value.code, int) else 2


def as_the_original(rows: list[dict[str, Any]], image_dir: str) -> str:
    """What the script of the Uni-DPO repository writes: see its README, and its output for one row of each kind."""
    moved = [
        {**row, "images": [os.path.join(image_dir, p.rpartition("MM-RLHF")[2].lstrip("/")) if "MM-RLHF" in p else p
                           for p in row["images"]]} if isinstance(row.get("images"), list) else row
        for row in rows
    ]  # fmt: skip
    return json.dumps(moved, ensure_ascii=False, indent=4)


ROWS = [
    {"instruction": "<image>é 图\n", "score_chosen": 4.5, "images": ["/old/MM-RLHF/long/1.jpg"]},
    {"instruction": "two", "images": ["/old/MM-RLHF/long/1.jpg", "MM-RLHF//long/2 ü.jpg"], "nested": {"a": [1, None]}},
    {"instruction": "elsewhere", "images": ["/old/others/1.jpg"]},
    {"instruction": "not there", "images": ["/old/MM-RLHF/MM-RLHF/long/none.jpg"]},
    {"instruction": "none", "images": []},
    {"instruction": "no images"},
]


@pytest.mark.parametrize("image_dir", ["new/MM-RLHF", "new/MM-RLHF/", "{here}/new/MM-RLHF", "new"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []], ids=["all", "one", "none"])
def test_the_same_bytes(
    here: Path, monkeypatch: pytest.MonkeyPatch, image_dir: str, rows: list[dict[str, Any]]
) -> None:
    image_dir = image_dir.format(here=here)
    Path("in.json").write_text(json.dumps(rows))
    assert run(monkeypatch, "--input_file", "in.json", "--image_dir", image_dir, "--output_file", "out.json") == 0
    assert Path("out.json").read_text(encoding="utf-8") == as_the_original(rows, image_dir)
    assert Path("in.json").read_text() == json.dumps(rows)


def test_in_place_keeps_a_backup(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    Path("in.json").write_text(json.dumps(ROWS))
    assert run(monkeypatch, "--input_file", "in.json", "--image_dir", "new/MM-RLHF") == 0
    assert Path("in.json").read_text(encoding="utf-8") == as_the_original(ROWS, "new/MM-RLHF")
    assert Path("in.json.bak").read_text() == json.dumps(ROWS)
    captured = capsys.readouterr()
    assert "6 entries, 4 image paths changed, 1 not" in captured.out
    assert "Saved to in.json; as it was: in.json.bak" in captured.out
    assert "row 2, images[0]: /old/others/1.jpg: not found; has no folder 'MM-RLHF'" in captured.err
    assert "there is no new/MM-RLHF/long/none.jpg" in captured.err


# What Uni-DPO's script does not handle: input, image_dir, exit code, what is said, the images afterwards.
BEYOND: list[tuple[str, str, str, int, str, list[Any] | None]] = [
    ("a.jsonl", '{"images": ["/x/MM-RLHF/long/1.jpg"]}\n', "new/MM-RLHF", 0, "1 image paths changed",
     [["new/MM-RLHF/long/1.jpg"]]),
    ("a.json", r'[{"images": ["C:\\x\\MM-RLHF\\long\\1.jpg"]}]', "new/MM-RLHF", 0, "1 image paths changed",
     [["new/MM-RLHF/long/1.jpg"]]),
    ("a.json", '[{"images": "/x/MM-RLHF/long/1.jpg"}]', "new/MM-RLHF", 0, "1 image paths changed",
     ["new/MM-RLHF/long/1.jpg"]),
    ("a.json", '[{"images": ["/x/MM-RLHF/long/1.jpg", null]}]', "new/MM-RLHF", 0, "1 image paths changed",
     [["new/MM-RLHF/long/1.jpg", None]]),
    ("a.json", '[{"images": ["/x/MM-RLHF_v2/1.jpg"]}]', "new/MM-RLHF", 0, "has no folder 'MM-RLHF'",
     [["/x/MM-RLHF_v2/1.jpg"]]),
    ("a.json", '[{"images": ["/x/MM-RLHF/../../1.jpg"]}]', "new/MM-RLHF", 1, "leads out of new/MM-RLHF",
     [["/x/MM-RLHF/../../1.jpg"]]),
    ("a.json", '[{"images": [3]}]', "new/MM-RLHF", 1, "images[0]: 3: is no path but int", [[3]]),
    ("a.json", '[{"images": ["/x/MM-RLHF/long/1.jpg"]}]', "new", 0, "did you mean new/MM-RLHF?", [["new/long/1.jpg"]]),
    ("a.json", '[{"pictures": ["/x/MM-RLHF/long/1.jpg"]}]', "new/MM-RLHF", 0, "0 image paths changed", None),
    ("a.json", '{"images": ["/x/MM-RLHF/long/1.jpg"],\n "b": 1}', "new/MM-RLHF", 0, "1 image paths changed", None),
    ("a.json", '{\n"data": []}', "new/MM-RLHF", 1, "one JSON object where a list of rows is needed", None),
    ("a.json", '[{"images": [', "new/MM-RLHF", 1, "a.json, row 0 (line 1", None),
    ("a.json", "[]", "nowhere", 1, "--image_dir nowhere: no such folder", None),
    ("b.txt", "", "new/MM-RLHF", 1, "a.json: no such file", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "image_dir", "code", "message", "images"), BEYOND)
def test_beyond_the_original(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output,
    name: str, text: str, image_dir: str, code: int, message: str, images: list[Any] | None,
) -> None:  # fmt: skip
    Path(name).write_text(text)
    source = name if name != "b.txt" else "a.json"
    out = "out" + Path(source).suffix
    assert run(monkeypatch, "--input_file", source, "--image_dir", image_dir, "--output_file", out) == code
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    if images is not None:
        lines = Path(out).read_text()
        rows = [json.loads(line) for line in lines.splitlines()] if out.endswith("l") else json.loads(lines)
        assert [row["images"] for row in rows] == images


def test_another_output_that_is_there_stays_beside_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.json").write_text(json.dumps(ROWS))
    Path("out.json").write_text("precious")
    arguments = ("--input_file", "in.json", "--image_dir", "new/MM-RLHF", "--output_file", "out.json")
    for _ in range(2):  # the second time it writes the same bytes
        assert run(monkeypatch, *arguments) == 0
        assert Path("out.json").read_text(encoding="utf-8") == as_the_original(ROWS, "new/MM-RLHF")
        assert Path("out.json.bak").read_text() == "precious" and not Path("out.json.orig").exists()
