# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Preference losses as pure functions of log-probs and scores. Imports torch and the room `spec`.

A loss of your own is a function of one batch; name it in a recipe as `pref_loss: my_package.my_module:my_loss`:

    import torch.nn.functional as F
    from resonance.losses import Pairs, declare

    @declare(paper="arXiv:...", needs_reference=True, needs_scores=True, logps="mean")
    def my_loss(pairs: Pairs, *, beta: float = 0.1):
        margin = pairs.score_chosen - pairs.score_rejected
        return -F.logsigmoid(beta * pairs.logits - margin)

It takes the batch first and named parameters with defaults, and returns losses of shape (B,), or a LossOutput with
rewards and statistics of its own. Without `declare` it gets a reference, no scores and summed log-probs.
"""

from ..spec import Range
from .baseline import RunningMean
from .bradley_terry import bradley_terry
from .compute import pairs_loss, trial_problem
from .kto import kto_kl, kto_unpaired
from .margins import Margins, RunningMargins
from .mix import MixSpec
from .modifiers import add_sft, mix_bco
from .spec import LossOutput, LossSpec, Pairs, declare
from .table import LOSSES, check_params, get_loss, preference_loss

__all__ = [
    "LOSSES",
    "LossOutput",
    "LossSpec",
    "Margins",
    "MixSpec",
    "Pairs",
    "Range",
    "RunningMargins",
    "RunningMean",
    "add_sft",
    "bradley_terry",
    "check_params",
    "declare",
    "get_loss",
    "kto_kl",
    "kto_unpaired",
    "mix_bco",
    "pairs_loss",
    "preference_loss",
    "trial_problem",
]
