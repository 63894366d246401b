# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Flags on rows: their file, whose they are, and what `data check --fix` and `score-filter` do with them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resonance.cli.main import main
from resonance.datafiles.flags import Flag, LostFlags, append, flags_file, placed, read_flags, row_hash, swapped
from resonance.datafiles.read import read_rows
from resonance.datafiles.write import write_rows

COLUMNS = {name: name for name in ("chosen", "rejected", "score_chosen", "score_rejected")}


def pair(number: int, **more: Any) -> dict[str, Any]:
    scores = {"score_chosen": 4.0, "score_rejected": 1.0 + number % 3}
    return {"instruction": f"What is {number}?", "chosen": f"It is {number}.", "rejected": "No idea."} | scores | more


def flag(path: Path, row: Any, reason: str | None, number: int = 0, note: str = "") -> None:
    append(path, Flag(number, "pairs.json", row_hash(row), reason, note))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with six pairs, and flags on rows 1 (swap), 2 and 4."""
    rows = [pair(number) for number in range(6)]
    write_rows(tmp_path / "pairs.json", rows, indent=2)
    flags = flags_file(tmp_path / "pairs.json")
    for number, reason, note in ((1, "swap", ""), (2, "bad_pair", "both right"), (4, "wrong_image", "")):
        flag(flags, rows[number], reason, number, note)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_last_flag_of_a_row_wins_and_none_takes_it_away(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.flags.jsonl", [pair(0), pair(1)]
    flag(path, rows[0], "bad_pair")
    flag(path, rows[1], "other")
    flag(path, rows[0], "swap", note="look\nagain")
    flag(path, rows[1], None)
    (found,) = read_flags(path).values()
    assert (found.flag, found.note, found.hash) == ("swap", "look\nagain", row_hash(rows[0]))
    assert len(path.read_text().splitlines()) == 4
    assert json.loads(path.read_text().splitlines()[0]).keys() == {"row", "file", "hash", "flag", "note", "time"}


def test_a_line_that_an_editor_left_open_does_not_swallow_the_next_flag(tmp_path: Path) -> None:
    path = tmp_path / "a.flags.jsonl"
    flag(path, pair(0), "other")
    path.write_text(path.read_text().rstrip("\n"))
    flag(path, pair(1), "other")
    assert len(read_flags(path)) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"row": 1, "flag": "swap"}', "line 1: is no flag but {'row': 1"),
        ('{"hash": "00", "flag": 3}', "line 1: `flag` is 3; a word or null is needed"),
        ("7", "line 1: is no flag but 7"),
        ('{"hash": ', "not valid JSON"),
    ],
)
def test_a_line_that_is_no_flag_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "a.flags.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError) as error:
        read_flags(path)
    assert told in str(error.value) and str(path) in str(error.value)


def test_flags_follow_their_rows_to_other_places_and_formats(here: Path) -> None:
    rows = [row for _, row in read_rows("pairs.json")]
    assert {number: each.flag for number, each in placed(Path("pairs.json.flags.jsonl"), [Path("pairs.json")])[
        "pairs.json"].items()} == {1: "swap", 2: "bad_pair", 4: "wrong_image"}  # fmt: skip
    write_rows("moved.jsonl", reversed(rows))
    found = placed(Path("pairs.json.flags.jsonl"), [Path("moved.jsonl")])
    assert {number: each.flag for number, each in found["moved.jsonl"].items()} == {
        4: "swap", 3: "bad_pair", 1: "wrong_image"}  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), "moved.parquet")
    assert sorted(placed(Path("pairs.json.flags.jsonl"), [Path("moved.parquet")])["moved.parquet"]) == [1, 2, 4]


def test_a_row_that_was_changed_has_no_flag_and_is_named(here: Path) -> None:
    rows = [row for _, row in read_rows("pairs.json")]
    write_rows("pairs.json", [*rows[:2], rows[2] | {"chosen": "It is two."}, *rows[3:]])
    with pytest.raises(
        LostFlags, match=r"1 flag without a row: row 2 \(bad_pair\)\. These rows were changed or taken"
    ):
        placed(Path("pairs.json.flags.jsonl"), [Path("pairs.json")])


def test_rows_with_bytes_have_a_hash() -> None:
    assert row_hash({"images": [{"bytes": b"one"}]}) != row_hash({"images": [{"bytes": b"two"}]})
    assert row_hash({"a": 1, "b": "\ud800"}) == row_hash({"b": "\ud800", "a": 1})


def test_a_swap_exchanges_answers_and_scores_and_turns_the_margin() -> None:
    columns = {**COLUMNS, "margin": "gap"}
    row = {"chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 3, "gap": -2, "id": 7}
    found = swapped(row, columns)
    assert found == {"chosen": "b", "rejected": "a", "score_chosen": 3, "score_rejected": 1, "gap": 2, "id": 7}
    assert swapped(found, columns) == row


def test_check_fix_leaves_flagged_rows_out_and_turns_pairs_round(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for _, row in read_rows("pairs.json")]
    command = "data check pairs.json --dataset-dir . --fix clean.json --flags pairs.json.flags.jsonl"
    assert main(command.split()) == 0
    out = capsys.readouterr().out
    assert "clean.json: 4 rows, 1 of them mended (1 swapped by a flag)" in out
    assert "clean.dropped.jsonl: 2 rows left out (1 flagged bad_pair, 1 flagged wrong_image)" in out
    clean = json.loads(Path("clean.json").read_text())
    assert clean == [rows[0], swapped(rows[1], COLUMNS), rows[3], rows[5]]
    assert clean[1]["chosen"] == "No idea." and clean[1]["score_chosen"] == 2.0 and clean[1]["score_rejected"] == 4.0
    (bad, _) = [json.loads(line) for line in Path("clean.dropped.jsonl").read_text().splitlines()]
    assert bad["row"] == 2 and bad["problems"] == [{"kind": "flagged bad_pair", "message": "both right"}]
    assert main(["data", "check", "."]) in (0, 1)
    assert "flags.jsonl" not in capsys.readouterr().out  # no data set


def test_check_refuses_flags_that_cannot_be_followed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fix = "data check {} --dataset-dir . --fix clean.json --flags {}"
    assert main("data check pairs.json --dataset-dir . --flags pairs.json.flags.jsonl".split()) == 2
    assert "--flags is for --fix.\nNext: resonance data check" in capsys.readouterr().err
    assert main(fix.format("pairs.json", "none.flags.jsonl").split()) == 2
    assert "none.flags.jsonl: no such file; `resonance data view` writes NAME.flags.jsonl" in capsys.readouterr().err
    write_rows("fewer.json", [pair(number) for number in (0, 1, 2)])
    assert main(fix.format("fewer.json", "pairs.json.flags.jsonl").split()) == 2
    told = capsys.readouterr().err
    assert "1 flag without a row: row 4 (wrong_image)" in told
    assert "Next: resonance data view fewer.json --dataset-dir . --flags pairs.json.flags.jsonl, which lists" in told
    answers = [{"instruction": "2 + 2?", "output": "4"}]
    write_rows("answers.json", answers)
    flag(Path("answers.flags.jsonl"), answers[0], "swap")
    assert main(fix.format("answers.json", "answers.flags.jsonl").split()) == 2
    assert "only pairs can be swapped" in capsys.readouterr().err
    assert not Path("clean.json").exists()


def test_score_filter_drops_flagged_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "data score-filter pairs.json --dataset-dir . -o some.json --flags pairs.json.flags.jsonl"
    assert main(shlex.split(command)) == 0
    text = capsys.readouterr().out
    assert "-> some.json: 3 pairs kept, 3 dropped by flags (1 swap, 1 bad_pair, 1 wrong_image)" in text
    assert [row["instruction"] for row in json.loads(Path("some.json").read_text())] == [
        "What is 0?", "What is 3?", "What is 5?"]  # fmt: skip
    assert main(shlex.split(f"{command} --force --min-margin 2")) == 0
    assert "2 pairs kept, 1 dropped (margin below 2), 3 dropped by flags" in capsys.readouterr().out
    assert main("data score-filter pairs.json --dataset-dir . -o other.json".split()) == 2
    assert "give --min-margin M, --flags FILE or both" in capsys.readouterr().err


def test_a_flagged_row_need_not_have_scores(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pair(0), pair(1, score_chosen=None), pair(2)]
    write_rows("gap.json", rows)
    flag(Path("gap.flags.jsonl"), rows[1], "bad_pair", 1)
    command = "data score-filter gap.json --dataset-dir . --columns score_chosen score_rejected -o out.json"
    assert main([*command.split(), "--min-margin", "0", "--flags", "gap.flags.jsonl"]) == 0
    assert "2 pairs kept" in capsys.readouterr().out
