# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The table of built-in rewards."""

from __future__ import annotations

from ..spec import make_table
from .boxes import iou
from .lengths import length, overlong, repetition
from .openvlthinker import r1v
from .spec import RewardSpec
from .text import choice, exact, format_, json_, numeric

REWARDS = make_table(RewardSpec, exact, choice, numeric, format_, json_, iou, length, overlong, repetition, r1v)
# What compares expressions where math_verify is installed, and without it plain numbers alone.
EXPRESSIONS = ("numeric", "r1v")
