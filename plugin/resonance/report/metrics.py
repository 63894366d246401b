# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What each metric means, which way is good, and which panel it is drawn in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# What a metric is, and which way is good. Evaluation has each with `eval_` before its name.
MEANING = {
    "loss": "what is minimised; of one loss only",
    "rewards/accuracies": "share of pairs whose chosen answer has the higher reward; 0.5 is chance; up",
    "rewards/margins": "reward of the chosen minus that of the rejected answer; up",
    "rewards/chosen": "reward of the chosen answers, beta times what the policy gained on the reference",
    "rewards/rejected": "the same of the rejected answers; below the chosen's",
    "logps/chosen": "log-prob of the chosen answers, sum or mean by the loss; should not fall far",
    "logps/rejected": "the same of the rejected answers",
    "accuracies/policy": "share of pairs whose chosen answer has the higher mean log-prob a token, for any loss; up",
    "accuracies/reference": "share of pairs whose chosen answer gained more on the reference, a token; up",
    "grad_norm": "norm of the gradient before clipping",
    "learning_rate": "of the step",
    "w_qual": "Uni-DPO: weight of a pair by its scores",
    "w_perf": "Uni-DPO: weight of a pair by how well it is learned already; falls as it is",
    "nll": "Uni-DPO: negative log-prob a token of good chosen answers; down",
    "nll_coeffi": "Uni-DPO: share of pairs for which that term applies",
    "sft_loss": "ORPO: negative log-prob a token of the chosen answers; down",
    "odds_ratio_loss": "ORPO: the other part of its loss, by the odds of both answers; down",
    "logits": "margin of the policy minus that of the reference, before beta; up",
    "pi_logratios": "log-prob of the chosen minus the rejected answer under the policy",
    "ref_logratios": "the same under the reference; constant for a row",
    "reward": "mean reward of the completions; up",
    "reward_std": "spread of the rewards; at 0 there is nothing left to learn from",
    "frac_zero_std": "share of groups whose completions all have one reward: no gradient from these; low",
    "kl": "distance of the policy from the reference, nats a token (KTO: an answer); grows slowly",
    "entropy": "how much the policy varies what it samples, nats a token; must not fall to 0",
    "completions/mean_length": "tokens of a completion",
    "completions/max_length": "tokens of the longest completion",
    "completions/clipped_ratio": "share of completions cut off at max_new_tokens; low",
    "clip_ratio/region": "share of tokens whose ratio was clipped",
    "value_loss": "error of the critic; down",
    "explained_variance": "how much of the returns the critic foresees; 1 is all; up",
    "accuracy": "share of pairs that the reward model ranks right; 0.5 is chance; up",
    "seconds_per_step": "wall time of an optimizer step",
    "throughput": "tokens a second, LlamaFactory's count",
}


class Panel(NamedTuple):
    """One small graph.

    Attributes:
        title: of the panel.
        metrics: drawn in it; a name with `/` at its end stands for all that begin with it.
        unit: of the vertical axis.
        note: what is seen, and which way is good.
        chance: where a coin would be.
        noisy: whether a running mean is drawn over the curve. Off for what is set, not measured.
    """

    title: str
    metrics: tuple[str, ...]
    unit: str
    note: str
    chance: float | None = None
    noisy: bool = True


