# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FLOPs of a step with those of attention on a CPU, which torch's counter leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from resonance.forward.flops import MatrixFlops

_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
# Matrix products over all pairs of tokens: scores and values; in the backward the scores again, and four gradients.
_PRODUCTS: dict[Any, int] = {_FORWARD: 2, _BACKWARD: 5}


class StepFlops(MatrixFlops):
    """Within it, `total` grows by the FLOPs of matrix products, convolutions and attention.

    A causal kernel is counted with the pairs of tokens that see each other, one under a mask with all of them, which
    it computes.
    """

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        products = _PRODUCTS.get(getattr(func, "overloadpacket", None))
        if products is not None:
            skip = products == 5  # the gradient comes first, and result and sums before the rest
            query, key = args[skip], args[skip + 1]
            causal = args[7] if skip else (args[4] if len(args) > 4 else (kwargs or {}).get("is_causal", False))
            batch, heads, queries, width = query.shape
            pairs = queries * (queries + 1) / 2 if causal else queries * key.shape[2]
            self.total += int(2 * products * batch * heads * width * pairs)
        return super().__torch_dispatch__(func, types, args, kwargs)
