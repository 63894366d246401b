# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""MM-Eureka's prompts, arXiv 2503.07365: `conversations` or `message`, `answer` and `image_urls`.

As the README of MM-EUREKA says; `message` is the same as JSON text, with the images within it, as LMM-R1 and later
versions have it, which could be looked at in other people's files only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import json_value, labels, text, value
from .plain_rl import prompted
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one prompt and its answer."""
    talk = json_value(value(row, "conversations", "message"), "conversations")
    yield prompted(row, talk, {"answer": text(row, "answer")} | labels(row, "id"))


IMPORTER = Importer(
    name="mm_eureka",
    summary="questions about images with answers that can be checked, as messages, for rewards",
    convert=convert,
    stage="ppo",
    hub_id="FanqingM/MM-Eureka-Dataset",
    layout="alpaca",
)
