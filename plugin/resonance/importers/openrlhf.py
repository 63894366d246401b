# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""OpenRLHF's preference rows: `prompt`, `chosen`, `rejected` as texts or messages, and perhaps a `margin`.

The prompt's column is an option there (``--data.prompt_key``), so its usual names are looked for; without one the two
answers repeat it, as `openrlhf/datasets/reward_dataset.py` has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import number
from .spec import Example, Importer, Options
from .trl import paired

PROMPTS = ("prompt", "input", "context_messages", "question", "instruction", "query")


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair; a margin is kept beside."""
    example = paired(row, next((row[name] for name in PROMPTS if row.get(name) is not None), None))
    if row.get("margin") is not None:
        example.extra = {"margin": number(row["margin"], "margin")}
    yield example


IMPORTER = Importer(
    name="openrlhf",
    summary="any set in OpenRLHF's preference format: prompt or input, chosen, rejected as text or messages",
    convert=convert,
)
