# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FLOPs of matrix products, counted while code runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# torch's formulas for attention refuse grouped queries, and cover no kernel of CPUs: attention counts nowhere.
_FORMULAS = {op: formula for op, formula in flop_registry.items() if "attention" not in str(op)}


class MatrixFlops(TorchDispatchMode):
    """Within it, `total` grows by the FLOPs of matrix products and convolutions, those of backwards among them.

    (m, k) x (k, n) are 2 m k n. What attention does inside one kernel is left out, on every device alike.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
