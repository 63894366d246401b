# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an importer is. Standard library only.

An importer turns one raw row of a public data set into examples. It opens no file and writes none: where rows come
from, pictures, placeholders, checks that hold for every set, resuming and registering are the frame's (`run.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Options = Mapping[str, Any]


class Skip(Exception):
    """A row, or one example of it, that is left out: raise it for the whole row, yield it for one example.

    Args:
        reason: what the summary counts by; the same words each time.
        detail: what was found in this row.
        count: how many examples it stands for.
        listed: whether it gets a line in ``NAME.skipped.jsonl``; False for what the user's options left out.

    Attributes:
        whole_row: whether it was raised; set by the frame.
    """

    whole_row = False

    def __init__(self, reason: str, detail: str = "", *, count: int = 1, listed: bool = True) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.count, self.listed = reason, detail, count, listed


class Misshaped(Skip):
    """The row is laid out unlike every row of the set: the wrong file, if the first rows all are."""


class MissingColumn(Misshaped):
    """The row lacks a column that every row of the set has."""


@dataclass(frozen=True)
class FrameFolder:
    """A video that is kept as a folder of its frames, of which `at_most` evenly spaced ones are taken; 0 takes all."""

    path: str
    at_most: int = 0


@dataclass(frozen=True)
class Either:
    """An image that lies under one of several paths, which the set does not say; the first that is there counts."""

    paths: tuple[str, ...]


@dataclass
class Example:
    """One row to be written.

    Attributes:
        turns: (role, text) with role ``system`` (first only), ``user``, ``assistant``. The last one is the user's
            for a pair, the assistant's for a supervised example. ``<image>`` and ``<video>`` may stand in the text;
            if none does, the frame puts them in front of the first user turn.
        chosen, rejected: the two answers of a pair; None in a supervised example.
        images: each a path, bytes of an image file, ``{"bytes", "path"}``, or Either of several paths.
        videos: each a path, a list of frames, which are images, or a FrameFolder.
        scores: of chosen and rejected, finite.
        unanswered: a prompt alone, for reinforcement learning; the last turn is the user's.
        extra: further columns, beside. A column must have one type in all rows, so make ids text.
    """

    turns: list[tuple[str, str]]
    chosen: str | None = None
    rejected: str | None = None
    images: list[Any] = field(default_factory=list)
    videos: list[Any] = field(default_factory=list)
    scores: tuple[float, float] | None = None
    unanswered: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def question(text: str) -> list[tuple[str, str]]:
    """The turns of a set that has one question a row."""
    return [("user", text)]


@dataclass(frozen=True)
class Option:
    """An option that some importers read: ``--score-margin`` gives ``options["score_margin"]``.

    Args:
        flag: as typed.
        help: says the meaning and the default.
        default: when not given.
        parse: text -> value, raises ValueError saying what is allowed; None makes it a switch.
    """

    flag: str
    help: str
    default: Any = False
    parse: Callable[[str], Any] | None = None

    @property
    def key(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")


def one_of(*allowed: str) -> Callable[[str], str]:
    """A `parse` for an option with few values."""

    def parse(text: str) -> str:
        if text in allowed:
            return text
        raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")

    return parse


@dataclass(frozen=True)
class Importer:
    """A public data set.

    Args:
        name: what is typed, and the default name of the output.
        summary: one line: what a row is, and from where.
        convert: (raw row, options) -> examples; yields or raises Skip. A pure function of its arguments.
        stage: what the output trains, ``dpo``, ``sft`` or ``ppo``; options may change it, the rows decide.
        hub_id: read when no path is given.
        streams: whether that can be done; not if rows need files that lie beside them.
        terms: licence and restrictions of the hub set, as its authors state them; printed with every import.
        options: those that `convert` reads.
        survey: (all raw rows, options) -> more options; reads the source once before, for what needs the whole set.
        note: what must be said about the output, given the options.
        hub_file: options -> the file of the hub set to read, where it holds several sets.
        files: patterns of the data files in a folder; the first that finds any wins.
        manifest: the name of a file that lists the data files, if the set has one.
        keyed: the column for the keys of a JSON object of rows, which is then read as a file of rows.
        layout: ``alpaca`` for sets whose rows people know so; they have no turns before the question.
    """

    name: str
    summary: str
    convert: Callable[[dict[str, Any], Options], Iterable[Example | Skip]]
    stage: Literal["dpo", "sft", "ppo"] = "dpo"
    hub_id: str | None = None
    streams: bool = True
    terms: str = "not known to us; see the page of the set"
    options: tuple[Option, ...] = ()
    survey: Callable[[Iterable[dict[str, Any]], Options], dict[str, Any]] | None = None
    note: Callable[[Options], str] | None = None
    hub_file: Callable[[Options], str] | None = None
    files: tuple[str, ...] = ("*",)
    manifest: str | None = None
    keyed: str | None = None
    layout: Literal["sharegpt", "alpaca"] = "sharegpt"

    def settled(self, given: Options) -> dict[str, Any]:
        """All options, those that were not given by their defaults."""
        return {option.key: given.get(option.key, option.default) for option in self.options}
