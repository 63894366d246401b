# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""OpenVLThinker's supervised rows, arXiv 2503.17352: `messages` with `images` embedded or as paths."""

from __future__ import annotations

from .messages import convert
from .spec import Importer

IMPORTER = Importer(
    name="openvlthinker",
    summary="questions about images and long worked answers, for supervised fine-tuning",
    convert=convert,
    stage="sft",
    hub_id="ydeng9/OpenVLThinker-sft-iter3",
)
