# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DDPO: the tokens in which both responses of a pair differ count more, or alone."""

from dataclasses import replace
from typing import Any

import torch

from ..spec import NON_NEGATIVE, POSITIVE, UP_TO_HALF
from .dpo import smoothed_logistic
from .spec import LossOutput, Pairs, declare, reference_output

RANGES = {"beta": POSITIVE, "label_smoothing": UP_TO_HALF}


@declare(paper="arXiv:2312.00849", needs_changed=True, ranges={**RANGES, "ddpo_gamma": NON_NEGATIVE})
def ddpo(pairs: Pairs, *, beta: float = 0.1, ddpo_gamma: float = 3.0, label_smoothing: float = 0.0) -> LossOutput:
    """DDPO of RLHF-V: DPO in which the tokens of corrected segments count more than those that stayed.

    Formula, with lp_u and lp_c the sums over the tokens that both responses share and over those that differ, N_u and
    N_c their numbers, and e = label_smoothing:

        lp = lp_u + ddpo_gamma * lp_c;  for means (`dpo_average_log_prob: true`) divided by N_u + ddpo_gamma * N_c
        D = (lp_w - lp_l) - (ref_w - ref_l)
        L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    Tokens differ where one stretch of a response stands in place of another: between stretches of three or more tokens
    that both have, in their order. What was only put in or left out is shared.

    Compared with: the authors' code, get_diff_ids and compute_weighted_logp (repository thunlp/Muffin, 85d72b4).

    Args:
        ddpo_gamma: how much a changed token counts; 1 is DPO. The authors' code has 3 by default and sums; their
            command gives 1.1; the paper divides by the weights.
        label_smoothing: the chance that a label is flipped.

    Stats: ddpo_changed, the share of a pair's tokens that differ.
    """
    return _of_segments(pairs, 1.0, ddpo_gamma, beta, label_smoothing)


@declare(paper="arXiv:2312.00849", needs_changed=True, ranges=RANGES)
def ddpo_segments(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """DDPO of VL-RLHF: DPO on the tokens of changed segments alone; `loss_type: ddpo` there.

    Formula, with lp the sum over the tokens of a response that differ from the other one, or their mean
    (`dpo_average_log_prob: true`), and e = label_smoothing:

        D = (lp_w - lp_l) - (ref_w - ref_l)
        L = -(1 - e) * logsigmoid(beta * D) - e * logsigmoid(-beta * D)

    Which tokens differ is as of `ddpo`. A pair in which none do has the loss log(2) and no gradient.

    Compared with: the authors' code, VLDPOTrainer.get_batch_logps (repository TideDra/VL-RLHF, a0ea386).

    Args:
        label_smoothing: the chance that a label is flipped.

    Stats: ddpo_changed, the share of a pair's tokens that differ.
    """
    return _of_segments(pairs, 0.0, 1.0, beta, label_smoothing)


def _of_segments(pairs: Pairs, shared: float, gamma: float, beta: float, label_smoothing: float) -> LossOutput:
    """DPO with weights `shared` and `gamma` of tokens that are shared and that differ."""
    if pairs.changed is None:
        raise ValueError("This batch does not tell which tokens differ between both responses.")
    whole, changed = pairs.as_rule("sum"), pairs.changed
    means = pairs.logps == "mean"
    found: dict[str, Any] = {}
    for side in ("chosen", "rejected"):
        all_of, some = (part.need(f"{side}_lengths")[0] for part in (whole, changed))
        count = shared * all_of + (gamma - shared) * some if means else torch.ones_like(all_of)
        count = torch.where(count > 0, count, torch.ones_like(count))
        for model in ("policy", "reference"):
            total, part = (each.need(f"{model}_{side}_logps")[0] for each in (whole, changed))
            found[f"{model}_{side}_logps"] = (shared * total + (gamma - shared) * part) / count
    weighted = replace(pairs, **found)
    share = [each.need("chosen_lengths")[0] + each.need("rejected_lengths")[0] for each in (changed, whole)]
    losses = smoothed_logistic(beta * weighted.logits, label_smoothing)
    margins = {name: getattr(weighted, name) for name in ("pi_logratios", "ref_logratios", "logits")}
    ratio = (share[0] / share[1]).to(losses.dtype)
    return reference_output(weighted, losses, beta, ddpo_changed=ratio, **margins)
