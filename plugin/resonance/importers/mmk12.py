# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""MMK12 of MM-Eureka, arXiv 2503.07365: `id`, `question`, `answer`, `subject`, `image` embedded."""

from __future__ import annotations

from .plain_rl import convert
from .spec import Importer

IMPORTER = Importer(
    name="mmk12",
    summary="15,000 school questions about images with answers, for rewards",
    convert=convert,
    stage="ppo",
    hub_id="FanqingM/MMK12",
    layout="alpaca",
)
