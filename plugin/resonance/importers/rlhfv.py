# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""RLHF-V, arXiv 2312.00849: answers that people corrected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import columns
from .spec import Example, Importer, Options, question


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """``text`` is JSON of question, chosen, rejected; the image is embedded, or at ``image_path``."""
    texts = columns.json_object(columns.value(row, "text"), "text")
    yield Example(
        question(columns.text(texts, "question")),
        chosen=columns.text(texts, "chosen"),
        rejected=columns.text(texts, "rejected"),
        images=[columns.image(row, "image", "image_path")],
        extra=columns.labels(row, "ds_name", "origin_dataset", "idx"),
    )


IMPORTER = Importer(
    name="rlhfv",
    summary="5,733 answers about one image and their corrections by people",
    convert=convert,
    hub_id="openbmb/RLHF-V-Dataset",
    terms="CC BY-NC 4.0: no commercial use",
)
