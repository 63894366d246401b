# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a row is, and what of LlamaFactory's objects is read in this room. Standard library only."""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]
"""One row at any station, by column."""

Batch = dict[str, list[Any]]
"""Several rows, by column, as `datasets` hands them to a batched map."""


class DatasetAttr(Protocol):
    """A dataset_info.json entry. Which column is what is read by `getattr`, for a key of ``columns``."""

    load_from: str
    formatting: str
