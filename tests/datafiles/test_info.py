# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an entry is told to be, and how it gets into dataset_info.json."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llamafactory.data.converter import get_dataset_converter
from llamafactory.hparams import DataArguments

from resonance.datafiles.infer import infer_entry
from resonance.datafiles.info import INFO, read_info, register
from resonance.datafiles.read import RowError
from resonance.datafiles.write import write_rows
from resonance.rows.attributes import ScoredDatasetAttr

DATA = Path(__file__).resolve().parents[2] / "data"
PAIR = {"chosen": "good", "rejected": "bad"}
TURNS = [{"from": "human", "value": "<image>What?"}]
CHAT = [{"role": "user", "content": "<image>What?"}]


def infer(tmp_path: Path, *rows: Any, name: str = "rows.json", **given: Any) -> dict[str, Any]:
    write_rows(tmp_path / name, rows)
    return infer_entry(tmp_path / name, tmp_path / "dataset_info.json", given)


def converted(entry: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """The row as LlamaFactory's own converter reads it by that entry."""
    attr = ScoredDatasetAttr("file", entry["file_name"])
    attr.join(entry)
    return get_dataset_converter(attr.formatting, attr, DataArguments(media_dir="."))(row)


def contents(messages: list[dict[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


@pytest.mark.parametrize("name", ["digits_pref", "digits_heldout", "digits_sft"])
def test_the_entries_of_the_demo_data_are_told(name: str) -> None:
    info = DATA / "dataset_info.json"
    entry = infer_entry(DATA / f"{name}.json", info)
    entry.get("tags", {}).pop("system_tag", None)  # the written one leaves it out: the set has no such message
    assert entry == read_info(info)[name]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"instruction": "q", "output": "a"}, {"prompt": "instruction", "response": "output"}),
        (
            {"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["x", "y"]]},
            {
                "prompt": "instruction",
                "query": "input",
                "response": "output",
                "history": "history",
                "system": "system",
            },
        ),
        ({"prompt": "q"} | PAIR, {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
        (
            {"question": "q", "image": "a.png", "rating_chosen": 4, "rating_rejected": 1} | PAIR,
            {"prompt": "question", "score_chosen": "rating_chosen", "score_rejected": "rating_rejected"}
            | {"images": "image", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            {"prompt": "q", "chosen-rating": 4.5, "rejected-rating": 1.0} | PAIR,
            {"prompt": "prompt", "score_chosen": "chosen-rating", "score_rejected": "rejected-rating"}
            | {"chosen": "chosen", "rejected": "rejected"},
        ),
        (
            {"prompt": "q", "response": "a", "label": True},
            {"prompt": "prompt", "response": "response", "kto_tag": "label"},
        ),
        ({"prompt": "q", "response": "a", "label": "cats"}, {"prompt": "prompt", "response": "response"}),
        # pairs as text beside messages, as the textual data of Uni-DPO would have it
        ({"messages": CHAT, "prompt": "q"} | PAIR, {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    ],
)
def test_alpaca(tmp_path: Path, row: dict[str, Any], columns: dict[str, str]) -> None:
    entry = infer(tmp_path, row)
    ranking = {"ranking": True} if "chosen" in columns else {}
    assert entry == {"file_name": "rows.json", "columns": columns} | ranking
    aligned = converted(entry, row)
    assert contents(aligned["_prompt"])[-1].startswith("q")
    assert contents(aligned["_response"])[0] in ("good", "a")


def test_sharegpt_with_default_tags_needs_no_tags(tmp_path: Path) -> None:
    row = {
        "conversations": TURNS,
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
        "images": ["a.png"],
    }
    entry = infer(tmp_path, row, name="rows.jsonl")
    assert entry == {
        "file_name": "rows.jsonl",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"},
    }
    assert contents(converted(entry, row)["_response"]) == ["good", "bad"]


@pytest.mark.parametrize(
    ("turns", "tags"),
    [
        (
            [{"role": "system", "content": "s"}, *CHAT, {"role": "assistant", "content": "a"}],
            {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
            | {"system_tag": "system"},
        ),
        (
            [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}],
            {"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "assistant"}
            | {"system_tag": "system"},
        ),
        (
            [*CHAT, {"role": "function", "content": "f"}, {"role": "tool", "content": "t"}]
            + [{"role": "assistant", "content": "a"}],
            {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
            | {"system_tag": "system", "observation_tag": "tool", "function_tag": "function"},
        ),
    ],
)
def test_tags(tmp_path: Path, turns: list[dict[str, str]], tags: dict[str, str]) -> None:
    row = {"messages": turns}
    entry = infer(tmp_path, row)
    assert entry == {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": tags,
    }
    assert contents(converted(entry, row)["_response"]) == ["a"]


def test_tool_calls_are_of_the_openai_kind(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    turns = [*CHAT, call, {"role": "tool", "content": "t"}, {"role": "assistant", "content": "a"}]
    entry = infer(tmp_path, {"messages": turns})
    assert entry["formatting"] == "openai"
    assert contents(converted(entry, {"messages": turns})["_response"]) == ["a"]


def test_a_single_image_is_read_as_a_list_of_one(tmp_path: Path) -> None:
    for image in ("a.png", {"bytes": b"x", "path": "a.png"}):
        row = {"instruction": "<image>q", "output": "a", "image": image}
        table = pa.Table.from_pylist([row])
        pq.write_table(table, tmp_path / "rows.parquet")
        entry = infer_entry(tmp_path / "rows.parquet", tmp_path / "dataset_info.json")
        assert entry["columns"]["images"] == "image" and converted(entry, row)["_images"] == [image]


def test_columns_that_only_later_rows_have(tmp_path: Path) -> None:
    first, second = {"instruction": "q", "output": "a"}, {"instruction": "q", "output": "a", "images": ["a.png"]}
    assert infer(tmp_path, first, second)["columns"]["images"] == "images"
    assert "images" not in infer(tmp_path, first | {"images": None})["columns"]


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        (
            [{"q": "x", "a": "y"}],
            {},
            r"no column was recognised as prompt or as response .* Columns found: q \(text\)",
        ),
        ([{"q": "x", "a": "y"}], {}, r"Pass --set columns.prompt=NAME --set columns.response=NAME"),
        ([{"q": "x"}], {"columns": {"prompt": "qq"}}, r"no column 'qq', which prompt is to be.* Did you mean q\?"),
        ([{"prompt": "x", "chosen": CHAT, "rejected": CHAT}], {}, r"chosen \(column 'chosen'\) is a list of objects"),
        ([{"messages": CHAT, "chosen": "x", "rejected": "y"}], {}, r"chosen .* is a text, .* a message object"),
        ([{"messages": [{"role": "alien", "content": ""}]}], {}, r"messages have the roles alien"),
        ([{"messages": [{"who": "u", "content": ""}]}], {}, r"a message without 'role' and 'content' \(keys who, co"),
        ([{"messages": [{"role": 1, "content": ""}]}], {}, r"the 'role' of a message is 1"),
        ([{"messages": [{"role": "user", "content": [{"type": "text"}]}]}], {}, r"'content' of a message is a list"),
        ([{"messages": CHAT + [{"role": "human", "content": ""}]}], {}, r"human and user both stand for user_tag"),
        ([], {}, r"holds no rows"),
        ([["x"]], {}, r"row 0: is a list where an object is needed"),
        ([{"prompt": "x", "response": "y"}], {"formatting": "chatml"}, r"formatting is 'chatml'; .* alpaca, sharegpt"),
        ([{"prompt": "x", "response": "y"}], {"ranking": True}, r"recognised as chosen or as rejected"),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, rows: list[Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer(tmp_path, *rows, **given)


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    given = {"columns": {"prompt": "q", "response": None}, "num_samples": 5}
    assert infer(tmp_path, {"q": "x", "a": "y"}, **given) == {
        "file_name": "rows.json",
        "num_samples": 5,
        "columns": {"prompt": "q"},
    }


def test_a_path_within_the_folder_is_relative_to_it(tmp_path: Path) -> None:
    info = tmp_path / "data" / "dataset_info.json"
    for place, written in {"data/in/a.json": "in/a.json", "out/a.json": str(tmp_path / "out" / "a.json")}.items():
        write_rows(tmp_path / place, [{"instruction": "q", "output": "a"}])
        assert infer_entry(tmp_path / place, info)["file_name"] == written


def test_a_folder_as_llamafactory_reads_it(tmp_path: Path) -> None:
    for name in ("a.json", "b.jsonl"):
        write_rows(tmp_path / "set" / name, [{"instruction": "q", "output": "a"}])
    info = tmp_path / "dataset_info.json"
    assert infer_entry(tmp_path / "set", info)["file_name"] == "set"
    (tmp_path / "set" / "images").mkdir()
    with pytest.raises(ValueError, match="one type and nothing else; found a.json, b.jsonl, images"):
        infer_entry(tmp_path / "set", info)


ENTRY = {"file_name": "new.json", "columns": {"prompt": "q"}}
OTHERS = '"b" : {"file_name":"b.json"   },\n\n   "a": {"file_name": "a.json", "note": "\\u00e9 é"}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '{\n  "new": ENTRY\n}\n'),
        ("{}", '{\n  "new": ENTRY\n}'),
        ("{ \n }\n", '{\n  "new": ENTRY\n}\n'),
        ('{"a": {}}', '{"a": {},\n  "new": ENTRY}'),
        ("{\n   " + OTHERS + "\n}\n", "{\n   " + OTHERS + ',\n   "new": ENTRY\n}\n'),
        ('{\r\n\t"a": {}\r\n}\r\n', '{\r\n\t"a": {},\r\n\t"new": ENTRY\r\n}\r\n'),
        ('\ufeff{\n  "a": {}\n}\n', '{\n  "a": {},\n  "new": ENTRY\n}\n'),
    ],
)
def test_register_leaves_every_other_letter(tmp_path: Path, before: str | None, after: str) -> None:
    info = tmp_path / "dataset_info.json"
    if before is not None:
        info.write_bytes(before.encode())
    change = register(info, "new", ENTRY)
    written = info.read_bytes().decode()
    start, end = after.split("ENTRY")
    assert written.startswith(start) and written.endswith(end)
    assert read_info(info)["new"] == ENTRY and list(read_info(info))[-1] == "new"
    assert written.count("\r\n") in (0, written.count("\n"))
    assert "+" in change.diff and (change.backup is None) == (before is None)
    if change.backup:
        assert change.backup.read_bytes() == (before or "").encode()
    assert register(info, "new", ENTRY).diff == ""


def test_register_changes_another_entry_only_by_force(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    text = "{\n   " + OTHERS + "\n}\n"
    info.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"another entry 'b'; --force changes it:(.|\n)*\+.*new.json"):
        register(info, "b", ENTRY)
    assert info.read_text(encoding="utf-8") == text and [path.name for path in tmp_path.iterdir()] == [info.name]
    dry = register(info, "b", ENTRY, force=True, dry_run=True)
    assert info.read_text(encoding="utf-8") == text and dry.backup is None
    assert register(info, "b", ENTRY, force=True).diff == dry.diff
    assert info.read_text(encoding="utf-8").startswith('{\n   "b" : {\n      "file_name": "new.json"')
    assert info.read_text(encoding="utf-8").endswith(OTHERS.partition(",\n\n")[2] + "\n}\n")
    assert read_info(info) == {"b": ENTRY, "a": {"file_name": "a.json", "note": "é é"}}


def test_letters_beyond_ascii_are_written_so_that_any_encoding_reads_them(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    register(info, "数", {"file_name": "é.json"})
    assert info.read_bytes().isascii() and read_info(info) == {"数": {"file_name": "é.json"}}


@pytest.mark.parametrize("name", ["", " a", "a,b"])
def test_names_that_no_recipe_can_say(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a set's name"):
        register(tmp_path / "dataset_info.json", name, ENTRY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {},}', r"dataset_info.json \(line 1, column \d+\): "),
        ('{"a": {}, "a": {}}', r"a is there twice"),
        ("[]", r"is a list where an object"),
        ("\n", r"line 2, column 1"),
        ('{"é": {}}'.encode("latin-1"), r"is not UTF-8"),
    ],
)
def test_a_broken_info_is_told_and_left_alone(tmp_path: Path, text: str | bytes, message: str) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = info.read_bytes()
    for call in (lambda: read_info(info), lambda: register(info, "new", ENTRY)):
        with pytest.raises(ValueError, match=message):
            call()
    assert info.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [info.name]


def test_a_change_by_another_process_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resonance.datafiles import info as module

    info = tmp_path / "dataset_info.json"
    info.write_text("{}")
    real = module.back_up

    def meanwhile(path: Path) -> Path:
        copy = real(path)
        path.write_text('{"other": {}}')
        return copy

    monkeypatch.setattr(module, "back_up", meanwhile)
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    with pytest.raises(OSError, match="changed it just now; run again"):
        register(info, "new", ENTRY)
    assert read_info(info) == {"other": {}}
    monkeypatch.undo()
    monkeypatch.setattr(module, "back_up", meanwhile)
    info.write_text("{}")
    register(info, "new", ENTRY)
    assert read_info(info) == {"other": {}, "new": ENTRY}


def test_entries_that_are_added_at_once_are_all_there(tmp_path: Path) -> None:
    count, info = 12, tmp_path / INFO
    barrier = Barrier(count)
    info.write_text('{"kept": {"file_name": "kept.json"}}')

    def add(number: int) -> bool:
        barrier.wait()
        return bool(register(info, f"set{number}", {"file_name": f"{number}.json"}).diff)

    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(add, range(count)))
    assert read_info(info).keys() == {"kept", *(f"set{number}" for number in range(count))}


@pytest.mark.parametrize(
    ("value", "message"), [("[" * 2000 + "]" * 2000, "maximum recursion"), ("1" + "0" * 5000, "Exceeds the limit")]
)
def test_an_info_that_python_cannot_hold_is_named(tmp_path: Path, value: str, message: str) -> None:
    info = tmp_path / INFO
    info.write_text(f'{{"a": {{"file_name": {value}}}}}')
    with pytest.raises(RowError, match=f"^{info}: cannot be read \\({message}"):
        read_info(info)
