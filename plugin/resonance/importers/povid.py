# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""POVID, arXiv 2402.11411: descriptions, and the same with faults put in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import below, references, value
from .dialogue import read_pair
from .spec import Example, Importer, Options

PICTURES = "coco"  # the folder that the pictures' paths go through


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair: the last turns of two conversations that are alike up to there."""
    pair = read_pair(None, value(row, "conversations"), value(row, "rejected_conversations"))
    images = [below(path, PICTURES) for path in references(row, "image")]
    yield Example(pair.prompt.turns, pair.chosen, pair.rejected, images=images, extra={"id": str(row.get("id", ""))})


IMPORTER = Importer(
    name="povid",
    summary="descriptions of COCO train2014 images, and the same with faults put in; --image-root: the images",
    convert=convert,
    hub_id="YiyangAiLab/POVID_preference_data_for_VLLMs",
    terms="CC BY 4.0; the pictures have COCO's own terms",
)
