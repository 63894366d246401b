# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All importers by name. Room: `importers/`."""

from __future__ import annotations

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
from .spec import Importer

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
