# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Geometry3K as EasyR1 and verl use it, arXiv 2105.04165: `images` embedded, `problem` with `<image>`, `answer`."""

from __future__ import annotations

from .plain_rl import convert
from .spec import Importer

IMPORTER = Importer(
    name="geometry3k",
    summary="2,101 problems of geometry with their drawings and answers, for rewards",
    convert=convert,
    stage="ppo",
    hub_id="hiyouga/geometry3k",
    layout="alpaca",
)
