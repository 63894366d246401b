# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""CLEVR's counting questions as R1-V uses them: `image` embedded, `problem`, `solution` (`<answer> 3 </answer>`)."""

from __future__ import annotations

from .plain_rl import convert
from .spec import Importer

IMPORTER = Importer(
    name="clevr_count",
    summary="70,000 questions how many objects an image shows, for rewards",
    convert=convert,
    stage="ppo",
    hub_id="leonardPKU/clevr_cogen_a_train",
    layout="alpaca",
)
