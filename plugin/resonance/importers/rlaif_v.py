# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""RLAIF-V, arXiv 2405.17220: pairs labelled by open models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import columns
from .spec import Example, Importer, Options, question


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """``image, question, chosen, rejected``; the question has no placeholder."""
    yield Example(
        question(columns.text(row, "question")),
        chosen=columns.text(row, "chosen"),
        rejected=columns.text(row, "rejected"),
        images=[columns.image(row, "image", "image_path")],
        extra=columns.labels(row, "ds_name", "origin_dataset", "idx"),
    )


IMPORTER = Importer(
    name="rlaif_v",
    summary="83,132 pairs of answers about one image, labelled by open models",
    convert=convert,
    hub_id="openbmb/RLAIF-V-Dataset",
    terms="CC BY-NC 4.0: no commercial use",
)
