# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What one run asks of its rows, and how LlamaFactory carries that to us. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from .fields import CARRIED, Column

Kind = Literal["pairs", "prompts", "feedback", "answers", "other"]
Corruption = Literal["crop", "noise", "diffusion", "blank"]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
"""Values of the recipe's `mdpo_image`: what becomes of images that are shown corrupted."""

Policy = Literal["error", "drop", "shrink_image", "cut_text"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""Values of the recipe's `overlong`: what becomes of a pair over a limit."""

WIDEST = -1
"""The score margin that stands for: of each prompt the pairs whose scores are furthest apart."""


def reaches(gap: float, margin: float) -> bool:
    """Return whether a difference of two scores is at least a margin; 0.3 - 0.1 reaches 0.2."""
    return gap >= margin or math.isclose(gap, margin, rel_tol=1e-9, abs_tol=1e-9)


@dataclass(frozen=True)
class RowPlan:
    """What a run needs from each row; part of the fingerprint of every cached dataset of the run.

    Attributes:
        needs_scores: whether the loss reads ``score_chosen`` and ``score_rejected``.
        overlong: what becomes of a pair over a limit.
        max_prompt_length: most tokens of a prompt, or None.
        max_target_length: most tokens of a response, or None.
        data_ratio: fraction of the training rows to keep.
        score_margin: smallest difference of the scores of a training pair, WIDEST, or None for all pairs.
        kind: what a row is; feedback is an answer that is good or bad. All but other rows are checked and tokenized by
            us, those are only selected.
        schema_version: raised whenever the meaning of a column changes, so that no older cache is read.
        needs_weights: whether the run reads ``weight``.
        needs_margins: whether the loss reads ``margin``.
        needs_images: whether every row has to show an image.
        score_order: whether scores put the training rows in order.
    """

    needs_scores: bool
    overlong: Policy = "error"
    max_prompt_length: int | None = None
    max_target_length: int | None = None
    data_ratio: float = 1.0
    score_margin: float | None = None
    kind: Kind = "pairs"
    schema_version: int = 2
    needs_weights: bool = False
    needs_margins: bool = False
    score_order: bool = False
    needs_images: bool = False

    @property
    def needs_tags(self) -> bool:
        """Whether the loss reads ``kto_tag``."""
        return self.kind == "feedback"

    @property
    def reads_scores(self) -> bool:
        """Whether scores have to be there, for the loss, or to choose or order rows by."""
        return self.needs_scores or self.score_order or self.score_margin is not None

    @property
    def carried(self) -> tuple[Column, ...]:
        """The columns of CARRIED that each row brings along."""
        by_order = {"scores"} if self.score_order else set[str]()
        return tuple(c for c in CARRIED if c.group in by_order or getattr(self, f"needs_{c.group}"))

    @property
    def read(self) -> tuple[Column, ...]:
        """The columns of CARRIED that have to be there and to hold what they should."""
        return replace(self, needs_scores=self.reads_scores).carried

    def for_evaluation(self) -> RowPlan:
        """Return the same plan with every row kept, none weighted, and in their own order."""
        return replace(self, data_ratio=1.0, score_margin=None, needs_weights=False, score_order=False)


def get_plan(data_args: object) -> RowPlan:
    """Return the plan of the run that LlamaFactory's data arguments belong to: their attribute ``row_plan``.

    LlamaFactory calls our replacements of its functions with its own arguments only, so the plan travels on them. It
    is read where LlamaFactory calls us; our own functions take it as an argument.

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
