# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What becomes of a pair that is too long. One row at a time; `settle` judges all of them together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..encode import PairEncoder, PairIds
from ..plan import RowPlan
from .cut_text import cut_text
from .lengths import Excess, Lengths, make_limits
from .shrink_image import Size, Stuck, shrink_images


@dataclass(frozen=True)
class Overlong:
    """A pair that was found too long, and what was done.

    Args:
        policy: the recipe's `overlong`.
        over: each key whose limit was exceeded.
        found: tokens of the whole pair.
        left: tokens after shrink_image or cut_text; None if the pair is as it was.
        stuck: why shrink_image or cut_text could not make the pair fit, else empty.
    """

    policy: str
    over: dict[str, Excess]
    found: Lengths
    left: Lengths | None = None
    stuck: str = ""

    @property
    def stops(self) -> bool:
        """Whether the run cannot go on with this row."""
        return self.policy != "drop" and self.left is None

    def dumps(self) -> str:
        """As JSON, for a column of the tokenized rows."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Overlong:
        """The inverse of `dumps`."""
        values = json.loads(text)
        values["over"] = {key: Excess(*pair) for key, pair in values["over"].items()}
        for name in ("found", "left"):
            values[name] = None if values[name] is None else Lengths(*values[name])
        return cls(**values)


@dataclass(frozen=True)
class Fitted:
    """One pair after the policy: its ids, the sizes its images must have (None: as they are), and what happened."""

    ids: PairIds
    sizes: list[Size] | None = None
    overlong: Overlong | None = None


@dataclass
class Fitter:
    """Encode pairs and apply the run's policy to those that are too long.

    Args:
        encoder: encodes a pair whole.
        plan: the policy and its limits.
        data_args: for `cutoff_len`.
    """

    encoder: PairEncoder
    plan: RowPlan
    data_args: Any

    def __post_init__(self) -> None:
        self.limits = make_limits(self.plan, self.data_args)

    def __call__(self, row: dict[str, Any]) -> Fitted:
        """Return one aligned row as ids that keep the limits, or whole with a note that it does not."""
        ids = self.encoder(row)
        over = self.limits.exceeded_by(ids.lengths(frozenset()))
        if not over:
            return Fitted(ids)

        media, policy, sizes = self.encoder.media_ids(row), self.plan.overlong, None
        found = ids.lengths(media)
        try:
            if policy == "shrink_image":
                fitting, sizes = shrink_images(row, self.encoder, self.limits)
            elif policy == "cut_text":
                fitting = cut_text(row, self.encoder, self.limits, self.plan.max_prompt_length)
            else:
                return Fitted(ids, None, Overlong(policy, over, found))
        except Stuck as stuck:
            return Fitted(ids, None, Overlong(policy, over, found, stuck=str(stuck)))
        return Fitted(fitting, sizes, Overlong(policy, over, found, fitting.lengths(media)))
