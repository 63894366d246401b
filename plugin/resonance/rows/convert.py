# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Raw row -> aligned row. Wraps whichever converter LlamaFactory picks: every formatting gains scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llamafactory.data.converter import get_dataset_converter as llamafactory_dataset_converter

from .fields import ALIGNED_SCORES, ROW, SCORE_FIELDS, SOURCE, score_problem
from .plan import RowPlan, get_plan


@dataclass(frozen=True)
class ScoredConverter:
    """Convert one example and keep where it came from and, if the run needs them, its scores.

    The plan is a field because cached datasets are keyed by this object's state, not by its code.

    Args:
        inner: LlamaFactory's converter, or a third party's.
        score_columns: raw column names of (score_chosen, score_rejected).
        plan: what the run needs.
    """

    inner: Callable[[dict[str, Any]], dict[str, Any]]
    score_columns: tuple[Any, ...]
    plan: RowPlan

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the aligned row.

        Raises:
            ValueError: if the inner converter fails; names source and row.
        """
        try:
            output = self.inner(example)
        except Exception as error:
            where = f"{example.get(SOURCE)}, row {example.get(ROW)}"
            raise ValueError(f"{where}: cannot be converted ({type(error).__name__}: {error}).") from error

        output[SOURCE] = example[SOURCE]
        output[ROW] = example[ROW]
        if self.plan.needs_scores:
            for name, column in zip(ALIGNED_SCORES, self.score_columns, strict=True):
                value: Any = example[column]
                # The caller reports illegal scores, all at once; until then NaN keeps the column's type.
                output[name] = float("nan") if score_problem(value) else float(value)
        return output


def get_dataset_converter(name: str, dataset_attr: Any, data_args: Any) -> ScoredConverter:
    """Return LlamaFactory's converter of this formatting, wrapped."""
    columns = tuple(getattr(dataset_attr, field, None) for field in SCORE_FIELDS)
    return ScoredConverter(llamafactory_dataset_converter(name, dataset_attr, data_args), columns, get_plan(data_args))
