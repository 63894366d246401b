# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/reinforcement.md names every preset, every built-in reward and every recipe key."""

from __future__ import annotations

import re
from pathlib import Path

from resonance.arguments.policy import KEYS
from resonance.policy import PRESETS
from resonance.rewards import REWARDS

TEXT = (Path(__file__).parents[1] / "docs" / "reinforcement.md").read_text(encoding="utf-8")


def test_every_preset_reward_and_key_is_named():
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`|```.*?```", TEXT, re.DOTALL))))
    missing = {
        kind: sorted(set(names) - named)
        for kind, names in (("presets", PRESETS), ("rewards", REWARDS), ("keys", KEYS))
    }
    assert not any(missing.values()), missing


def test_presets_and_rewards_have_a_row_each():
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert set(PRESETS) | set(REWARDS) <= set(rows)
