# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Small data files with at most one or two faults each: a layout of rows, written in a format, after some faults."""

from __future__ import annotations

import copy
import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROWS = 4
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
TAGS |= {"system_tag": "system", "observation_tag": "tool", "function_tag": "function"}
SCORES = ("score_chosen", "score_rejected")


@dataclass
class Case:
    """A data set to be written.

    Attributes:
        layout: what its rows are.
        stage: that trains it.
        rows: the rows.
        entry: its entry in dataset_info.json, without the file's name.
        format: how it is written.
        faults: what was done to it, in words.
        text: done to the bytes of the file.
        name: of the file, for a format that leaves it open.
    """

    layout: str
    stage: str
    rows: list[Any]
    entry: dict[str, Any]
    format: str = "json"
    faults: list[str] = field(default_factory=list)
    text: Callable[[bytes], bytes] = bytes
    name: str = "set"

    def __str__(self) -> str:
        return f"{self.layout}, {self.format}: {', '.join(self.faults) or 'sound'}"


def columns(*names: str, **renamed: str) -> dict[str, str]:
    return {name: name for name in names} | renamed


def _turns(i: int, role: str, content: str, user: str, more: list[Row]) -> list[Row]:
    return [{role: user, content: f"<image>Question {i}?"}, *more]


def _message(role: str, content: str, who: str, text: str) -> Row:
    return {role: who, content: text}


def alpaca_pairs(image: str) -> Case:
    rows = [
        {"instruction": f"<image>Question {i}?", "chosen": f"Yes {i}.", "rejected": f"No {i}.", "images": [image]}
        | {"score_chosen": 4.5, "score_rejected": 1.0 + i}
        for i in range(ROWS)
    ]
    named = columns("chosen", "rejected", "images", *SCORES, prompt="instruction")
    return Case("alpaca pairs", "rm", rows, {"ranking": True, "columns": named})


def text_pairs(image: str) -> Case:
    rows = [{"prompt": f"Question {i}?", "chosen": f"Yes {i}.", "rejected": f"No {i}."} for i in range(ROWS)]
    return Case("text pairs", "rm", rows, {"ranking": True, "columns": columns("prompt", "chosen", "rejected")})


def sharegpt_pairs(image: str) -> Case:
    rows = [
        {
            "conversations": [{"from": "human", "value": f"<image>Question {i}?"}],
            "chosen": {"from": "gpt", "value": f"Yes {i}."},
            "rejected": {"from": "gpt", "value": f"No {i}."},
            "images": [image],
        }
        for i in range(ROWS)
    ]
    named = columns("chosen", "rejected", "images", messages="conversations")
    return Case("sharegpt pairs", "rm", rows, {"formatting": "sharegpt", "ranking": True, "columns": named})


def openai_pairs(image: str) -> Case:
    rows = [
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"<image>{i}?"}],
            "chosen": {"role": "assistant", "content": f"Yes {i}."},
            "rejected": {"role": "assistant", "content": f"No {i}."},
            "images": [image],
            "score_chosen": 4 + i,
            "score_rejected": 1.5,
        }
        for i in range(ROWS)
    ]
    named = columns("messages", "chosen", "rejected", "images", *SCORES)
    return Case("openai pairs", "rm", rows, {"formatting": "openai", "ranking": True, "columns": named, "tags": TAGS})


def alpaca_answers(image: str) -> Case:
    rows = [
        {"instruction": f"<image>Question {i}?", "input": "", "output": f"Yes {i}.", "images": [image]}
        for i in range(ROWS)
    ]
    named = columns("images", prompt="instruction", query="input", response="output")
    return Case("alpaca answers", "sft", rows, {"columns": named})


def alpaca_bare(image: str) -> Case:
    rows = [{"instruction": f"Question {i}?", "input": f"About {i}.", "output": f"Yes {i}."} for i in range(ROWS)]
    return Case("alpaca without columns", "sft", rows, {})


def sharegpt_answers(image: str) -> Case:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<image>Question {i}?"},
                {"role": "assistant", "content": f"Yes {i}."},
            ],
            "images": [image],
        }
        for i in range(ROWS)
    ]
    tags = {key: TAGS[key] for key in ("role_tag", "content_tag", "user_tag", "assistant_tag")}
    entry = {"formatting": "sharegpt", "columns": columns("messages", "images"), "tags": tags}
    return Case("sharegpt answers", "sft", rows, entry)


