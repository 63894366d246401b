# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipes of broken_recipes.yaml; `python tests/checks/broken_recipes.py` prints the table of docs/validate.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Broken:
    """What is changed of a sound recipe, the message, and how bad it is."""

    recipe: dict[str, Any]
    message: str
    kind: str = "error"


BROKEN = [Broken(**entry) for entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())]


def table() -> str:
    """The recipes as a table of Markdown."""
    rows = []
    for broken in BROKEN:
        lines = [
            f"`{key}` left out"
            if value is None
            else f"`{key}: {value if isinstance(value, str) else json.dumps(value)}`"
            for key, value in broken.recipe.items()
        ]
        rows.append(f"| {', '.join(lines)} | {broken.kind} | ``{broken.message.strip()}`` |")
    return "\n".join(["| in the recipe | kind | message, or how it begins |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
