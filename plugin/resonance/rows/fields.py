# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names of columns, LlamaFactory's and ours, and what a legal score is. Standard library only."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

FORMATTINGS = ("alpaca", "sharegpt", "openai")
"""LlamaFactory's own values of `formatting` in dataset_info.json; a user may have registered others."""

MEDIA_COLUMNS = ("images", "videos", "audios")
"""Keys of media in dataset_info.json's ``columns`` and in a tokenized row; with an underscore, in an aligned row."""

PLACEHOLDERS = {name: os.getenv(f"{name.upper()}_PLACEHOLDER", f"<{name}>") for name in ("image", "video", "audio")}
"""What stands for one medium in a text: LlamaFactory's constants, read from the environment as it does (a test)."""

TAG, BAD_LABEL = "kto_tag", "bad label"
"""LlamaFactory's key of whether an answer is a good one, and the finding that it is neither good nor bad."""

META = "meta"
"""JSON in an aligned (``_meta``) and in a tokenized prompt: the columns of the data that rewards may read, by name."""


def meta_problem(given: Any) -> str | None:
    """Return what is wrong with `meta` in the ``columns`` of an entry, or None; it may be left out."""
    if given is None or (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        return None
    return f'`meta` is {given!r:.60}, but a list of columns is needed, such as ["answer"]'


MESSAGES = "_messages"
"""JSON in a tokenized prompt: its conversation, [{"role": ..., "content": ...}, ...], with placeholders of media."""


def conversation(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The conversation of an aligned row up to its answers, the system's message first if it has one."""
    system = [{"role": "system", "content": row["_system"]}] if row.get("_system") else []
    return system + [{"role": message["role"], "content": message["content"]} for message in row["_prompt"]]


def own_answer(response: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of an aligned row with a tag, beside which LlamaFactory puts an empty one: of a bad one behind it."""
    return next((message for message in response if message["content"]), response[0])


SOURCE = "_source"
"""The file or hub dataset a row comes from, as the user wrote it."""

ROW = "_row"
"""Zero-based position of a row in its source, before any sampling, filtering or shuffling."""

IMAGE_SIZES = "_image_sizes"
"""JSON in a tokenized row whose images were made smaller: the [width, height] of each in a batch; else empty text."""

OVERLONG = "_overlong"
"""JSON in a row that has just been tokenized: what was found too long and what was done; empty for a row that fits."""

LARGEST_SCORE = (2 - 2**-23) * 2.0**127
"""The largest number of float32."""


def score_problem(value: Any) -> str | None:
    """Return what is wrong with one score, or None if it is a finite number.

    Booleans and numbers written as text are refused: both are signs of a wrong column rather than of a score.
    """
    if value is None:
        return "missing (null or absent)"
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return f"not a number but {type(value).__name__} {value!r:.60}"
    try:
        number = float(value)
    except OverflowError:
        return "a whole number beyond what a float holds"
    if not math.isfinite(number):
        return f"not finite but {value}"
    return None if abs(number) <= LARGEST_SCORE else f"larger than a batch holds, 3.4e+38 (float32): {number:g}"


def weight_problem(value: Any) -> str | None:
    """Return what is wrong with the weight of one row, or None if it is a finite number from 0."""
    if problem := score_problem(value):
        return problem
    return f"below 0: {value:g}" if value < 0 else None


def tag_problem(value: Any) -> str | None:
    """Return what is wrong with the tag of one answer, or None if it is true or false."""
    return None if isinstance(value, bool) else f"not true or false but {value!r:.60}"


def number_in(value: Any) -> Any:
    """Return the number that a text stands for, or the value as it is; a CSV file holds no numbers but text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def own_value(value: Any, source: str) -> Any:
    """Return what a cell of a source means: in CSV a number may be written as text."""
    return number_in(value) if source.lower().endswith(".csv") else value


@dataclass(frozen=True)
class Column:
    """A column that travels with a row from the data file to the batch, beside those that LlamaFactory knows.

    Attributes:
        name: its key in dataset_info.json's ``columns``, in a tokenized row and in a batch.
        group: columns that a run needs together (`RowPlan.carried`).
        problem: says what is wrong with a raw value, or None.
        value: from a raw value without a problem to what the row carries.
        stand_in: what a row carries until its problem has been reported; it keeps the column's type.
        finding: the kind of finding that such a problem is.
    """

    name: str
    group: str
    problem: Callable[[Any], str | None]
    value: Callable[[Any], Any]
    stand_in: Any
    finding: str = "bad score"

    @property
    def aligned(self) -> str:
        """Its name in an aligned row, where LlamaFactory marks every column of its own with an underscore."""
        return f"_{self.name}"


CARRIED = (
    Column("score_chosen", "scores", score_problem, float, math.nan),
    Column("score_rejected", "scores", score_problem, float, math.nan),
    Column("weight", "weights", weight_problem, float, math.nan),
    Column("margin", "margins", score_problem, float, math.nan),
    Column(TAG, "tags", tag_problem, float, math.nan, BAD_LABEL),
)
"""All such columns; whoever hands rows on reads this list. In a batch they are float32 tensors (B,)."""

NUMBERS = {column.name: column.problem for column in CARRIED if column.name != TAG}
"""Their keys in dataset_info.json, and what says what is wrong with a value."""

SCORE_FIELDS = tuple(column.name for column in CARRIED if column.group == "scores")
"""``score_chosen`` and ``score_rejected``."""
