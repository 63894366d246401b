# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/reward_models.md names every recipe key of reward models, and the keys of a reward entry."""

from __future__ import annotations

import re
from pathlib import Path

from resonance.arguments.reward_model import KEYS, SHARED
from resonance.rewards.model import _HOW

TEXT = (Path(__file__).parents[1] / "docs" / "reward_models.md").read_text(encoding="utf-8")


def test_every_key_is_named():
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", TEXT))))
    assert {*KEYS, *SHARED, *_HOW, "base", "template"} - named == set()
