# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How long a pair is, in tokens, and which limits it exceeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..plan import RowPlan


class Lengths(NamedTuple):
    """Tokens of one pair without truncation; `image_tokens` (all media, marks included) are part of the others."""

    prompt: int
    chosen: int
    rejected: int
    image_tokens: int

    @property
    def response(self) -> int:
        """The longer response."""
        return max(self.chosen, self.rejected)

    @property
    def total(self) -> int:
        """The longer of prompt + chosen and prompt + rejected."""
        return self.prompt + self.response

    @property
    def needed(self) -> dict[str, int]:
        """The smallest limits that the pair keeps, by recipe key."""
        return {"cutoff_len": self.total, "max_prompt_length": self.prompt, "max_target_length": self.response}


@dataclass(frozen=True)
class Limits:
    """The most tokens of a pair, by recipe key; None for no limit.

    Attributes:
        cutoff_len: of prompt + the longer response.
        max_prompt_length: of the prompt.
        max_target_length: of each response.
    """

    cutoff_len: int
    max_prompt_length: int | None = None
    max_target_length: int | None = None

    def exceeded_by(self, lengths: Lengths) -> dict[str, int]:
        """Return the limits that a pair exceeds, by recipe key."""
        needed = lengths.needed
        return {key: limit for key, limit in vars(self).items() if limit is not None and needed[key] > limit}


def make_limits(plan: RowPlan, cutoff_len: int) -> Limits:
    """Return the limits of a run. With cut_text, `max_prompt_length` is only how short a prompt may be cut."""
    prompt = None if plan.overlong == "cut_text" else plan.max_prompt_length
    return Limits(cutoff_len, prompt, plan.max_target_length)
