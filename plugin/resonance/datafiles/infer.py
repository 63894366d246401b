# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: which dataset_info.json entry a file needs, told from its first rows. Reads, never writes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .columns import ALIASES, FORMATTINGS, MEDIA_COLUMNS, META, ROLES, SURE, TAGS
from .prompts import take_answers, take_messages
from .sample import Table
from .settings_advice import pair_settings, role_settings
from .unread import is_rejected, media_kind

ALPACA_ONLY, MESSAGES_ONLY = ("prompt", "query", "response", "history"), ("messages",)
SETTINGS = ("formatting", "ranking", "num_samples")  # other keys of an entry that suit a file


def infer_entry(
    file: Path, info_path: Path, given: dict[str, Any] | None = None, rows: list[Any] | None = None
) -> dict[str, Any]:
    """Work out the entry that LlamaFactory and this package need to read a file.

    A media column may hold a list or, as LlamaFactory's converters wrap it, a single path or ``{"bytes", "path"}``.

    Args:
        file: a data file, or a folder that holds data files of one type and nothing else.
        info_path: the dataset_info.json the entry is for; decides whether ``file_name`` is relative.
        given: parts of the entry that are already known, e.g. ``{"columns": {"prompt": "q"}}``; None as a column's or
            tag's name leaves that one out.
        rows: the rows to tell it from; the first SAMPLE of the file if None.

    Raises:
        ValueError: if the rows leave something open or would not be read as they are meant; lists the columns found
            and what to pass.
    """
    given = given or {}
    table = Table.of(Path(file), rows)
    named = given.get("columns", {})
    columns = _columns(table, named)
    take_messages(table, columns)
    meta = take_answers(table, columns, named)
    formatting = given.get("formatting") or _formatting(table, columns)
    if formatting not in FORMATTINGS:
        raise ValueError(f"formatting is {formatting!r}; LlamaFactory has {', '.join(FORMATTINGS)}.")
    for key in MESSAGES_ONLY if formatting == "alpaca" else ALPACA_ONLY:
        columns.pop(key, None)
    ranking = given.get("ranking")
    if ranking is None:
        ranking = "chosen" in columns and "rejected" in columns
    # LlamaFactory would not look at them
    for key in ("response", "kto_tag") if ranking else ("chosen", "rejected", "score_chosen", "score_rejected"):
        columns.pop(key, None)
    left_out = {key for key, name in named.items() if name is None}
    _check(table, formatting, columns, ranking, left_out | ({"response"} if meta else set()))
    if not ranking and given.get("ranking") is None:
        _refuse_half_a_pair(table, columns)

    entry: dict[str, Any] = {"file_name": file_name_of(Path(file), info_path)}
    settings = {"formatting": formatting, "ranking": ranking, "num_samples": given.get("num_samples")}
    entry |= {key: value for key, value in settings.items() if value not in ("alpaca", False, None)}
    if given.get("ranking") is False:
        entry["ranking"] = False  # answers alone, although there are pairs
    entry["columns"] = columns | ({META: meta} if meta else {})
    if formatting != "alpaca" and (tags := _tags(table, columns, given.get("tags", {}))):
        entry["tags"] = tags
    return entry


def score_columns(file: Path) -> tuple[str, str]:
    """The columns of the chosen and the rejected score of a file, told by their names.

    Raises:
        ValueError: if there are no two; lists the columns found.
    """
    table = Table.of(Path(file))
    columns = _columns(table, {})
    names = columns.get("score_chosen"), columns.get("score_rejected")
    if names[0] is None or names[1] is None:
        raise table.error("no two columns were recognised as scores", "Pass --columns CHOSEN REJECTED")
    return names[0], names[1]


def require_plain(path: Path) -> None:
    """Raise ValueError for a path in which `datasets`, which reads files for LlamaFactory, sees a pattern or a URL."""
    if odd := [sign for sign in ("*", "?", "[", "::") if sign in os.path.abspath(path)]:
        raise ValueError(
            f"{os.path.abspath(path)}: LlamaFactory cannot read from a path with {' or '.join(odd)} in it, because "
            "`datasets` takes it for a pattern. Rename the folder or the file."
        )


def file_name_of(file: Path, info_path: Path) -> str:
    """What an entry of a dataset_info.json calls a file: relative to the folder of that one, if it is in there."""
    require_plain(file)
    file, folder = Path(os.path.abspath(file)), Path(os.path.abspath(info_path)).parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.as_posix()


def _columns(table: Table, given: dict[str, str | None]) -> dict[str, str]:
    """Names of columns by what they mean; those of `given` as they are, the others by ALIASES."""
    columns: dict[str, str] = {}
    for key, aliases in ALIASES.items():
        if key in given:
            name = given[key]
            if name is not None and name not in table.names:
                near = difflib.get_close_matches(name, table.names, 1)
                hint = f"Did you mean {near[0]}?" if near else f"Give {key} the name of one of these."
                raise table.error(f"there is no column {name!r}, which {key} is to be", hint)
        else:
            name = next((each for each in _named(table, key, aliases) if each not in columns.values()), None)
            if key == "kto_tag" and name is not None and table.kind(name) != "true/false":
                name = None  # `label` is a common name for other things
        if name is not None:
            columns[key] = name
    return columns


def _named(table: Table, key: str, aliases: tuple[str, ...]) -> Iterator[str]:
    """The columns that may be meant, the likeliest first; media under unusual names are known by their values."""
    if key not in MEDIA_COLUMNS:
        yield from (alias for alias in aliases if table.values(alias))
        return
    yield from (alias for alias in aliases[:SURE] if table.values(alias))
    others = [name for other in MEDIA_COLUMNS if other != key for name in ALIASES[other][:SURE]]
    names = dict.fromkeys((*aliases[SURE:], *table.names))
    yield from (name for name in names if name not in others and media_kind(table.values(name)) == key)


