# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the check calls an error is what training stops at or leaves out, and its view of a row is LlamaFactory's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks.data.ugly import UGLY_CHATS, UGLY_PAIRS
from resonance.checks.data.align import Aligner, Unreadable
from resonance.checks.data.entry import TAGS, parse_entry
from resonance.checks.data.kinds import KINDS
from resonance.rows.attributes import ScoredDatasetAttr
from resonance.rows.fields import PLACEHOLDERS, ROW, SCORE_FIELDS, SOURCE
from resonance.rows.validate import findings
from resonance.rows.validate.raw_columns import illegal_scores
from resonance.rows.validate.rules import skip_reason

# Told by the check alone: PIL decodes them at the first step, or the tokenizer or the table fails on them.
LATER = {"image truncated", "not Unicode", "mixed column"}


def attribute(raw: dict[str, Any]) -> ScoredDatasetAttr:
    """LlamaFactory's description of a data set."""
    attr = ScoredDatasetAttr("file", dataset_name=raw["file_name"])
    attr.join(raw)
    return attr


def training_says(row: dict[str, Any], attr: ScoredDatasetAttr, folder: Path) -> list[str]:
    """The kinds of everything that the training-time admission finds in a row."""
    from llamafactory.data.converter import get_dataset_converter

    from resonance.rows.plan import RowPlan
    from resonance.rows.validate.rules import RowChecker

    scores = [attr.score_chosen, attr.score_rejected]
    kinds = []
    if all(scores):
        batch = {SOURCE: ["f"], ROW: [0]} | {column: [row[column]] for column in scores}
        kinds += [problem.kind for problem in illegal_scores([batch], tuple(scores))]
    try:
        aligned = get_dataset_converter(attr.formatting, attr, SimpleNamespace(media_dir=str(folder)))(row)
    except Exception:
        return [*kinds, "row unreadable"]
    found = RowChecker(str(folder), True, RowPlan(bool(scores)))({SOURCE: "f", ROW: 0, **aligned})
    return kinds + [finding.kind for finding in found]


@pytest.mark.parametrize(("change", "kind", "message"), UGLY_PAIRS.values(), ids=UGLY_PAIRS)
def test_errors_of_pairs_are_those_of_training(folder, make_pair, change, kind, message) -> None:
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    raw = {"file_name": "pairs.json", "ranking": True, "columns": columns | {key: key for key in SCORE_FIELDS}}
    row = make_pair(2, **change)
    folder.write([make_pair(0), make_pair(1), row, make_pair(3)], **raw)
    problems = folder.check("pairs", "--json").problems
    errors = {problem["kind"] for problem in problems if problem["severity"] == "error"}
    stops = set(training_says(row, attribute(raw), folder.path))
    renamed = {"image empty": "image unreadable"}
    assert {renamed.get(each, each) for each in errors - LATER} == stops
    assert errors or KINDS[kind].severity == "warning"


