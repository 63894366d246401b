# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How long a pair is, in tokens, and which limits it exceeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Excess(NamedTuple):
    """A limit in tokens, and what it would have to be."""

    limit: int
    needed: int


@dataclass(frozen=True)
class Limits:
    """The most tokens of a pair, by recipe key; None for no limit.

    Args:
        cutoff_len: of prompt + the longer response.
        max_prompt_length: of the prompt.
        max_target_length: of each response.
    """

    cutoff_len: int
    max_prompt_length: int | None = None
    max_target_length: int | None = None

    def exceeded_by(self, lengths: Lengths) -> dict[str, Excess]:
        """Return each key whose limit is exceeded."""
        needed = {
            "cutoff_len": lengths.total,
            "max_prompt_length": lengths.prompt,
            "max_target_length": lengths.response,
        }
        limits = vars(self)
        over = {key: need for key, need in needed.items() if limits[key] is not None and need > limits[key]}
        return {key: Excess(limits[key], need) for key, need in over.items()}


def make_limits(plan: RowPlan, data_args: Any) -> Limits:
    """Return the limits of a run. With cut_text, `max_prompt_length` only says how short a prompt may be cut."""
    prompt = None if plan.overlong == "cut_text" else plan.max_prompt_length
    return Limits(data_args.cutoff_len, prompt, plan.max_target_length)


_measuring: list[tuple[tuple[Any, ...], Any]] = []


def measure(row: dict[str, Any], template: Any, tokenizer: Any, processor: Any) -> Lengths:
    """Count the tokens of one aligned row as LlamaFactory encodes it, without truncation.

    Args:
        row: an aligned row with ``_prompt``, ``_response`` (one message counts as chosen, or two), ``_system``,
            ``_tools``, ``_images``, ``_videos``, ``_audios``.
        template: LlamaFactory's template.
        tokenizer: the model's tokenizer.
        processor: the model's multimodal processor, or None.

    Raises:
        ValueError, OSError: what LlamaFactory raises for a row that it cannot encode.
    """
    from ..encode import PairEncoder

    parts = (template, tokenizer, processor)
    if not (_measuring and all(old is new for old, new in zip(_measuring[0][0], parts, strict=True))):
        _measuring[:] = [(parts, PairEncoder(*parts))]
    encoder = _measuring[0][1]
    single = len(row["_response"]) == 1
    row = {**row, "_response": row["_response"] * 2} if single else row
    lengths = encoder(row).lengths(encoder.media_ids(row))
    return lengths._replace(rejected=0) if single else lengths
