# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How the tests of rewards call one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from resonance.rewards import Completions, make_rewards, score


def reward_of(entry: dict[str, Any] | str, *texts: str, ids: list[list[int]] | None = None, **columns: Any) -> list:
    """The totals of one reward for these completions; a column of one value serves all."""
    rewards = make_rewards([{"name": entry} if isinstance(entry, str) else entry])
    filled = {name: value if isinstance(value, list) else [value] * len(texts) for name, value in columns.items()}
    batch = Completions(texts, ["?"] * len(texts), [["a.png"]] * len(texts), ids, filled)
    return score(rewards, batch).totals


@pytest.fixture
def rewarded() -> Callable[..., list]:
    return reward_of


@pytest.fixture
def my_rewards(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Writes the module `my_rewards` where the run starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)

    def write(source: str) -> None:
        sys.modules.pop("my_rewards", None)
        (tmp_path / "my_rewards.py").write_text(source)

    return write
