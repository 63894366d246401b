# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Topic-level Preference Overwriting, arXiv 2411.17265: pairs in the layout of RLAIF-V."""

from __future__ import annotations

from .rlaif_v import convert
from .spec import Importer

IMPORTER = Importer(
    name="topic_overwrite",
    summary="pairs of answers about one image, corrected topic by topic",
    convert=convert,
    hub_id="helehan/topic-overwrite",
    terms="CC BY-NC 4.0: no commercial use",
)
