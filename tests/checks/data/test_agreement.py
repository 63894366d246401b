# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the check calls an error is what training stops at or leaves out, and what LlamaFactory drops has a reason."""

from __future__ import annotations

import re
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
from resonance.rows.validate.raw_columns import illegal_numbers

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
        kinds += [problem.kind for problem in illegal_numbers([batch], dict(zip(SCORE_FIELDS, scores, strict=True)))]
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


def aligner(folder: Any, raw: dict[str, Any]) -> Aligner:
    return Aligner(parse_entry("rows", (Path(raw["file_name"]),), raw, str(folder.path), ""))


DROPPED = {"even": "there are 2 messages", "empty": "there are no messages", "only system": "there are no messages"}
DROPPED |= {"chosen is text": "chosen and rejected are not", "chosen missing": "chosen and rejected are not"}
DROPPED |= {"chat of two questions": "turn 1 is from 'human'", "chat of answer first": "turn 0 is from 'gpt'"}
DROPPED |= {"chat of late system": "turn 1 is from 'system'", "chat of stranger": "turn 1 is from 'bot'"}
DROPPED |= {f"chat of {name}": f"there are {n} messages" for name, n in (("no content", 2), ("parts", 2))}
DROPPED |= {f"chat of {name}": "there are 2 messages" for name in ("empty answer", "no placeholder")}
DROPPED |= {"chat of nothing": "there are no messages"}
FAULTY = {"no messages": "the messages are NoneType", "chat of not messages": "the messages are str 'hello'"}
FAULTY |= {
    "chat of other keys": "a message has the keys role, content",
    "chat of not a message": "a message is 'hello'",
}
FAULTY |= {"chosen by a stranger": "a message is from 'bot', but the tags of the entry are human, gpt"}


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
@pytest.mark.parametrize("name", CHATS)
def test_what_llamafactory_drops_or_fails_on_has_a_reason(folder, name, formatting) -> None:
    align = aligner(folder, SHAREGPT | {"formatting": formatting})
    row = {"chosen": A, "rejected": B, "images": ["images/1.png"], **CHATS[name]}
    unknown = formatting == "openai" and name == "chat of stranger"  # its converter fails on a role that no tag names
    if name in FAULTY or unknown:
        with pytest.raises(Unreadable, match=FAULTY.get(name, "a message is from 'bot'")):
            align(row)
        return
    reason = DROPPED.get(name)
    if (name, formatting) == ("tools", "openai"):  # loses answers of tools after which nobody speaks
        reason = "there are 2 messages"
    found = align(row)["_broken"]
    assert (found is None) == (reason is None) and (found or "").startswith(reason or "")


TOOLS = [H, {**CALL, "tool_calls": [{"function": {"name": "f"}}]}, TOOL, TOOL, A]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (TOOLS, None),
        (TOOLS[:-1], None),
        ([*TOOLS, H], "there are 5 messages, so the last one is not the assistant's"),
        ([*TOOLS, A], "turn 4 is from 'gpt', where 'human' or 'observation' is needed"),
    ],
)
def test_several_answers_of_tools_are_one_turn(folder, turns, reason) -> None:
    raw = {"file_name": "x", "formatting": "openai", "columns": {"messages": "conversations"}}
    assert aligner(folder, raw)({"conversations": turns})["_broken"] == reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"q": 3}, "the prompt is int 3, but text is needed"),
        ({"q": "Why?", "h": ["abc"]}, "`history` holds 'abc', but pairs of question and answer are needed"),
        ({"q": "Why?", "images": ["a.png", 7]}, "LlamaFactory's converter fails (TypeError"),
    ],
)
def test_alpaca_rows_that_llamafactory_fails_on_have_a_reason(folder, row, reason) -> None:
    raw = {"file_name": "rows.json", "columns": {"prompt": "q", "history": "h", "images": "images"}}
    with pytest.raises(Unreadable, match=re.escape(reason)):
        aligner(folder, raw)(row)


def test_a_row_is_not_changed_and_may_lack_columns(folder) -> None:
    """LlamaFactory's converter writes the paths of frames into the row, and fails where a column is absent."""
    raw = {"file_name": "rows.json", "columns": {"prompt": "q", "response": "a", "videos": "v", "images": "images"}}
    row = {"q": "<video>?", "v": [["images/1.png", "images/2.png"]]}
    aligned = aligner(folder, raw)(row)
    assert row == {"q": "<video>?", "v": [["images/1.png", "images/2.png"]]}
    assert aligned["_videos"] == [[str(folder.path / "images/1.png"), str(folder.path / "images/2.png")]]
    assert aligned["_response"] == [] and aligned["_images"] is None


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
