# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's switches in the environment."""

from __future__ import annotations

import os

# Of the switches called USE_..., these choose no back-end.
_NO_BACK_END = ("USE_RAY", "USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB")


def is_env_enabled(name: str) -> bool:
    """LlamaFactory's rule for a switch."""
    return os.getenv(name, "0").lower() in ("true", "y", "1")


def may_have_other_keys() -> bool:
    """Whether a recipe may have keys that only LlamaFactory's own parser can judge.

    A back-end brings keys of its own, and each is switched on by a variable called USE_...: by this rule those of
    later LlamaFactorys are left alone too.
    """
    switches = [name for name in os.environ if name.startswith("USE_") and name not in _NO_BACK_END]
    return any(map(is_env_enabled, ["ALLOW_EXTRA_ARGS", *switches]))
