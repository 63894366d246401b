# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All importers by name."""

from __future__ import annotations

from typing import Any

from . import (
    messages,
    mm_rlhf,
    ms_swift,
    openvlthinker,
    plain_dpo,
    plain_rl,
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
from .columns import ReadRow, half_a_pair
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
        messages,
        openvlthinker,
        trl,
        ms_swift,
        plain_dpo,
        vlquery_json,
        plain_rl,
    )
}


def fitting(row: dict[str, Any]) -> list[str]:
    """Names of the importers that can make something of a raw row."""
    return [name for name, importer in IMPORTERS.items() if _fits(importer, row)]


def _fits(importer: Importer, row: dict[str, Any]) -> bool:
    noted = ReadRow(row)
    try:
        examples = [each for each in importer.convert(noted, importer.settled({})) if isinstance(each, Example)]
        return any(checked(example) and half_a_pair(example, noted) is None for example in examples)
    except Skip:
        return False
