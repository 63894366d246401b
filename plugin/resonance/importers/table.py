# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All importers by name."""

from __future__ import annotations

from typing import Any

from . import (
    mm_rlhf,
    openvlthinker,
    plain_dpo,
    povid,
    rlaif_v,
    rlhfv,
    topic_overwrite,
    trl,
    uni_dpo,
    vlfeedback,
    vlquery_json,
    vqa_rad,
)
from .layout import checked
from .spec import Example, Importer, Skip

IMPORTERS: dict[str, Importer] = {
    module.IMPORTER.name: module.IMPORTER
    for module in (
        vlfeedback,
        rlhfv,
        rlaif_v,
        topic_overwrite,
        mm_rlhf,
        uni_dpo,
        povid,
        vqa_rad,
        openvlthinker,
        trl,
        plain_dpo,
        vlquery_json,
    )
}


def fitting(row: dict[str, Any]) -> list[str]:
    """Names of the importers that can make something of a raw row."""
    return [name for name, importer in IMPORTERS.items() if _fits(importer, row)]


def _fits(importer: Importer, row: dict[str, Any]) -> bool:
    try:
        made = importer.convert(row, importer.settled({}))
        return any(isinstance(example, Example) and bool(checked(example)) for example in made)
    except Skip:
        return False