SHAREGPT = {
    "file_name": "chats.json",
    "formatting": "sharegpt",
    "ranking": True,
    "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"},
}
A, B = {"from": "gpt", "value": "a"}, {"from": "gpt", "value": "b"}
H, TOOL, CALL = ({"from": tag, "value": f"<image>{tag}"} for tag in ("human", "observation", "function_call"))
SYSTEM = {"from": "system", "value": "Be brief."}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {"conversations": [H]},
    "system": {"conversations": [SYSTEM, H]},
    "longer": {"conversations": [H, A, {"from": "human", "value": "And?"}]},
    "tools": {"conversations": [H, CALL, {"from": "observation", "value": "3"}]},
    "even": {"conversations": [H, A]},
    "empty": {"conversations": []},
    "only system": {"conversations": [SYSTEM]},
    "chosen is text": {"conversations": [H], "chosen": "a"},
    "chosen by a human": {"conversations": [H], "chosen": H},
    "chosen by a stranger": {"conversations": [H], "chosen": {"from": "bot", "value": "a"}},
    "chosen missing": {"conversations": [H], "chosen": None},
    "no messages": {"conversations": None},
    **{f"chat of {name}": {"conversations": turns} for name, (turns, _, _) in UGLY_CHATS.items()},
}


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
@pytest.mark.parametrize("change", CHATS.values(), ids=CHATS)
def test_rows_are_aligned_as_llamafactory_aligns_them(folder, change, formatting) -> None:
    """The same prompt, answers, system and media, or both fail, or both drop the row."""
    from llamafactory.data.converter import get_dataset_converter

    raw = SHAREGPT | {"formatting": formatting}
    row = {"chosen": A, "rejected": B, "images": ["images/1.png"], **change}
    ours = Aligner(parse_entry("chats", (Path("chats.json"),), raw, str(folder.path), ""))
    theirs = get_dataset_converter(formatting, attribute(raw), SimpleNamespace(media_dir=str(folder.path)))
    try:
        expected = theirs(row)
    except Exception:
        with pytest.raises(Unreadable):
            ours(row)
        return
    got = ours(row)
    if skip_reason(expected) == findings.INVALID_TURNS:
        assert got["_broken"] or skip_reason(got) == findings.INVALID_TURNS
        return
    assert {key: got[key] for key in expected} == expected


ALPACA = {"prompt": "q", "query": "i", "response": "o", "history": "h", "system": "s", "images": "images"}
ALPACAS: dict[str, dict[str, Any]] = {
    "plain": {"q": "Why?", "o": "So."},
    "input": {"q": "Add", "i": "1 2", "o": "3"},
    "history": {"q": "And?", "h": [["a", "b"], ["c", "d"]], "o": "So.", "s": "Be brief."},
    "one image": {"q": "<image>", "o": "So.", "images": "images/1.png"},
    "other images": {"q": "<image>", "o": "So.", "images": [{"bytes": b"", "path": None}]},
    "no answer": {"q": "Why?"},
    "answer a number": {"q": "Why?", "o": 3},
    "question a number": {"q": 3, "o": "So."},
    "history not pairs": {"q": "Why?", "o": "So.", "h": ["abc"]},
    "absolute": {"q": "<image>", "o": "So.", "images": ["/no/such.png"]},
}


@pytest.mark.parametrize("row", ALPACAS.values(), ids=ALPACAS)
def test_alpaca_rows_are_aligned_as_llamafactory_aligns_them(folder, row) -> None:
    from llamafactory.data.converter import get_dataset_converter

    raw = {"file_name": "rows.json", "columns": ALPACA}
    row = {**dict.fromkeys(ALPACA.values()), **row}
    ours = Aligner(parse_entry("rows", (Path("rows.json"),), raw, str(folder.path), ""))
    theirs = get_dataset_converter("alpaca", attribute(raw), SimpleNamespace(media_dir=str(folder.path)))
    try:
        expected = theirs(row)
    except Exception:
        with pytest.raises(Unreadable):
            ours(row)
        return
    got = ours(row)
    assert {key: got[key] for key in expected} == expected


def test_placeholders_and_defaults_are_llamafactorys() -> None:
    from llamafactory.extras import constants

    assert {
        "image": constants.IMAGE_PLACEHOLDER,
        "video": constants.VIDEO_PLACEHOLDER,
        "audio": constants.AUDIO_PLACEHOLDER,
    } == PLACEHOLDERS
    attr = attribute({"file_name": "x.json"})
    assert {tag: getattr(attr, tag) for tag in TAGS} == TAGS
    entry = parse_entry("x", (Path("x.json"),), {}, "", "")
    columns = (*entry.columns, "history", "system", "tools", "images", "videos", "audios", "chosen", "rejected")
    assert {key: getattr(attr, key) for key in columns} == {key: entry.columns.get(key) for key in columns}
