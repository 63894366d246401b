# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's dataset description with the columns that we carry."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

from llamafactory.data.parser import DatasetAttr

from .fields import CARRIED, META


def join(self: Any, attr: dict[str, Any]) -> None:
    """Read a ``dataset_info.json`` entry as LlamaFactory does, then what its ``columns`` name of ours."""
    DatasetAttr.join(self, attr)
    for column in (*(column.name for column in CARRIED), META):
        self.set_attr(column, attr.get("columns", {}))


ScoredDatasetAttr = make_dataclass(
    "ScoredDatasetAttr",
    [
        *((column.name, str | None, field(default=None)) for column in CARRIED),
        (META, list[str] | None, field(default=None)),
    ],
    bases=(DatasetAttr,),
    namespace={"join": join, "__module__": __name__},
    repr=False,
)
