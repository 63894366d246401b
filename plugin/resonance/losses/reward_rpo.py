# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reward-aware preference optimization: the margin of the policy follows that of the scores."""

import torch
import torch.nn.functional as F

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output

RANGES = {"beta": POSITIVE, "gt_reward_scale": POSITIVE}


def preference_kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """KL(sigmoid(a) || sigmoid(b)) of two preferences between the responses of a pair, (B,)."""
    chosen = a.sigmoid() * (F.logsigmoid(a) - F.logsigmoid(b))
    rejected = (-a).sigmoid() * (F.logsigmoid(-a) - F.logsigmoid(-b))
    return chosen + rejected


@declare(paper="arXiv:2406.11704", needs_scores=True, ranges=RANGES)
def rpo_bwd_kl(pairs: Pairs, *, beta: float = 0.1, gt_reward_scale: float = 1.0) -> LossOutput:
    """Reward-aware preference optimization: KL divergence of the policy's preference from that of the scores.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), p = sigmoid(beta * D) and q = sigmoid(gt_reward_scale *
    (S_w - S_l)):

        L = q * log(q / p) + (1 - q) * log((1 - q) / (1 - p))

    Compared with: NeMo-Aligner, MegatronGPTDPOModel.loss_func, "rpo_bwd_kl" (af2b3bd).

    Args:
        gt_reward_scale: factor of the scores.
    """
    losses = preference_kl(gt_reward_scale * pairs.score_margin, beta * pairs.logits)
    return reference_output(pairs, losses, beta)


@declare(paper="arXiv:2406.11704", needs_scores=True, ranges=RANGES)
def rpo_fwd_kl(pairs: Pairs, *, beta: float = 0.1, gt_reward_scale: float = 1.0) -> LossOutput:
    """Reward-aware preference optimization: KL divergence of the scores' preference from that of the policy.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), p = sigmoid(beta * D) and q = sigmoid(gt_reward_scale *
    (S_w - S_l)):

        L = p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))

    Compared with: NeMo-Aligner, MegatronGPTDPOModel.loss_func, "rpo_fwd_kl" (af2b3bd).

    Args:
        gt_reward_scale: factor of the scores.
    """
    losses = preference_kl(beta * pairs.logits, gt_reward_scale * pairs.score_margin)
    return reference_output(pairs, losses, beta)


@declare(paper="arXiv:2406.11704", needs_scores=True, ranges=RANGES)
def rpo_sq(pairs: Pairs, *, beta: float = 0.1, gt_reward_scale: float = 1.0) -> LossOutput:
    """Reward-aware preference optimization: squared distance of the policy's margin from that of the scores.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l):

        L = (beta * D - gt_reward_scale * (S_w - S_l)) ** 2

    Compared with: NeMo-Aligner, MegatronGPTDPOModel.loss_func, "rpo_sq" (af2b3bd).

    Args:
        gt_reward_scale: factor of the scores.
    """
    return reference_output(pairs, (beta * pairs.logits - gt_reward_scale * pairs.score_margin) ** 2, beta)
