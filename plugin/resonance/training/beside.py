# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a few losses read beside log-probabilities of whole responses, made of what was read of each token."""

from __future__ import annotations

import torch

from ..forward.result import TokenLogps
from ..losses import Pairs


def split_rows(tokens: TokenLogps, rows: int) -> tuple[TokenLogps, TokenLogps]:
    """The first rows of a batch, and those behind."""

    def part(which: slice) -> TokenLogps:
        return TokenLogps({name: values[which] for name, values in tokens.columns.items()}, tokens.mask[which])

    return part(slice(rows)), part(slice(rows, None))


def corrupted_pairs(pairs: Pairs, policy: torch.Tensor, reference: torch.Tensor) -> Pairs:
    """The chosen responses of `pairs` against themselves beside corrupted images.

    Args:
        pairs: with a reference.
        policy: log-probabilities of the chosen responses beside corrupted images, (B,), by the rule of `pairs`.
        reference: of the reference likewise.
    """
    lengths = pairs.chosen_lengths
    return Pairs(
        pairs.policy_chosen_logps, policy, pairs.reference_chosen_logps, reference, lengths, lengths, logps=pairs.logps
    )


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
