# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a few losses read beside log-probabilities of whole responses, made of what was read of each token."""

from __future__ import annotations

import torch

from ..forward.result import TokenLogps
from ..losses import Pairs


def changed_pairs(policy: TokenLogps, reference: TokenLogps, changed: torch.Tensor) -> Pairs:
    """Pairs by the tokens alone in which both responses differ: sums over these, and how many there are.

    Args:
        policy: of the chosen, then of the rejected responses.
        reference: of the same.
        changed: which tokens differ, as `rows.changed.CHANGED`.
    """
    ours, theirs = ((tokens.values * changed).sum(-1).chunk(2) for tokens in (policy, reference))
    chosen, rejected = changed.sum(-1).chunk(2)
    return Pairs(ours[0], ours[1], theirs[0], theirs[1], chosen, rejected, logps="sum")
