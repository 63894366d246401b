# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's dataset description with two more columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llamafactory.data.parser import DatasetAttr

from .fields import SCORE_FIELDS


@dataclass(repr=False)
class ScoredDatasetAttr(DatasetAttr):
    """A ``dataset_info.json`` entry whose ``columns`` may name ``score_chosen`` and ``score_rejected``."""

    score_chosen: str | None = None
    score_rejected: str | None = None

    def join(self, attr: dict[str, Any]) -> None:
        """Read the entry as LlamaFactory does, then the two score columns."""
        super().join(attr)
        for field in SCORE_FIELDS:
            self.set_attr(field, attr.get("columns", {}))
