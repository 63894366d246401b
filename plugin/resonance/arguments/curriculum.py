# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of a curriculum: which pairs come first, and an eta of Uni-DPO that grows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Order = Literal["ascending", "descending"]
ORDERS: tuple[Order, ...] = get_args(Order)
WARMUP, WARMED = "uni_dpo_eta_warmup", "qual_eta"  # a key, and the parameter of a loss that it is about


@dataclass
class CurriculumKeys:
    r"""Keys of the DPO stage that change with the place in the training."""

    score_order: Order | None = field(
        default=None,
        metadata={
            "help": (
                "Train on the pairs in the order of score_chosen - score_rejected, in every epoch: descending (clear "
                "pairs first) or ascending (close ones first). Unset: at random."
            )
        },
    )
    uni_dpo_eta_warmup: float = field(
        default=0.0,
        metadata={
            "help": (
                "Uni-DPO: let eta of the quality weight grow from 0 to uni_dpo_qual_eta over so many steps, or, below "
                "1, over that share of all steps."
            )
        },
    )


def warmup_steps(given: float, total: int) -> int:
    """How many optimizer steps a warm-up takes, of `total`."""
    return math.ceil(given * total) if given < 1 else int(given)


def warmup_problems(given: Any) -> list[str]:
    """What is wrong with the value of `uni_dpo_eta_warmup`."""
    number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if number and (0 <= given < 1 or given == int(given) >= 1):
        return []
    return [
        f"{WARMUP}: {given!r} is not allowed, it must be a whole number of steps, or a share of all steps "
        "from 0 to below 1"
    ]


def order_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the value of `score_order`; other orders that a recipe asks for are judged beside it."""
    given = values.get("score_order")
    if given is None or given in ORDERS:
        return []
    return [f"score_order: {given!r} is not one of {', '.join(ORDERS)}"]
