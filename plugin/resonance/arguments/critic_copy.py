# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where `critic: separate` cannot run: a policy whose weights a copy of it cannot share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .environment import is_env_enabled


def problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Keys of a recipe that do not go together with it.

    Args:
        values: of all keys that are known.
        given: as written.
    """
    found = {}
    if _zero_stage(values.get("deepspeed")) == 3:
        found["deepspeed"] = "ZeRO stage 3 gives every rank a part of each weight, which a copy cannot share"
    if values.get("fsdp") or is_env_enabled("ACCELERATE_USE_FSDP"):
        found["fsdp"] = "FSDP gives every rank a part of each weight, which a copy cannot share"
    if given.get("quantization_bit"):
        found["quantization_bit"] = "it has not been tried with quantised weights"
    cures = {"deepspeed": "use stage 2 or lower, or set `critic: shared`"}
    return [
        f"critic: separate does not run with {key}: {why}; {cures.get(key, f'remove {key}, or set `critic: shared`')}"
        for key, why in found.items()
    ]


def _zero_stage(deepspeed: Any) -> int | None:
    """Of a configuration or its file; None without one, and where DeepSpeed itself will report what is wrong."""
    if isinstance(deepspeed, str):
        try:
            deepspeed = json.loads(Path(deepspeed).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
    config = deepspeed.get("zero_optimization") if isinstance(deepspeed, Mapping) else None
    return config.get("stage") if isinstance(config, Mapping) else None
