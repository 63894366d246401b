# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The visual part of CHiP."""

import torch.nn.functional as F

from ..spec import POSITIVE
from .spec import LossOutput, Pairs, declare, reference_output


@declare(paper="arXiv:2501.16629", needs_corrupted=True, ranges={"beta": POSITIVE})
def chip_visual(pairs: Pairs, *, beta: float = 0.1) -> LossOutput:
    """CHiP's preference of images, with that of whole responses, under one sigmoid.

    Formula, with D = (lp_w - lp_l) - (ref_w - ref_l), lp_c and ref_c those of the chosen response beside a corrupted
    image (the recipe's `mdpo_image`; the authors': `diffusion`), and D_c = (lp_w - lp_c) - (ref_w - ref_c):

        L = -logsigmoid(beta * (D + D_c))

    mDPO has a sigmoid for each of both. CHiP's weights of changed segments and its divergences of single tokens, which
    need both models' whole distributions, are not part of it.

    Compared with: the authors' code, DPOTrainer.chip_loss with use_cross_modal_loss (repository LVUGAI/CHiP, e7f5193).

    Stats: chip_image_margins, beta * D_c, and chip_image_accuracies, 1 where it is above 0.
    """
    if pairs.corrupted is None:
        raise ValueError("This batch carries no corrupted images: chip_visual needs `corrupted`.")
    margins = beta * pairs.corrupted.logits
    losses = -F.logsigmoid(beta * pairs.logits + margins)
    found = {"chip_image_margins": margins, "chip_image_accuracies": (margins > 0).to(losses.dtype)}
    return reference_output(pairs, losses, beta, **found)
