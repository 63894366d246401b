# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an experienced reader would notice in the log of preference training."""

from __future__ import annotations

import math
from collections.abc import Callable

from .metrics import split_of
from .remark import FEW, Remark, ends, finite, mean
from .run import Run

FELL_BY = 0.25  # of the log-prob of the chosen answers at the start
AT_ONCE, EARLY = 0.99, 0.1  # accuracy that is reached within that share of the run
LINES_TO_LEARN = 10  # log lines of a run of which "at once" can be said
NO_WEIGHT = 0.05  # mean of w_qual * w_perf
SHIFT = 0.01  # of the log-prob: a policy that is its own reference differs from it by rounding alone
CHANCE, GAP = 0.5, 0.15  # accuracy; between training and evaluation


def chosen_falls(run: Run) -> Remark | None:
    """The log-prob of the chosen answers has fallen by FELL_BY of what it was; a problem from twice that on."""
    steps, values = finite(run, "logps/chosen")
    if (found := ends(values)) is None:
        return None
    start, now = found
    if start - now < FELL_BY * abs(start):
        return None
    return Remark(
        "problem" if start - now >= 2 * FELL_BY * abs(start) else "warning",
        "The chosen answers have become less likely",
        f"logps/chosen: {start:.4g} at the start, {now:.4g} at step {steps[-1]:g}",
        "A margin can grow while both answers fall, the rejected one faster; what is sampled then is neither of them.",
        "Lower learning_rate, raise pref_beta, or add a term on the chosen answers: uni_dpo_nll_lambda for uni_dpo, "
        "pref_ftx for the others.",
    )


def accuracies_of(run: Run) -> list[str]:
    """Logged shares of pairs, those of training first; a reward model's is `accuracy`, as in SFT is that of tokens."""
    of_pairs = any(split_of(key)[0] == "rewards/margins" for key in run.metrics) or run.settings.get("stage") == "rm"
    names = ("rewards/accuracies", "accuracy") if of_pairs else ("rewards/accuracies",)
    found = [key for key in run.metrics if split_of(key)[0] in names]
    return sorted(found, key=lambda key: split_of(key)[1] != "train")


def _trained(run: Run) -> str:
    return next((key for key in accuracies_of(run) if split_of(key)[1] == "train"), "rewards/accuracies")


def learned_at_once(run: Run) -> Remark | None:
    """The accuracy is AT_ONCE or more within the first EARLY of the run, and stays there for FEW log lines."""
    name = _trained(run)
    steps, values = finite(run, name)
    at = next((place for place, value in enumerate(values) if value >= AT_ONCE), None)
    if at is None or len(values) < LINES_TO_LEARN or steps[at] > EARLY * steps[-1]:
        return None
    if mean(values[at : at + FEW]) < AT_ONCE:
        return None
    return Remark(
        "warning",
        "The pairs are told apart at once",
        f"{name}: {values[at]:.3g} at step {steps[at]:g} of {steps[-1]:g}",
        "Pairs this easy differ in something cheap, such as length or wording, and the picture need not be looked at.",
        "Read some pairs (resonance data show NAME --full); take harder ones, such as answers of the model itself.",
    )


def no_weight(run: Run) -> Remark | None:
    """The mean weight of a pair, w_qual * w_perf, is below NO_WEIGHT: a problem at the start, a note at the end."""
    parts = [(line.get("w_qual"), line.get("w_perf")) for line in run.log]
    products = [qual * perf for qual, perf in parts if qual is not None and perf is not None]
    weights = [weight for weight in products if math.isfinite(weight)]
    if len(weights) < FEW or mean(weights[-FEW:]) >= NO_WEIGHT and mean(weights[:FEW]) >= NO_WEIGHT:
        return None
    at_the_start = mean(weights[:FEW]) < NO_WEIGHT
    where, value = ("start", mean(weights[:FEW])) if at_the_start else ("end", mean(weights[-FEW:]))
    return Remark(
        "problem" if at_the_start else "note",
        "The weights of the pairs are near 0" + " from the start" * at_the_start,
        f"w_qual * w_perf: {value:.3g} at the {where}",
        "The gradient of a pair is multiplied by its weight: hardly anything is learned from now on.",
        "See score-stats of the data: uni_dpo_tau_ref and uni_dpo_qual_eta fit scores of one scale only, and pairs "
        "with a negative margin weigh nothing."
        if at_the_start
        else "The pairs are learned, so it may stop here; a lower uni_dpo_perf_gamma keeps learned pairs in play.",
    )


def not_its_reference(run: Run) -> Remark | None:
    """On the first log line, if it is of step 0 or 1, policy and reference differ by more than SHIFT of a log-prob."""
    steps, values = finite(run, "logits")
    scale = finite(run, "logps/chosen")[1]
    if not steps or steps[0] > 1 or not scale or not run.curve("ref_logratios")[0]:
        return None
    shifts = [abs(values[0])]
    beta = run.settings.get("pref_beta")
    if isinstance(beta, int | float) and beta > 0 and (rewards := finite(run, "rewards/chosen")[1]):
        shifts.append(abs(rewards[0]) / beta)
    if max(shifts) <= SHIFT * abs(scale[0]):
        return None
    return Remark(
        "problem",
        "The policy is not the reference at the start",
        f"step {steps[0]:g}: the two differ by {max(shifts):.3g} nats, where logps/chosen is {scale[0]:.4g}",
        "Before the first step both are one model: rewards must be 0. Otherwise the loss pulls towards another model.",
        "Compare ref_model with model_name_or_path; switch off lora_dropout and other dropout; make reference numbers "
        "on disk anew (precompute_only); `pref_speedups: off` shows whether the forward pass is the reason.",
    )


def below_chance(run: Run) -> Remark | None:
    """The mean accuracy at the end is below CHANCE, in training or in evaluation."""
    last = {key: mean(values[-FEW:]) for key in accuracies_of(run) if len(values := finite(run, key)[1]) >= FEW}
    wrong = [f"{key}: {value:.3g}" for key, value in last.items() if value < CHANCE]
    if not wrong:
        return None
    return Remark(
        "problem",
        "Worse than a coin",
        "; ".join(wrong) + " at the end",
        "The rejected answers have the higher reward in most pairs.",
        "See whether chosen and rejected are the right way round (resonance data score-stats NAME), and whether "
        "learning_rate is high enough for anything to be learned.",
    )


def gap(run: Run) -> Remark | None:
    """The accuracy in training is GAP or more above that of the last evaluation."""
    name = _trained(run)
    trained = finite(run, name)[1]
    if len(trained) < FEW:
        return None
    now = mean(trained[-FEW:])
    last = {key: finite(run, key)[1][-1:] for key in accuracies_of(run)}
    wide = {key: value for key, (value,) in ((k, v) for k, v in last.items() if v) if now - value >= GAP}
    wide.pop(name, None)
    if not wide:
        return None
    return Remark(
        "note",
        "Pairs of the training set are told apart better than others",
        ", ".join(f"{key}: {value:.3g}" for key, value in {name: now, **wide}.items()) + " at the end",
        "Some of what is learned holds for these pairs alone.",
        "Report the number of the evaluation; fewer epochs or more varied pairs narrow the gap.",
    )


OF_PREFERENCES: tuple[Callable[[Run], Remark | None], ...] = (
    chosen_falls, learned_at_once, no_weight, not_its_reference, below_chance, gap,
)  # fmt: skip
