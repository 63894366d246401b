# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The loss of reward models: not of log-probs but of one reward a response, so it is not in `table.py`."""

import torch
import torch.nn.functional as F


def bradley_terry(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    gap: torch.Tensor | None = None,
    *,
    margin_scale: float = 0.0,
    weight_eta: float = 0.0,
) -> torch.Tensor:
    """Negative log-likelihood that the chosen response wins, by rewards; (B,) losses.

    Formula, with rewards r and the difference of the scores of a pair, d = score_chosen - score_rejected:

        L = -w * logsigmoid(r_w - r_l - m),   m = margin_scale * d,   w = sigmoid(weight_eta * d)

    Without `weight_eta` w is 1. The margin is that of Llama 2 (arXiv:2307.09288, equation 2), the weight Uni-DPO's
    quality weight (arXiv:2506.10054). Weights are not normalised: pairs of equal scores count half.

    Compared with: LlamaFactory 0.9.5, train.rm.trainer.PairwiseTrainer.compute_loss, without margin and weight.

    Args:
        chosen: (B,) rewards of the chosen responses.
        rejected: (B,) rewards of the rejected responses.
        gap: (B,) differences of their scores; needed with a margin or a weight.
        margin_scale: rewards that a difference of 1 in scores is; 0 for no margin.
        weight_eta: steepness of the weight; 0 for no weights.

    Raises:
        ValueError: a margin or a weight without scores.
    """
    if gap is None:
        if margin_scale or weight_eta:
            raise ValueError(f"margin_scale={margin_scale:g} and weight_eta={weight_eta:g} need scores; give `gap`.")
        return -F.logsigmoid(chosen - rejected)
    losses = -F.logsigmoid(chosen - rejected - margin_scale * gap)
    return losses * torch.sigmoid(weight_eta * gap) if weight_eta else losses
