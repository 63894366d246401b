# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""ViRL39K of VL-Rethinker, arXiv 2504.08837: `question`, `answer` in a box, `image` a list of paths in images.zip."""

from __future__ import annotations

from .plain_rl import convert
from .spec import Importer

IMPORTER = Importer(
    name="virl39k",
    summary="38,870 questions about images with answers, for rewards; --image-root: images.zip",
    convert=convert,
    stage="ppo",
    hub_id="TIGER-Lab/ViRL39K",
    terms="MIT",
    layout="alpaca",
)
