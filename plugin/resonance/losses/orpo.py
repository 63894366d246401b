# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""ORPO."""

import math

import torch
import torch.nn.functional as F

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, policy_output


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) of x <= 0, accurate and with a finite gradient up to x = 0; the shape of x.

    A response the model is certain of has x = 0, where the logarithm is -inf: x is held at the smallest normal number
    below zero.
    """
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    near = x > -math.log(2)
    # Both branches are computed, so each gets arguments on which its gradient is finite.
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, x))),
    )


def log_odds_ratio(pairs: Pairs) -> torch.Tensor:
    """log_odds(lp_w) - log_odds(lp_l) of mean log-probs a token, (B,)."""
    chosen, rejected = pairs.policy_chosen_logps, pairs.policy_rejected_logps
    return (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))


@declare(paper="arXiv:2403.07691", needs_reference=False, logps="mean", logps_fixed=True, ranges={"beta": POSITIVE})
def orpo(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """ORPO: the SFT loss of the chosen response plus the odds ratio of the pair; no reference model.

    Formula, with lp = mean log-prob a token and log_odds(lp) = lp - log(1 - exp(lp)):

        L = -lp_w - beta * logsigmoid(log_odds(lp_w) - log_odds(lp_l))

    A positive log-prob, which only rounding can make, counts as 0 in the odds.

    Compared with: LlamaFactory 0.9.5, CustomDPOTrainer.odds_ratio_loss.

    Args:
        beta: weight of the odds ratio, the paper's lambda.

    Stats: sft_loss and odds_ratio_loss.
    """
    sft_loss = -pairs.policy_chosen_logps
    odds_ratio_loss = -F.logsigmoid(log_odds_ratio(pairs))  # equation 7
    losses = sft_loss + beta * odds_ratio_loss  # equation 6
    return policy_output(pairs, losses, beta, sft_loss=sft_loss, odds_ratio_loss=odds_ratio_loss)


@declare(paper="arXiv:2403.07691", needs_reference=False, logps="mean", logps_fixed=True, ranges={"beta": POSITIVE})
def odds_ratio(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """The odds ratio of ORPO alone, for mixes with other weights or other losses than ORPO's.

    Formula, with lp = mean log-prob a token and log_odds(lp) = lp - log(1 - exp(lp)):

        L = -beta * logsigmoid(log_odds(lp_w) - log_odds(lp_l))

    `pref_loss: [odds_ratio, sft]` is `orpo`.

    Compared with: trl 0.24.0, ORPOTrainer.odds_ratio_loss, with the other sign.

    Args:
        beta: weight of the odds ratio, the paper's lambda.
    """
    return policy_output(pairs, -beta * F.logsigmoid(log_odds_ratio(pairs)), beta)
