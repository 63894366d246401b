# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs taken apart: two rows of each, a good answer and a bad one, as LlamaFactory's KTO reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .columns import COLUMNS, MEDIA_COLUMNS, SCORE_FIELDS, SIDES
from .read import RowError, read_rows

RESPONSE, TAG, SCORE, WEIGHT = "response", "kto_tag", "score", "weight"
# Of an entry's columns, what both answers of a pair have in common.
_SHARED = ("prompt", "query", "history", "messages", "system", "tools", *MEDIA_COLUMNS, WEIGHT)


@dataclass
class Unpairing:
    """How the pairs of a set become answers.

    Attributes:
        entry: of the set of pairs.
        scores: columns of the chosen and the rejected score; none if the pairs have none.
        threshold: an answer is good from this score on; None if the chosen one is good.
        mean_distance: of scores from the threshold, for weights with a mean of 1; None for no weights.
        good, bad: how many answers were written.
        repeated: how many were left out, because another pair has the same.
    """

    entry: Mapping[str, Any]
    scores: tuple[str, str] | None = None
    threshold: float | None = None
    mean_distance: float | None = None
    good: int = 0
    bad: int = 0
    repeated: int = 0
    _seen: set[bytes] = field(default_factory=set)

    @property
    def columns(self) -> dict[str, str]:
        """Of the set of pairs."""
        given: dict[str, str] = self.entry.get("columns") or COLUMNS
        return given

    @property
    def listed(self) -> bool:
        """Whether a row holds its conversation as a list, to which the answer is added."""
        return self.entry.get("formatting", "alpaca") != "alpaca"

    def entry_of(self, file_name: str) -> dict[str, Any]:
        """The entry of the answers."""
        columns = {key: name for key, name in self.columns.items() if key in _SHARED}
        columns |= {} if self.listed else {"response": RESPONSE}
        columns |= {"kto_tag": TAG} | ({} if self.mean_distance is None else {WEIGHT: WEIGHT})
        kept = {key: self.entry[key] for key in ("formatting", "tags") if self.entry.get(key)}
        return {"file_name": file_name, **kept, "columns": columns}

    def rows(self, files: Iterable[Path]) -> Iterator[dict[str, Any]]:
        """The answers of all pairs. A bad one stands behind the good one of the next pair.

        KTO estimates its KL divergence on the answer of the row before, which should be to another prompt.

        Raises:
            RowError: a row is no pair, or cannot be written as JSON.
        """
        waiting = None
        for file in files:
            for number, row in read_rows(file):
                good, bad = (self._answer(row, side, f"{file}, row {number}") for side in (0, 1))
                yield from filter(None, (self._once(good), self._once(waiting)))
                waiting = bad
        yield from filter(None, [self._once(waiting)])

    def _answer(self, row: Any, side: int, where: str) -> dict[str, Any]:
        answers = [self.columns.get(name) for name in SIDES]
        missing = [str(name) for name in answers if not isinstance(row, dict) or row.get(name) is None]
        if missing:
            raise RowError(f"{where}: has no {' and no '.join(missing)}; `resonance data check` finds all such rows.")
        kept = {name for key, name in self.columns.items() if key in _SHARED}
        taken = {*answers, *(self.columns.get(key) for key in SCORE_FIELDS), *(self.scores or ())}
        found = {name: value for name, value in row.items() if name in kept or name not in {*taken, *self._own()}}
        answer = row[answers[side]]
        if self.listed:
            found[self.columns["messages"]] = [*row[self.columns["messages"]], answer]
        else:
            found[RESPONSE] = answer
        score = None if self.scores is None else row[self.scores[side]]
        found[TAG] = side == 0 if self.threshold is None or score is None else score >= self.threshold
        if score is not None:
            found[SCORE] = score
        if self.mean_distance and self.threshold is not None and score is not None:
            found[WEIGHT] = abs(score - self.threshold) / self.mean_distance
        return found

    def _own(self) -> tuple[str, ...]:
        """Columns that the answers have anew."""
        return (TAG, SCORE, *(() if self.listed else (RESPONSE,)))

    def problems(self) -> list[str]:
        """Columns of the pairs whose names the answers need for something else."""
        return [
            f"its {key} are in a column {name!r}, which the answers need themselves; rename it"
            for key, name in self.columns.items()
            if key in _SHARED and (name in self._own() or (name == WEIGHT and self.mean_distance is not None))
        ]

    def _once(self, row: dict[str, Any] | None) -> dict[str, Any] | None:
        """A row to write, counted; None for one that was written before."""
        if row is None:
            return None
        try:
            key = blake2b(json.dumps(row, sort_keys=True, ensure_ascii=True).encode(), digest_size=16).digest()
        except TypeError as error:
            raise RowError(f"A row cannot be written as JSON ({error}); it may hold its images as bytes.") from error
        if key in self._seen:
            self.repeated += 1
            return None
        self._seen.add(key)
        self.good, self.bad = self.good + row[TAG], self.bad + (not row[TAG])
        return row
