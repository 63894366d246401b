# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The servers that a recipe takes its completions from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..arguments.policy import DEFAULTS
from ..arguments.reader import read_recipe
from ..arguments.server_checks import url_problems
from ..arguments.serving import REPORT, serve_commands

__all__ = ["REPORT", "read_served", "serve_commands"]


def read_served(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The keys of a recipe with servers.

    Raises:
        ValueError: it cannot be read, or has none.
    """
    values = {**DEFAULTS, **read_recipe(path, overrides)}
    if values["rollout_backend"] == "local":
        raise ValueError(f"{path}: its policy generates by itself; add `rollout_backend: vllm` and `rollout_url`")
    found = url_problems(values["rollout_url"], values["rollout_backend"])
    found += [f"{key}: is missing" for key in ("model_name_or_path", "output_dir") if not values.get(key)]
    if found:
        raise ValueError(f"{path}: {'; '.join(found)}")
    return values
