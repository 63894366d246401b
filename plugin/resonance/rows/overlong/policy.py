# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The `overlong` policy on one pair. `dataset` decides about all pairs of a dataset together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..encode import AnswerIds, PairEncoder, PairIds
from ..fields import OVERLONG, ROW, SOURCE
from ..plan import Policy, RowPlan
from ..types import Row
from .cut_text import cut_end, cut_text
from .lengths import Lengths, make_limits
from .shrink_image import CannotFitError, Size, shrink_images


@dataclass(frozen=True)
class Overlong:
    """A pair that is too long, and what was done about it.

    Attributes:
        policy: the recipe's `overlong`.
        limits: those exceeded, by recipe key.
        tokens: of the whole pair.
        left: tokens after shrink_image or cut_text; None if the pair is as it was.
        stuck: why shrink_image or cut_text could not make the pair fit, else empty.
        source: where the pair is from.
        row: its number there.
    """

    policy: Policy
    limits: dict[str, int]
    tokens: Lengths
    left: Lengths | None = None
    stuck: str = ""
    source: str = ""
    row: int = 0

    @property
    def stops(self) -> bool:
        """Whether the run cannot go on with this pair."""
        return self.policy != "drop" and self.left is None

    def dumps(self) -> str:
        """Return JSON for the column OVERLONG of a tokenized row."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, row: Row) -> Overlong:
        """Read the column OVERLONG of a tokenized row that is too long."""
        values = json.loads(row[OVERLONG]) | {"source": row[SOURCE], "row": row[ROW]}
        for name in ("tokens", "left"):
            values[name] = values[name] and Lengths(*values[name])
        return cls(**values)


@dataclass(frozen=True)
class FittedPair:
    """One pair after the policy.

    Attributes:
        ids: its tokens.
        sizes: (width, height) that its images must have in a batch; None for as they are.
        overlong: what happened, if it was too long.
    """

    ids: PairIds
    sizes: list[Size] | None = None
    overlong: Overlong | None = None


class OverlongPolicy:
    """Encode pairs and apply a run's policy to those that are too long.

    Args:
        encoder: encodes a pair whole.
        plan: the policy and its limits.
        cutoff_len: the most tokens of prompt and response.
    """

    def __init__(self, encoder: PairEncoder, plan: RowPlan, cutoff_len: int) -> None:
        self.encoder, self.plan, self.limits = encoder, plan, make_limits(plan, cutoff_len)

    def __call__(self, row: Row) -> FittedPair:
        """Return one aligned row as ids that keep the limits, or whole with a note that it does not."""
        ids = self.encoder(row)
        limits = self.limits.exceeded_by(ids.lengths(frozenset()))
        if not limits:
            return FittedPair(ids)

        media, policy = self.encoder.media_ids(row), self.plan.overlong
        tokens = ids.lengths(media)
        fitting: PairIds | None = None
        sizes: list[Size] | None = None
        try:
            if policy == "shrink_image":
                fitting, sizes = shrink_images(row, self.encoder, self.limits)
            elif policy == "cut_text" and isinstance(ids, AnswerIds):
                fitting = cut_end(ids, media, self.limits)
            elif policy == "cut_text":
                fitting = cut_text(row, self.encoder, self.limits, self.plan.max_prompt_length)
        except CannotFitError as error:
            return FittedPair(ids, None, Overlong(policy, limits, tokens, stuck=str(error)))
        if fitting is None:
            return FittedPair(ids, None, Overlong(policy, limits, tokens))
        return FittedPair(fitting, sizes, Overlong(policy, limits, tokens, fitting.lengths(media)))


def measure(row: Row, encoder: PairEncoder) -> Lengths:
    """Count the tokens of one aligned row as LlamaFactory encodes it, without truncation.

    Args:
        row: an aligned row with ``_prompt``, ``_response`` (none, one message that counts as chosen, or two),
            ``_system``, ``_tools``, ``_images``, ``_videos``, ``_audios``.
        encoder: of the model and template.

    Raises:
        ValueError, OSError: what LlamaFactory raises for a row that it cannot encode.
    """
    given = len(row["_response"])
    if given < 2:  # answers that the encoder needs are not counted
        row = {**row, "_response": (row["_response"] or [{"role": "assistant", "content": ""}]) * 2}
    lengths = encoder(row).lengths(encoder.media_ids(row))
    return lengths._replace(**dict.fromkeys(("chosen", "rejected")[given:], 0))
