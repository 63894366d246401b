# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A module of rewards where the server starts."""

from __future__ import annotations

from rewards.conftest import my_rewards

__all__ = ["my_rewards"]
