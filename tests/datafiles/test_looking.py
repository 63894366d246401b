# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows by position, taken apart, selected and compared: what `resonance data view` shows."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resonance.datafiles.flags import Flag
from resonance.datafiles.parts import Layout
from resonance.datafiles.positions import Positions
from resonance.datafiles.read import WATCH, RowError, read_rows
from resonance.datafiles.rowindex import Query, RowIndex, found_rows
from resonance.datafiles.words import difference
from resonance.datafiles.write import write_rows

ENTRY = {
    "ranking": True,
    "columns": {
        "prompt": "instruction", "system": "system", "history": "history", "chosen": "chosen", "rejected": "rejected",
        "score_chosen": "sc", "score_rejected": "sr", "images": "images",
    },
}  # fmt: skip
ROWS = [
    {"instruction": "Grüße \u2028 {[,", "chosen": "一二三" * number, "rejected": "no", "sc": number, "sr": 1.5}
    for number in range(300)
]


def _csv(path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)


def _arrow(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: write_rows(path, ROWS),
    "indented.json": lambda path: path.write_bytes(
        b"\xef\xbb\xbf\r\n" + json.dumps(ROWS, indent=1, ensure_ascii=False).replace("\n", "\r\n").encode()
    ),
    "b.jsonl": lambda path: write_rows(path, ROWS),
    "marked.jsonl": lambda path: path.write_bytes(
        b"\xef\xbb\xbf" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
    ),
    "c.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=140),
    "d.arrow": _arrow,
    "e.csv": _csv,
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_read_again_by_position(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    rows = Positions(path, lambda number, message: pytest.fail(message))
    streamed = list(rows)
    assert streamed == list(read_rows(path)) and len(rows) == 300
    for place in (299, 0, 139, 140, 1, 200):
        assert rows.read(place) == streamed[place][1]
    assert rows.done == 1.0


def test_lines_that_cannot_be_read_are_left_out_and_numbers_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"chosen": "a"}\n{"chosen": \n{"chosen": "c"}\n')
    index = RowIndex([path], Layout(None)).open()
    assert (len(index), index.unread, index.where(1)) == (2, 1, (path, 2))
    assert "row 1: line 2 is not valid JSON" in index.first_unread and index[1] == {"chosen": "c"}


def test_a_file_that_is_changed_while_it_is_open_is_not_read_by_old_places(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.json", ROWS[:5])
    index = RowIndex([tmp_path / "a.json"], Layout(ENTRY)).open()
    write_rows(tmp_path / "a.json", ROWS[:3])
    with pytest.raises(RowError, match="was changed after it was opened; end the command and start it again"):
        index[4]


def test_select(tmp_path: Path) -> None:
    rows = [
        {"instruction": "One Straße", "chosen": "aaaa", "rejected": "b", "sc": 3, "sr": 1, "source": "x"},
        {"instruction": "Two", "chosen": "aa", "rejected": "bbb", "sc": 1, "sr": 1.5, "source": "y"},
        {"instruction": "Three", "chosen": "a", "rejected": "b" * 9, "sc": None, "sr": 1, "source": "x"},
        {"instruction": "Four", "chosen": "a" * 5, "rejected": "STRASSE", "sc": "9", "sr": 1, "source": None},
    ]
    write_rows(tmp_path / "a.json", rows[:2])
    write_rows(tmp_path / "b.jsonl", rows[2:])
    index = RowIndex([tmp_path / "a.json", tmp_path / "b.jsonl"], Layout(ENTRY)).open()
    flags = {index.hash(1): Flag(1, "a.json", index.hash(1), "swap")}

    def select(**query: Any) -> list[int]:
        return index.select(Query(**query), flags, {2: [("bad score", "")]})

    assert index.margins[:2].tolist() == [2.0, -0.5] and math.isnan(index.margins[2]) and index.margins[3] == 8.0
    assert select() == [0, 1, 2, 3] and select(down=True) == [3, 2, 1, 0]
    assert select(text="strasse") == [0, 3]
    assert select(low=0) == [0, 3] and select(high=2) == [0, 1] and select(low=-1, high=0) == [1]
    assert select(sort="margin") == [1, 0, 3, 2] and select(sort="margin", down=True) == [3, 0, 1, 2]
    assert select(sort="length") == [1, 0, 3, 2] and select(sort="difference") == [2, 3, 1, 0]
    assert (
        select(source="x") == [0, 2]
        and select(source="gone") == []
        and sorted(index.sources) == ["(others)", "x", "y"]
    )
    assert select(flag="any") == [1] == select(flag="swap") and select(flag="none") == [0, 2, 3]
    assert select(flag="other") == [] and select(problem=True) == [2] and select(problem=False) == [0, 1, 3]
    assert [each[1:] for each in found_rows(index)] == [(0, 0), (1, 1), (0, 2), (1, 3)]
    assert len(RowIndex(index_files := [tmp_path / "a.json", tmp_path / "b.jsonl"], Layout(ENTRY), 3).open()) == 3
    assert RowIndex(index_files, Layout(ENTRY), source="instruction").open().sources.keys() >= {"Two", "Four"}


def test_rows_are_taken_apart() -> None:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    chat = {"formatting": "sharegpt", "columns": {"messages": "m", "kto_tag": "ok", "videos": "v"}, "tags": tags}
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    parts = Layout(chat)(
        {"m": [*asked, {"role": "assistant", "content": "A cat."}], "ok": False, "v": "a.mp4", "id": 7}
    )
    assert parts.turns == [("user", "<image>What?")] and parts.answers[0].text == "A cat." and parts.label is False
    assert parts.media == [("videos", "a.mp4")] and parts.others == [("id", "7")]
    pairs = Layout(ENTRY)(
        {"system": "S", "history": [["q", "a"]], "instruction": "I", "chosen": {"value": "x"}, "rejected": None}
    )
    assert pairs.turns == [("system", "S"), ("user", "q"), ("assistant", "a"), ("user", "I")]
    assert [answer.text for answer in pairs.answers] == ["x", "(missing)"]
    for odd in (None, 7, "text", [1], {}, {"m": 3}, {"m": ["x", {"role": 1}]}, {"chosen": [[]], "history": 3}):
        for entry in (ENTRY, chat, None):
            Layout(entry)(odd)  # whatever a file holds is shown
    assert Layout(None)({"a": 1}).others == [("a", "1")]


@pytest.mark.parametrize(
    ("left", "right", "only_left", "only_right"),
    [
        ("A red cat sits.", "A blue cat sits here.", ["red "], ["blue ", " here"]),
        ("这是一只红色的猫。", "这是一只蓝色的狗。", ["红", "猫"], ["蓝", "狗"]),
        ("one  two\nthree", "one two three", ["  ", "\n"], [" ", " "]),
        ("same", "same", [], []),
        ("", "all", [], ["all"]),
        ("x=1.5", "x=2.5", ["1"], ["2"]),
    ],
)
def test_differences(left: str, right: str, only_left: list[str], only_right: list[str]) -> None:
    sides = difference(left, right)
    assert ["".join(text for text, _ in side) for side in sides] == [left, right]
    assert [text for text, changed in sides[0] if changed] == only_left
    assert [text for text, changed in sides[1] if changed] == only_right


def test_large_texts_are_compared_in_little_time() -> None:
    """A quadratic comparison of these takes minutes."""
    words = [f"word{number * 7919 % 997}{'.' * (number % 11 == 0)}" for number in range(20_000)]
    changed = [*words[:9000], "other", *words[9001:]]
    start = time.process_time()
    sides = difference(" ".join(words), " ".join(changed))
    assert [text for text, only in sides[1] if only] == ["other "]
    shuffled = [word for place in range(0, 20_000, 50) for word in reversed(words[place : place + 50])]
    for one, other in ((" ".join(words), " ".join(shuffled)), ("It is a dog. " * 3000, "It is a cat. " * 3000 + "x")):
        assert ["".join(text for text, _ in side) for side in difference(one, other)] == [one, other]
    assert time.process_time() - start < 10


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_whoever_watches_rows_sees_them_come(tmp_path: Path, kind: str) -> None:
    """Each once, with the part of the file that is read."""
    path = tmp_path / f"a.{kind}"
    rows = {"json": '[{"a": "1"}, {"a": "2"}]', "jsonl": '{"a": "1"}\n{"a": "2"}\n', "csv": "a\n1\n2\n"}
    path.write_text(rows[kind])
    seen: list[tuple[str, float]] = []

    def watch(reading, found):
        for row in found:
            seen.append((reading.path.name, reading.done))
            yield row

    token = WATCH.set(watch)
    try:
        RowIndex([path], Layout(None)).open()
    finally:
        WATCH.reset(token)
    assert [name for name, _ in seen] == [path.name] * 2 and 0 <= seen[0][1] <= seen[1][1] <= 1
