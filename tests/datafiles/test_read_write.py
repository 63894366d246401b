# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows as a stream, and files that are replaced whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resonance.datafiles import json_list
from resonance.datafiles.read import RowError, RowReader, data_files, read_rows
from resonance.datafiles.write import RowWriter, WriteError, back_up, replacing, write_rows

ROWS: list[Any] = [
    {"text": 'line\nend, tab\t, quote ", backslash \\, 图 🎲', "n": 12345678901234567890, "x": -1.5e-7},
    {"nested": [{"a": None}, [], {}, True], "": ""},
    {},
]


def rows_of(path: Path) -> list[Any]:
    return [value for _, value in read_rows(path)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 18])
@pytest.mark.parametrize("indent", [None, 4])
def test_a_json_list_is_the_same_whatever_the_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*ROWS, 1234, 5.25, "s", None, True, [1]], ensure_ascii=False, indent=indent))
    assert rows_of(path) == [*ROWS, 1234, 5.25, "s", None, True, [1]]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_lines_with_either_suffix_blank_lines_and_a_byte_order_mark(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_text("\ufeff\n" + "\n\n".join(json.dumps(row) for row in ROWS) + "\n", encoding="utf-8")
    assert list(read_rows(path)) == list(enumerate(ROWS))


def test_tables(tmp_path: Path) -> None:
    rows = [{"a": i, "image": {"bytes": b"x" * i, "path": None}} for i in range(300)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "rows.parquet")
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("rows.parquet", "stream.arrow", "file.arrow"):
        assert rows_of(tmp_path / name) == rows
    (tmp_path / "rows.csv").write_text('a,b\n1,"two\nlines"\n')
    assert rows_of(tmp_path / "rows.csv") == [{"a": "1", "b": "two\nlines"}]


def test_done_goes_from_nothing_to_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"i": i} for i in range(100)])
    reader = RowReader(path)
    parts = [reader.done for _ in reader]
    assert parts == sorted(parts) and 0 < parts[0] < 0.05 and reader.done == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": 2', r"row 1 \(line 1, column 1\d\): is not valid JSON .Expecting ',' delimiter"),
        ('[{"a": 1},\n {"a": tru}]', r"row 1 \(line 2, column 8\): is not valid JSON .Expecting value"),
        ('[{"a": 1}\n {"a": 2}]', r"row 0 \(line 2, column 2\): '{' where ',' or '\]' is needed"),
        ('[{"a": 1},', r"row 1 \(line 1, column 11\): is not valid JSON .Expecting value"),
        ('[{"a": 1}', r"row 0 .*: the list breaks off"),
        ('[{"a": "x', r"row 0 .*: is not valid JSON .Unterminated string"),
        ("[1] 2", r"text behind the end of the list"),
        ("[1, ]", r"row 1 .*: is not valid JSON .Expecting value"),
    ],
)
def test_a_broken_list_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(RowError, match=message):
        rows_of(path)


def test_a_syntax_error_is_told_without_reading_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"a" 1}, ' + '"' + "x" * 3_000_000 + '"]')
    reader = RowReader(path)
    with pytest.raises(RowError, match="row 0 "):
        list(reader)
    assert reader.done < 0.2


