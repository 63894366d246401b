# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""mDPO."""

import torch.nn.functional as F

from ..spec import FINITE, NON_NEGATIVE, POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(
    paper="arXiv:2406.11839",
    needs_corrupted=True,
    ranges={
        "beta": POSITIVE,
        "mdpo_delta": FINITE,
        "mdpo_image_weight": NON_NEGATIVE,
        "mdpo_anchor_weight": NON_NEGATIVE,
    },
)
def mdpo(
    pairs: Pairs,
    *,
    beta: float = 0.1,
    mdpo_delta: float = 0.0,
    mdpo_image_weight: float = 1.0,
    mdpo_anchor_weight: float = 1.0,
) -> LossOutput:
    """mDPO: DPO on responses and on images, and an anchor that keeps the chosen response likely.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), lp_c and ref_c those of the chosen response beside a corrupted
    image (the recipe's `mdpo_image`), and D_c = (lp_w - lp_c) - (ref_w - ref_c):

        L = -logsigmoid(beta * D)
            - mdpo_image_weight * logsigmoid(beta * D_c)
            - mdpo_anchor_weight * logsigmoid(beta * (lp_w - ref_w) - mdpo_delta)

    Compared with: the authors' code, mDPOTrainer.dpo_loss (repository luka-group/mDPO, 2221bb3).

    Args:
        mdpo_delta: the anchor, the least reward that a chosen response is to have; 0 in the paper and the code.
        mdpo_image_weight: of the term of images; 1 in the paper.
        mdpo_anchor_weight: of the anchor; 1 in the paper.

    Stats: mdpo_dpo, mdpo_image and mdpo_anchor, the three terms without their weights; mdpo_image_margins, beta * D_c,
    and mdpo_image_accuracies, 1 where it is above 0.
    """
    if pairs.corrupted is None:
        raise ValueError("This batch carries no corrupted images: mdpo needs `corrupted`.")
    margins = beta * pairs.corrupted.logits
    dpo, image = -F.logsigmoid(beta * pairs.logits), -F.logsigmoid(margins)  # the paper's L_DPOm and L_CoPO
    anchor = -F.logsigmoid(beta * pairs.chosen_logratios - mdpo_delta)  # L_AncPO
    losses = dpo + mdpo_image_weight * image + mdpo_anchor_weight * anchor
    stats = {"mdpo_dpo": dpo, "mdpo_image": image, "mdpo_anchor": anchor, "mdpo_image_margins": margins}
    return reference_output(pairs, losses, beta, mdpo_image_accuracies=(margins > 0).to(losses.dtype), **stats)
