# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""ThinkLite-VL's hard questions, arXiv 2504.07934: `image` as bytes, `problem`, `answer`, `id`, `choices`."""

from __future__ import annotations

from .plain_rl import convert
from .spec import Importer

IMPORTER = Importer(
    name="thinklite",
    summary="11,000 hard questions about images with answers, for rewards",
    convert=convert,
    stage="ppo",
    hub_id="russwang/ThinkLite-VL-hard-11k",
    layout="alpaca",
)