def test_bad_lines_can_be_collected(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n{"a": "\xff"}\n{"a": 4}\n')
    told: list[tuple[int, str]] = []
    assert list(read_rows(path, lambda row, text: told.append((row, text)))) == [(0, {"a": 1}), (3, {"a": 4})]
    assert [row for row, _ in told] == [1, 2]
    assert "line 3 is not valid JSON" in told[0][1] and "line 4" in told[1][1]
    with pytest.raises(RowError, match=r"rows.jsonl, row 1: line 3 is not valid JSON"):
        rows_of(path)


@pytest.mark.parametrize("change", ["grows", "is cut", "is replaced"])
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv", "rows.parquet"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, name: str, change: str) -> None:
    path, other = tmp_path / name, tmp_path / "other"
    rows = [{"a": str(number)} for number in range(5)]
    if path.suffix in (".json", ".jsonl"):
        write_rows(path, rows)
    elif path.suffix == ".csv":
        path.write_text("a\n" + "".join(f"{row['a']}\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    reading = iter(RowReader(path))
    assert next(reading) == (0, {"a": "0"})
    if change == "is replaced":
        other.write_bytes(path.read_bytes())
        os.replace(other, path)
    else:
        os.truncate(path, path.stat().st_size + (4 if change == "grows" else -1))
    with pytest.raises(RowError, match=f"{name}: was changed while it was read; run again"):
        list(reading)
    if change == "is replaced":
        assert [row for _, row in RowReader(path)] == rows


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.md").write_text("x")
    (tmp_path / "rows.parquet").write_text("no table")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(RowError, match=r"files of type \.md are not read"):
        data_files(tmp_path / "rows.md")
    with pytest.raises(RowError, match="no such file"):
        data_files(tmp_path / "absent.json")
    with pytest.raises(RowError, match="cannot be read"):
        rows_of(tmp_path / "rows.parquet")
    with pytest.raises(RowError, match="is not UTF-8"):
        rows_of(tmp_path / "latin.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RowError, match="no data file in this folder"):
        data_files(tmp_path / "empty")
    assert [path.name for path in data_files(tmp_path)] == ["latin.json", "rows.parquet"]


@pytest.mark.parametrize("rows", [[], ROWS])
@pytest.mark.parametrize("indent", [2, 4])
def test_a_written_list_is_json_dumps_own(tmp_path: Path, rows: list[Any], indent: int) -> None:
    for ascii_only in (True, False):
        write_rows(tmp_path / "rows.json", rows, indent=indent, ascii_only=ascii_only)
        assert (tmp_path / "rows.json").read_text() == json.dumps(rows, indent=indent, ensure_ascii=ascii_only)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_written_rows_are_read_again(tmp_path: Path, name: str) -> None:
    assert write_rows(tmp_path / "made" / name, ROWS) == 3
    assert rows_of(tmp_path / "made" / name) == ROWS
    write_rows(tmp_path / name, [{"x": math.inf}])
    assert rows_of(tmp_path / name) == [{"x": math.inf}]
    with pytest.raises(ValueError, match=r"rows are written to \.json or \.jsonl"):
        write_rows(tmp_path / "rows.parquet", ROWS)


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write("new")
        raise KeyError("stop")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["rows.json"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with replacing(link) as file:
        file.write("new")
    assert link.is_symlink() and real.read_text() == "new" and real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "fifo", "folder"])
def test_what_is_in_the_way_of_a_partial_file_is_never_written(tmp_path: Path, kind: str) -> None:
    """A folder from elsewhere can hold it, under a name that one can guess."""
    path, partial, outside = tmp_path / "in" / "rows.json", tmp_path / "in" / ".rows.json.partial", tmp_path / "x"
    path.parent.mkdir()
    outside.write_text("precious")
    make = {
        "link": lambda: partial.symlink_to(outside),
        "dangling": lambda: partial.symlink_to(tmp_path / "new"),
        "hard link": lambda: os.link(outside, partial),
        "fifo": lambda: os.mkfifo(partial),
        "folder": partial.mkdir,
    }
    make[kind]()
    with pytest.raises(WriteError, match=r"cannot write .*/rows.json: .*\.rows.json.partial is in the way"):
        with replacing(path) as file:
            file.write("new")
    assert outside.read_text() == "precious" and not path.exists() and not (tmp_path / "new").exists()
    partial.rmdir() if kind == "folder" else partial.unlink()  # as the command says
    with replacing(path) as file:
        file.write("new")
    assert path.read_text() == "new"


def test_a_link_to_nothing_is_not_written_through(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "new.json")
    with pytest.raises(WriteError, match="link.json: it is a link to .*new.json, which is not there"), replacing(link):
        pass
    assert os.listdir(tmp_path) == ["link.json"]


def test_a_link_under_a_name_that_no_user_chose_is_replaced_itself(tmp_path: Path) -> None:
    path, outside = tmp_path / "info.json", tmp_path / "outside"
    path.write_text("now")
    outside.write_text("precious")
    for name in ("info.json.bak", "info.json.orig"):
        (tmp_path / name).symlink_to(outside)
    back_up(path)
    (tmp_path / "rows.jsonl").symlink_to(outside)
    write_rows(tmp_path / "rows.jsonl", [{"a": 1}], follow=False)
    assert outside.read_text() == "precious" and (tmp_path / "info.json.bak").read_text() == "now"
    assert not (tmp_path / "info.json.bak").is_symlink() and rows_of(tmp_path / "rows.jsonl") == [{"a": 1}]


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".json")
    with replacing(path) as file:
        with pytest.raises(BlockingIOError), replacing(path):
            pass
        file.write("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    with replacing(path) as file:
        file.write("new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 4321, 0o640)


def test_two_writers_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    with replacing(path) as file:
        with pytest.raises(BlockingIOError, match="another process is writing this file"), replacing(path):
            pass
        file.write("first")
    assert path.read_text() == "first"


KILLED = """
import os, signal, sys
from pathlib import Path
import resonance.datafiles.write as write

real = getattr(os, sys.argv[2])
def kill(*args, **kwargs):
    if sys.argv[3] == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], kill)
with write.replacing(sys.argv[1]) as file:
    file.write("new" * 100_000)
"""


@pytest.mark.parametrize(
    ("function", "when", "left"),
    [("fsync", "before", "old"), ("replace", "before", "old"), ("replace", "after", "new" * 100_000)],
)
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path, function: str, when: str, left: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), function, when], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == left
    with replacing(path) as file:
        file.write("next")
    assert path.read_text() == "next" and os.listdir(tmp_path) == ["rows.json"]


def test_the_oldest_and_the_newest_backup_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    for number in range(5):
        path.write_text(str(number))
        assert back_up(path).name == "info.json.bak"
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "info.json": "4",
        "info.json.bak": "4",
        "info.json.orig": "0",
    }


def test_a_backup_that_somebody_else_made_is_not_lost(tmp_path: Path) -> None:
    for name, text in (("a.json", "1"), ("a.json.bak", "mine"), ("b.json", "1"), ("b.json.orig", "theirs")):
        (tmp_path / name).write_text(text)
    for name in ("a.json", "b.json", "b.json"):
        back_up(tmp_path / name)
    assert (tmp_path / "a.json.orig").read_text() == "mine"
    assert (tmp_path / "b.json.orig").read_text() == "theirs"


DEEP = "[" * 100_000 + "]" * 100_000


def nested(depth: int) -> str:
    return '[{"b": ' * (depth // 2) + "1" + "}]" * (depth // 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[{{"a": 1}}, {{"a": {DEEP}}}]', "row 1 (line 1, column 12): maximum recursion depth"),
        (f'[{{"a": 1}}, {{"a": 1{"0" * 5000}}}]', "row 1 (line 1, column 12): Exceeds the limit"),
        (f'{{"a": 1}}\n{DEEP}', "row 1: line 2 is not valid JSON (maximum recursion depth"),
        (f'{{"a": 1}}\n1{"0" * 5000}', "row 1: line 2 is not valid JSON (Exceeds the limit"),
        (f'[{{"a": 1}}, {{"a": {nested(100)}}}]', "row 1 (line 1, column 12): more than 100 lists or objects lie in"),
        (f'{{"a": 1}}\n{{"a": {nested(100)}}}', "row 1: line 2 is not valid JSON (more than 100 lists or objects lie"),
    ],
)
def test_json_that_python_cannot_hold(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(RowError, match=re.escape(f"{path}, {message}")):
        list(read_rows(path))


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_as_deep_as_rows_may_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    wide = {"turns": [{"from": "human", "value": "[{"}] * 200, "deep": json.loads(nested(98))}
    path.write_text(json.dumps([wide] if name == "rows.json" else wide))
    assert rows_of(path) == [wide]


def test_a_csv_row_with_more_cells_than_the_header(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4,5\n6\n")
    with pytest.raises(RowError, match="row 1: has 3 cells, and the header has 2"):
        list(read_rows(path))
    told: list[tuple[int, str]] = []
    rows = list(read_rows(path, lambda row, message: told.append((row, message))))
    assert rows == [(0, {"a": "1", "b": "2"}), (2, {"a": "6", "b": None})]
    assert told == [(1, "has 3 cells, and the header has 2")]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.json", ".b.json", ".cache/c.json", "sub/d.json", "sub/.x.import/rows.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("[]")
    hidden = tmp_path / ".cache"
    assert data_files(tmp_path) == [tmp_path / "a.json", tmp_path / "sub/d.json"]
    assert data_files(hidden) == [hidden / "c.json"]


def test_a_writer_appends_nothing_after_an_empty_list(tmp_path: Path) -> None:
    with replacing(tmp_path / "rows.json") as file:
        RowWriter(file, lines=False).close()
    assert (tmp_path / "rows.json").read_text() == "[]\n"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ('[{"a": 1}, {"a": 2', True),
        ('[{"a": 1}', True),
        ('[{"a": "x', True),
        ('[{"a": tru}]', False),
        ('{"a": 1}\n{"a": ', True),
        ('{"a": tru}\n{"a": 1}\n', False),
    ],
)
def test_a_file_that_seems_cut_off(tmp_path: Path, text: str, cut: bool) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(RowError) as error:
        rows_of(tmp_path / "rows.json")
    assert ("is the file cut off?" in str(error.value)) == cut


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_utf_16_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"rows{suffix}").write_text('[{"a": 1}]', encoding="utf-16")
    with pytest.raises(RowError, match="is UTF-16; save it as UTF-8"):
        rows_of(tmp_path / f"rows{suffix}")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    (tmp_path / "rows.json").write_text("[]")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(RowError, match=r"rows.json: cannot be read \(Permission denied\)"):
        rows_of(tmp_path / "rows.json")


def test_a_folder_with_an_unfinished_import_alone(tmp_path: Path) -> None:
    (tmp_path / ".vqa_rad.import").mkdir()
    for name in ("state.json", "rows.jsonl"):
        (tmp_path / ".vqa_rad.import" / name).write_text("{}")
    with pytest.raises(RowError, match="there is an unfinished import of vqa_rad: give its command again"):
        data_files(tmp_path)
    (tmp_path / "rows.json").write_text("[]")
    assert data_files(tmp_path) == [tmp_path / "rows.json"]
