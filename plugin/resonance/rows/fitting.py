# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What our dataset processors have in common: rows are encoded whole, and fitted by the recipe's `overlong`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .encode import PairEncoder
from .overlong.policy import OverlongPolicy
from .plan import get_plan

_LEFT_BEHIND = ("policy", "fitted")


class FitsRows:
    """Before one of LlamaFactory's dataset processors, whose attributes these are."""

    template: Any
    tokenizer: Any
    processor: Any
    data_args: Any

    def make_encoder(self) -> PairEncoder:
        """What encodes a row."""
        return PairEncoder(self.template, self.tokenizer, self.processor)

    @cached_property
    def policy(self) -> OverlongPolicy:
        """What applies the run's limits; made where it is used, for each worker has its own."""
        return OverlongPolicy(self.make_encoder(), get_plan(self.data_args), self.data_args.cutoff_len)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets and a cache is keyed by: nothing that work leaves behind."""
        return {name: value for name, value in vars(self).items() if name not in _LEFT_BEHIND}
