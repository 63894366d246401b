# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Columns of a file over all its rows: has each one type, and is every declared one there?

A file becomes one table in training, so that a stray value stops it wherever it stands, also in a column nobody uses.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from ...datafiles.columns import MEDIA_COLUMNS, NUMBERS
from ...rows.fields import META
from ...rows.validate.column_types import ColumnTypes
from ...rows.validate.findings import EMPTY_RESPONSE, INVALID_TURNS
from .entry import Entry

PER_ROW = {  # kinds that every row has if a column is missing
    **dict.fromkeys(("prompt",), ("empty prompt", INVALID_TURNS)),
    **dict.fromkeys(("messages", "chosen", "rejected"), (INVALID_TURNS, "row unreadable")),
    **dict.fromkeys(("response",), (EMPTY_RESPONSE,)),
    **dict.fromkeys(MEDIA_COLUMNS, ("placeholder count",)),
    **dict.fromkeys(NUMBERS, ("bad score",)),
    "kto_tag": ("bad label",),
    META: ("answer missing",),
}


class Columns(ColumnTypes):
    """The types of a file's values, and which declared columns it lacks."""

    def missing(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for every declared column that no row has."""
        present = list(self.columns)
        may_lack = ("system", "tools") if entry.formatting == "openai" else ()
        for_rewards = entry.prompts.meta if entry.prompts else ()
        for key, column in (*entry.columns.items(), *((META, name) for name in for_rewards)):
            if column in self.columns or key in may_lack:
                continue
            near = difflib.get_close_matches(column, present, 1) or difflib.get_close_matches(key, present, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f". Columns: {', '.join(map(str, present[:20]))}"
            yield key, f"`{key}` names column `{column}`, which no row has{hint}"