def sharegpt_bare(image: str) -> Case:
    rows = [
        {"conversations": [{"from": "human", "value": f"Question {i}?"}, {"from": "gpt", "value": f"Yes {i}."}]}
        for i in range(ROWS)
    ]
    return Case("sharegpt without columns", "sft", rows, {"formatting": "sharegpt"})


def labelled(image: str) -> Case:
    rows = [
        {"instruction": f"<image>Question {i}?", "output": f"Yes {i}.", "kto_tag": i % 2 == 0, "images": [image]}
        for i in range(ROWS)
    ]
    return Case(
        "labelled answers",
        "kto",
        rows,
        {"columns": columns("images", "kto_tag", prompt="instruction", response="output")},
    )


LAYOUTS = (
    alpaca_pairs,
    text_pairs,
    sharegpt_pairs,
    openai_pairs,
    alpaca_answers,
    alpaca_bare,
    sharegpt_answers,
    sharegpt_bare,
    labelled,
)

# -- faults -----------------------------------------------------------------------------------------------------------

Fault = Callable[[Case, random.Random], str | None]
ANSWERS = ("chosen", "rejected", "output", "response")
WORDS = ("None", "NA", "null", "nan", "N/A", "true", "7", "007", "-1.50", "1e5", "2024-05-01", "2024-05-01 10:00:00")
WORDS += ("", " ", "é", "你好", "a\u2028b", "two\nlines", 'a "quoted" one', "inf", "12:30")
SCORE_VALUES = (None, True, False, "4", "four", "None", "", float("nan"), float("inf"), 10**30, 1e300, 7, [4.0])


def _texts(row: Row) -> list[tuple[Any, str]]:
    """Places of texts of a row, as (holder, key)."""
    found: list[tuple[Any, str]] = []
    for key, value in row.items():
        if isinstance(value, str):
            found.append((row, key))
        elif isinstance(value, dict):
            found += [(value, inner) for inner in ("value", "content") if inner in value]
        elif isinstance(value, list):
            found += [
                (each, inner)
                for each in value
                if isinstance(each, dict)
                for inner in ("value", "content")
                if inner in each
            ]
    return found


def _mappings(case: Case) -> list[Row]:
    return [row for row in case.rows if isinstance(row, dict)]


def one_text(case: Case, draw: random.Random) -> str | None:
    holder, key = draw.choice(_texts(draw.choice(_mappings(case))))
    holder[key] = draw.choice((*WORDS, None, 7, True, 1.5, ["a"], {"a": 1}))
    return f"one {key} is {holder[key]!r}"


def all_texts(case: Case, draw: random.Random) -> str | None:
    place = draw.randrange(len(_texts(_mappings(case)[0])))
    word = draw.choice((*WORDS, None, 7, True))
    for i, row in enumerate(_mappings(case)):
        places = _texts(row)
        if place < len(places):
            holder, key = places[place]
            holder[key] = f"{word}{i}" if word in ("7", "007") else word
    return f"all texts {place} are {word!r}"


def one_score(case: Case, draw: random.Random) -> str | None:
    named = [name for name in SCORES if name in case.entry.get("columns", {})]
    if not named:
        return None
    row, name = draw.choice(_mappings(case)), draw.choice(named)
    row[name] = draw.choice(SCORE_VALUES)
    return f"one {name} is {row[name]!r:.40}"


def all_scores(case: Case, draw: random.Random) -> str | None:
    named = [name for name in SCORES if name in case.entry.get("columns", {})]
    if not named:
        return None
    value = draw.choice(SCORE_VALUES)
    for row in _mappings(case):
        row[named[0]] = value
    return f"all {named[0]} are {value!r:.40}"


def stray_column(case: Case, draw: random.Random) -> str | None:
    values: list[Any] = [None, 7, 1.5, "x", "7", True, [1], [], {"a": 1}, {}, 10**30, "2024-05-01", {"b": [None]}]
    values += [["x"], [[]], float("nan"), "None", {"a": "x"}]
    for row in _mappings(case):
        row["note"] = draw.choice(values)
    return f"a column of {[row['note'] for row in _mappings(case)]!r:.90}"


def media(case: Case, draw: random.Random) -> str | None:
    if "images" not in case.entry.get("columns", {}):
        return None
    row = draw.choice(_mappings(case))
    image = row["images"][0] if isinstance(row.get("images"), list) and row["images"] else "images/0.png"
    row["images"] = draw.choice(
        (None, [], image, [image, image], ["images/gone.png"], [7], [None], [{"url": image}], {"path": image})
        + ([{"path": image, "bytes": None}], ["images/text.png"], ["images/cut.png"], ["images/turned.jpg"], [""])
        + (["images"], [[image]])
    )
    return f"images of one row are {row['images']!r}"


