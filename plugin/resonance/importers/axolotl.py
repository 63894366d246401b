# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Axolotl's preference rows for ``chat_template.default``: `messages`, and a `chosen` and a `rejected` message.

`messages` may be text, the answers text, a message or messages of which the last counts, as its
`prompt_strategies/dpo/chat_template.py` reads them. LLaVA's `conversations` with two texts are read alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import value
from .spec import Example, Importer, Options
from .trl import paired


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair."""
    yield paired(row, value(row, "messages", "conversations"))


IMPORTER = Importer(
    name="axolotl",
    summary="any set in axolotl's preference format: messages, chosen, rejected as text, a message or messages",
    convert=convert,
)
