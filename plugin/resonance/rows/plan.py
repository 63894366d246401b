# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room: what one run asks of its rows. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RowPlan:
    """What a run needs from each row; part of the fingerprint of every cached dataset of the run.

    Args:
        needs_scores: whether the loss reads ``score_chosen`` and ``score_rejected``.
        schema_version: raised whenever the meaning of a column changes, so that no older cache is read.
    """

    needs_scores: bool
    schema_version: int = 1


def get_plan(data_args: Any) -> RowPlan:
    """Return the plan that the run put on its data arguments.

    Raises:
        ValueError: if no plan was set.
    """
    plan = getattr(data_args, "row_plan", None)
    if not isinstance(plan, RowPlan):
        raise ValueError(
            f"The data arguments carry no row plan (found {plan!r}). "
            "Set `data_args.row_plan = RowPlan(needs_scores=...)` before the datasets are loaded."
        )
    return plan
