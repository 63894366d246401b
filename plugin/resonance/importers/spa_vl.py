# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SPA-VL, arXiv 2406.12030: harmful and harmless questions about an image, in the layout of RLAIF-V.

Columns of the card (`image` embedded, `question`, `chosen`, `rejected`, and three classes of harm, which are not kept)
as the public loaders of align-anything and others read them. No scores.
"""

from __future__ import annotations

from .rlaif_v import convert
from .spec import Importer

IMPORTER = Importer(
    name="spa_vl",
    summary="pairs of answers to questions about an image, for harmlessness and helpfulness",
    convert=convert,
    hub_id="sqrti/SPA-VL",
    terms="CC BY 4.0",
)
