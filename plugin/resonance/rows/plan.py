# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What one run asks of its rows. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .fields import CARRIED, Column

WIDEST = -1
"""The score margin that stands for: of each prompt the pairs whose scores are furthest apart."""


@dataclass(frozen=True)
class RowPlan:
    """What a run needs from each row; part of the fingerprint of every cached dataset of the run.

    Args:
        needs_scores: whether the loss reads ``score_chosen`` and ``score_rejected``.
        overlong: what becomes of a pair over a limit: error, drop, shrink_image or cut_text.
        max_prompt_length: most tokens of a prompt, or None.
        max_target_length: most tokens of a response, or None.
        data_ratio: fraction of the training rows to keep.
        score_margin: smallest difference of the scores of a training pair, WIDEST, or None for all pairs.
        pairs: whether the rows are preference pairs; of other rows only a fraction is taken.
        schema_version: raised whenever the meaning of a column changes, so that no older cache is read.
    """

    needs_scores: bool
    overlong: str = "error"
    max_prompt_length: int | None = None
    max_target_length: int | None = None
    data_ratio: float = 1.0
    score_margin: float | None = None
    pairs: bool = True
    schema_version: int = 2

    @property
    def reads_scores(self) -> bool:
        """Whether scores have to be there, for the loss or to choose rows by."""
        return self.needs_scores or self.score_margin is not None

    @property
    def carried(self) -> tuple[Column, ...]:
        """The columns of CARRIED that each row brings along."""
        return tuple(column for column in CARRIED if getattr(self, f"needs_{column.group}"))

    def for_evaluation(self) -> RowPlan:
        """The same plan with every row kept."""
        return replace(self, data_ratio=1.0, score_margin=None)


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