def _formatting(table: Table, columns: dict[str, str]) -> str:
    messages = columns.get("messages")
    as_text = columns.get("prompt") and columns.get("chosen") and table.kind(columns["chosen"]) == "text"
    if messages is None or as_text or not table.kind(messages).startswith("list"):
        return "alpaca"
    lists = [value for value in table.values(messages) if isinstance(value, list)]
    turns = [turn for value in lists for turn in value if isinstance(turn, dict)]
    return "openai" if any(turn.get("tool_calls") for turn in turns) else "sharegpt"


def _check(table: Table, formatting: str, columns: dict[str, str], ranking: bool, left_out: set[str]) -> None:
    """Refuse what LlamaFactory's converter would take for something else without saying so."""
    question = "prompt" if formatting == "alpaca" else "messages"
    answers = ("chosen", "rejected") if ranking else ("response",) if formatting == "alpaca" else ()
    wanted = {question: "text" if formatting == "alpaca" else "list of objects"}
    wanted |= dict.fromkeys(answers, "text" if formatting == "alpaca" else "object")
    wanted = {key: kind for key, kind in wanted.items() if key not in left_out}
    if missing := [key for key in wanted if key not in columns]:
        cure = " ".join(f"--set columns.{key}=NAME" for key in missing)
        more = ""
        if "response" in missing:
            more = " (for pairs: chosen and rejected)"
            pair = [f"--set columns.{key}=NAME" for key in missing if key != "response"] + pair_settings(table)
            alone = ", or --set columns.response= for prompts alone (stage: ppo)" if missing == ["response"] else ""
            cure = f"{cure}, for pairs {' '.join(pair)}{alone}"
        raise table.error(f"no column was recognised as {' or as '.join(missing)}{more}", f"Pass {cure}")
    for key, kind in wanted.items():
        found = table.kinds(columns[key]) or ["empty"]
        if wrong := [other for other in found if other != kind]:
            told = f"{wrong[0]} in some rows" if kind in found else wrong[0]
            raise table.error(
                f"{key} (column {columns[key]!r}) is a {told}, and LlamaFactory's {formatting} converter needs "
                f"{'a ' if kind == 'object' else ''}{'message object' if kind == 'object' else kind}",
                "Convert the file: `resonance data import --help` lists what can be read.",
            )


def _refuse_half_a_pair(table: Table, columns: dict[str, str]) -> None:
    """Raise ValueError if a column holds rejected answers, and the rows would be read as answers alone."""
    if lost := [name for name in table.names if is_rejected(name) and table.values(name)]:
        raise table.error(
            f"{', '.join(lost)}: rejected answers, which would not be read",
            "Name both answers: --set columns.chosen=NAME --set columns.rejected=NAME; or convert the file, see "
            "`resonance data import --list`; or pass --set ranking=false for the answers alone.",
        )


def _tags(table: Table, columns: dict[str, str], given: dict[str, str | None]) -> dict[str, str]:
    """The tags of messages; empty if they are LlamaFactory's own.

    Once an entry has tags, LlamaFactory forgets the default of every tag that is not among them.
    """
    turns = [turn for value in table.values(columns.get("messages", "")) for turn in value]
    turns += [turn for key in ("chosen", "rejected") if key in columns for turn in table.values(columns[key])]
    usual = {"role_tag": "from", "content_tag": "value"}
    if 2 * sum(isinstance(turn, dict) and {"from", "value"} <= turn.keys() for turn in turns) < len(turns):
        usual = {"role_tag": "role", "content_tag": "content"}
    tags = usual | {key: name for key, name in given.items() if name is not None}
    role, content = tags["role_tag"], tags["content_tag"]
    for turn in turns:
        if not isinstance(turn, dict) or role not in turn or content not in turn:
            told = f"keys {', '.join(turn)}" if isinstance(turn, dict) else repr(turn)[:60]
            raise table.error(
                f"a message without {role!r} and {content!r} ({told})",
                "Pass --set tags.role_tag=KEY --set tags.content_tag=KEY",
            )
        if not isinstance(turn[role], str):
            raise table.error(f"the {role!r} of a message is {turn[role]!r}", "Make it text")
        if not isinstance(turn[content], str | None):
            raise table.error(
                f"the {content!r} of a message is a {type(turn[content]).__name__}, and LlamaFactory needs text",
                "Convert the file: `resonance data import --help` lists what can be read.",
            )
    seen = list(dict.fromkeys(turn[role] for turn in turns))
    for tag, names in ROLES.items():
        found = [name for name in names if name in seen]
        if len(found) > 1:
            raise table.error(f"{' and '.join(found)} both stand for {tag}", "Make them one in the file")
        if tag not in given and (found or tag in ("user_tag", "assistant_tag", "system_tag")):
            tags[tag] = found[0] if found else _usual_name(tag, role)
    if unknown := [name for name in seen if name not in tags.values()]:
        told = f"messages have the roles {', '.join(map(str, unknown))}"
        raise table.error(told, role_settings(turns, role, tags, unknown))
    return {} if tags.items() <= TAGS.items() else tags


def _usual_name(tag: str, role_key: str) -> str:
    chat = {"user_tag": "user", "assistant_tag": "assistant"} if role_key == "role" else {}
    return chat.get(tag, TAGS[tag])