def films(case: Case, draw: random.Random) -> str | None:
    if "columns" not in case.entry or "images" not in case.entry["columns"]:
        return None
    kind = draw.choice(("video", "audio"))
    case.entry["columns"][f"{kind}s"] = f"{kind}s"
    value = draw.choice((None, [], [{"url": "a.mp4"}], [7], ["gone.mp4"], [{"path": "a.mp4"}], [None]))
    for row in _mappings(case):
        row[f"{kind}s"] = copy.deepcopy(value)
        if isinstance(row.get("instruction"), str):
            row["instruction"] += f"<{kind}>" * len(value or [])
    return f"{kind}s are {value!r}"


def no_media_column(case: Case, draw: random.Random) -> str | None:
    if "images" not in case.entry.get("columns", {}):
        return None
    del case.entry["columns"]["images"]
    return "no media column"


def placeholders(case: Case, draw: random.Random) -> str | None:
    holder, key = draw.choice(_texts(draw.choice(_mappings(case))))
    if not isinstance(holder[key], str):
        return None
    holder[key] = draw.choice((holder[key].replace("<image>", ""), "<image>" + holder[key], holder[key] + "<video>"))
    return f"{key} is {holder[key]!r}"


def model_tokens(case: Case, draw: random.Random) -> str | None:
    holder, key = draw.choice(_texts(draw.choice(_mappings(case))))
    holder[key] = f"{holder[key]}{draw.choice(('<|im_end|>', '<|vision_start|>', '<tool_call>'))}"
    return f"{key} is {holder[key]!r}"


def odd_row(case: Case, draw: random.Random) -> str | None:
    case.rows[draw.randrange(len(case.rows))] = value = draw.choice((None, [], "text", 7, {}, [1, 2]))
    return f"one row is {value!r}"


def lacks_column(case: Case, draw: random.Random) -> str | None:
    name = draw.choice(list(_mappings(case)[0]))
    rows = draw.choice((_mappings(case), _mappings(case)[2:3]))
    for row in rows:
        row.pop(name, None)
    return f"{len(rows)} rows lack {name}"


def turns(case: Case, draw: random.Random) -> str | None:
    key = case.entry.get("columns", {}).get("messages", "conversations")
    row = draw.choice(_mappings(case))
    if not isinstance(row.get(key), list) or not row[key]:
        return None
    value = row[key]
    row[key] = draw.choice((value[1:], value[::-1], value + value, [], None, value + value[-1:], "hello", value[0]))
    return f"messages of one row are {row[key]!r:.90}"


def entry(case: Case, draw: random.Random) -> str | None:
    named = case.entry.setdefault("columns", {}) if draw.random() < 0.8 else {}
    name = draw.choice(("query", "history", "system", "tools", "prompt", "response", "messages", "chosen", "images"))
    value: Any = draw.choice(("", "nothing_there", None, 7, "note"))
    named[name] = value
    if not case.entry["columns"] if "columns" in case.entry else False:
        del case.entry["columns"]
    return f"the entry's {name} is {value!r}"


def entry_shape(case: Case, draw: random.Random) -> str | None:
    key, value = draw.choice(
        (
            ("columns", None),
            ("columns", []),
            ("tags", None),
            ("tags", {}),
            ("formatting", "chatml"),
            ("ranking", "false"),
            ("ranking", 1),
            ("split", "test"),
            ("subset", "x"),
        )
    )
    case.entry[key] = value
    return f"the entry's {key} is {value!r}"


def bytes_of_file(case: Case, draw: random.Random) -> str | None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
        "UTF-16": lambda data: data.decode("utf-8", "replace").encode("utf-16"),
        "GBK": lambda data: data.replace(b"Question", "问题".encode("gbk")),
        "Latin-1": lambda data: data.replace(b"Yes", "Où".encode("latin-1")),
        "cut off": lambda data: data[: len(data) * 2 // 3],
        "empty": lambda data: b"",
        "blank lines": lambda data: data.replace(b"\n", b"\n\n") + b"\n  \n",
        "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
        "text behind": lambda data: data + b"x",
        "NUL": lambda data: data.replace(b"Yes", b"Y\0s", 1),
        "comma": lambda data: data.replace(b"]", b",]", 1) if data[:1] == b"[" else data + b",",
        "spaces before": lambda data: b"  \n " + data,
    }
    name = draw.choice(list(changes))
    case.text = changes[name]
    return name


