# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The SFT loss, a part of mixes."""

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, policy_output


@declare(paper="arXiv:2411.10442", needs_reference=False, logps="mean", logps_fixed=True, ranges={"beta": POSITIVE})
def sft(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """The SFT loss of the chosen response: MPO's generation loss, and a part of other mixes.

    Formula, with lp = mean log-prob a token:

        L = -lp_w

    LlamaFactory's `pref_ftx` adds the same. trl averages over the tokens of a micro-batch; here each response counts
    the same.

    Compared with: LlamaFactory 0.9.5, the term of `pref_ftx` in CustomDPOTrainer.get_batch_loss_metrics.

    Args:
        beta: scale of the rewards that are logged; the loss does not depend on it.
    """
    return policy_output(pairs, -pairs.policy_chosen_logps, beta)
