# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All importers by name."""

from __future__ import annotations

from typing import Any

from . import (
    axolotl,
    beavertails_v,
    clevr_count,
    geometry3k,
    ha_dpo,
    hsa_dpo,
    llava_rlhf,
    messages,
    mm_eureka,
    mm_rlhf,
    mmk12,
    mmpr,
    ms_swift,
    openrlhf,
    openvlthinker,
    plain_dpo,
    plain_rl,
    povid,
    rlaif_v,
    rlhfv,
    spa_vl,
    thinklite,
    topic_overwrite,
    trl,
    uni_dpo,
    verl,
    virl39k,
    vlfeedback,
    vlguard,
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
        spa_vl,
        mm_rlhf,
        uni_dpo,
        povid,
        llava_rlhf,
        ha_dpo,
        hsa_dpo,
        beavertails_v,
        mmpr,
        vqa_rad,
        vlguard,
        messages,
        openvlthinker,
        trl,
        openrlhf,
        axolotl,
        ms_swift,
        plain_dpo,
        vlquery_json,
        plain_rl,
        verl,
        geometry3k,
        clevr_count,
        thinklite,
        virl39k,
        mmk12,
        mm_eureka,
    )
}


def fitting(row: dict[str, Any], *, pairs: bool = False) -> list[str]:
    """Names of the importers that can make something of a raw row; of those that read it alike, the first.

    Args:
        row: the row.
        pairs: only those that make a pair of it.
    """
    alike = {importer.convert: importer for importer in reversed(IMPORTERS.values())}
    return [name for name, each in IMPORTERS.items() if alike[each.convert] is each and _fits(each, row, pairs)]


def _fits(importer: Importer, row: dict[str, Any], pairs: bool) -> bool:
    noted = ReadRow(row)
    try:
        examples = [each for each in importer.convert(noted, importer.settled({})) if isinstance(each, Example)]
        examples = [each for each in examples if each.chosen is not None or not pairs]
        return any(checked(example) and half_a_pair(example, noted) is None for example in examples)
    except Skip:
        return False