def file_name(case: Case, draw: random.Random) -> str | None:
    case.name = draw.choice(("a[1]", "what?", "star*", "deep/er", "two words", "ünï", "a::b", "UP"))
    return f"the file is called {case.name}"


FAULTS: tuple[tuple[Fault, int], ...] = (
    (one_text, 4),
    (all_texts, 4),
    (one_score, 3),
    (all_scores, 3),
    (stray_column, 3),
    (media, 4),
    (films, 1),
    (no_media_column, 1),
    (placeholders, 2),
    (model_tokens, 1),
    (odd_row, 1),
    (lacks_column, 2),
    (turns, 3),
    (entry, 2),
    (entry_shape, 2),
    (bytes_of_file, 4),
    (file_name, 1),
)
FORMATS = {
    "json": 4,
    "indented json": 1,
    "lines in json": 1,
    "jsonl": 4,
    "list in jsonl": 1,
    "indented jsonl": 1,
    "csv": 2,
    "parquet": 2,
    "arrow": 1,
    "JSON": 0.3,
    "folder": 0.7,
    "mixed folder": 0.3,
    "folder in folder": 0.3,
    "folder with more": 0.3,
}


def make(seed: int, image: str = "images/0.png") -> Case:
    """The case of a seed."""
    draw = random.Random(seed)
    case = draw.choice(LAYOUTS)(image)
    case.format = draw.choices(list(FORMATS), list(FORMATS.values()))[0]
    for _ in range(draw.choice((0, 1, 1, 1, 1, 2))):
        fault = draw.choices([fault for fault, _ in FAULTS], [weight for _, weight in FAULTS])[0]
        if (told := fault(case, draw)) is not None:
            case.faults.append(told)
    return case


# -- files ------------------------------------------------------------------------------------------------------------


def write(case: Case, folder: Path) -> str | None:
    """Write a case below a folder and return the entry's file name; None if its format cannot hold its rows."""
    suffix = {"csv": ".csv", "parquet": ".parquet", "arrow": ".arrow", "jsonl": ".jsonl", "JSON": ".JSON"}
    ending = suffix.get(case.format, ".jsonl" if case.format.endswith("jsonl") else ".json")
    if "folder" in case.format:
        target = folder / case.name
        files = [target / "one.json", target / {"mixed folder": "two.jsonl"}.get(case.format, "two.json")]
        target.mkdir(parents=True)
        for path, rows in zip(files, (case.rows[:2], case.rows[2:]), strict=True):
            path.write_bytes(case.text(_json(rows, "lines" if path.suffix == ".jsonl" else "list")))
        if case.format == "folder in folder":
            (target / "more").mkdir()
        if case.format == "folder with more":
            (target / ".note").write_text("a note")
        return case.name
    path = folder / f"{case.name}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if case.format == "csv":
        data = _csv(case.rows)
    elif case.format in ("parquet", "arrow"):
        data = _table(case.rows, path)
    else:
        kinds = {"indented json": "indented list", "lines in json": "lines", "jsonl": "lines"}
        kind = kinds.get(case.format, {"indented jsonl": "indented lines"}.get(case.format, "list"))
        data = _json(case.rows, kind)
    if data is None:
        return None
    path.write_bytes(data if case.format in ("parquet", "arrow") else case.text(data))
    return f"{case.name}{ending}"


def _json(rows: list[Any], kind: str) -> bytes:
    indent = 2 if kind.startswith("indented") else None
    if kind.endswith("list"):
        return json.dumps(rows, indent=indent, ensure_ascii=False).encode()
    return "".join(json.dumps(row, indent=indent, ensure_ascii=False) + "\n" for row in rows).encode()


def _csv(rows: list[Any]) -> bytes | None:
    import io

    if not all(isinstance(row, dict) for row in rows):
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name) for name in names] for row in rows]
    cells = [[cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in line] for line in cells]
    if any(isinstance(cell, (list, dict)) for line in cells for cell in line):
        return None
    out = io.StringIO(newline="")
    csv.writer(out).writerows([names, *cells])
    return out.getvalue().encode()


def _table(rows: list[Any], path: Path) -> bytes | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
        sink = pa.BufferOutputStream()
        if path.suffix == ".parquet":
            pq.write_table(table, sink)
        else:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
    except (pa.ArrowException, OverflowError, TypeError, AttributeError):
        return None
    return sink.getvalue().to_pybytes()