PANELS = (
    Panel("Loss", ("loss",), "loss", "What is minimised. Down; compare runs of one loss only."),
    Panel("Reward accuracy", ("rewards/accuracies", "accuracy"), "share of pairs",
          "Pairs whose chosen answer has the higher reward. Up; the grey line is chance.", 0.5),
    Panel("Accuracy a token", ("accuracies/policy", "accuracies/reference"), "share of pairs",
          "By mean log-prob a token, whatever the loss: compares runs of any losses. Up; grey is chance.", 0.5),
    Panel("Reward margin", ("rewards/margins",), "reward",
          "Reward of the chosen minus the rejected answer. Up."),
    Panel("Rewards", ("rewards/chosen", "rewards/rejected"), "reward",
          "Gain of each answer on the reference times beta. Chosen above rejected; good if chosen does not fall."),
    Panel("Log-probs", ("logps/chosen", "logps/rejected"), "nats",
          "How likely the answers are, sum or mean as the loss reads them. The chosen one should not fall far."),
    Panel("Weights", ("w_qual", "w_perf"), "weight of a pair",
          "w_qual by scores, stays; w_perf falls as pairs are learned. All near 0: nothing is learned."),
    Panel("Anchor", ("nll", "nll_coeffi"), "nats, share",
          "Uni-DPO's term on good chosen answers, and the share of pairs it applies to. nll down."),
    Panel("Reward of completions", ("reward", "reward/"), "reward", "Mean of each reward function. Up, held-out too."),
    Panel("Spread of rewards", ("reward_std", "frac_zero_std"), "reward, share",
          "Spread of rewards, up is more to learn from; share of groups without a difference, low is good."),
    Panel("KL", ("kl", "approx_kl"), "nats",
          "Distance from the reference, a token (KTO: an answer). Low and steady; a runaway is bad."),
    Panel("Length", ("completions/mean_length", "completions/max_length"), "tokens",
          "Of completions. Neither shrinking to nothing nor growing to the limit is good."),
    Panel("Cut off", ("completions/clipped_ratio",), "share", "Completions cut off at max_new_tokens. Low."),
    Panel("Entropy", ("entropy",), "nats a token", "How much sampling varies. Falls slowly; at 0 learning ends."),
    Panel("Clipping", ("clip_ratio/",), "share of tokens", "Tokens whose ratio the loss clipped. Low, a few percent."),
    Panel("Critic", ("value_loss", "explained_variance"), "error, share",
          "Error of the critic, down; share of the returns it foresees, up to 1."),
    Panel("Refused", ("refused/",), "share", "Completions that a judge gave no score. Low."),
    Panel("Gradient norm", ("grad_norm",), "norm", "Before clipping. Steady; spikes are bad."),
    Panel("Learning rate", ("learning_rate", "learning_rate/"), "learning rate", "As it was set.", None, False),
    Panel("Throughput", ("throughput", "effective_tokens_per_sec"), "tokens a second", "Up.", None, False),
    Panel("Time", ("seconds_per_step", "time/"), "seconds", "Of a step, and of its phases. Down.", None, False),
    Panel("Memory", ("vram_allocated", "vram_reserved"), "GiB", "Peak of the first GPU.", None, False),
)  # fmt: skip
_KNOWN = sorted({*MEANING, *(m for panel in PANELS for m in panel.metrics if not m.endswith("/"))}, key=len)[::-1]
_FAMILIES = ["accuracy/", *(metric for panel in PANELS for metric in panel.metrics if metric.endswith("/"))]


def split_of(key: str) -> tuple[str, str]:
    """A logged name as a metric and where it was measured: "train", "eval", or "eval NAME" of one of several sets."""
    if not key.startswith("eval_"):
        return key, "train"
    rest = key.removeprefix("eval_")
    if rest in _KNOWN or rest.startswith(tuple(_FAMILIES)):
        return rest, "eval"
    for family in _FAMILIES:  # before the metrics: a reward or a set of pairs may be called like one
        name, _, metric = rest.rpartition(f"_{family}")
        if name:
            return f"{family}{metric}", f"eval {name}"
    for metric in _KNOWN:
        if rest.endswith(f"_{metric}"):
            return metric, f"eval {rest.removesuffix(f'_{metric}')}"
    return rest, "eval"


def in_panel(panel: Panel, key: str) -> bool:
    """Whether a logged name is drawn in a panel."""
    metric, _ = split_of(key)
    return any(metric == each or (each.endswith("/") and metric.startswith(each)) for each in panel.metrics)


def meaning(key: str) -> str:
    """What a logged name stands for, "" if that is not known here."""
    return MEANING.get(split_of(key)[0], "")


def in_order(keys: Iterable[str]) -> list[str]:
    """Metrics of training as MEANING has them, then others, then those of evaluation."""
    known = list(MEANING)

    def place(key: str) -> tuple[bool, int, str]:
        metric, split = split_of(key)
        return split != "train", known.index(metric) if metric in MEANING else len(known), key

    return sorted(dict.fromkeys(keys), key=place)
