# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of preference training, and which recipes run on our trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .beyond import ImageKeys
from .curriculum import CurriculumKeys
from .rates import asks as asks_for_rates
from .reference import ReferenceKeys
from .resume import ResumeKeys
from .weights import WeightKeys, loss_name

# LlamaFactory's own trainer computes these three under their names. Its hinge, ipo and kto_pair train sigmoid,
# because trl >= 0.20 takes the loss type as an argument of `dpo_loss` and LlamaFactory does not pass it.
STOCK_LOSSES = ("sigmoid", "orpo", "simpo")
STOCK_LOSSES_WITH_REFERENCE = ("sigmoid",)
MISTRAINED_LOSSES = ("hinge", "ipo", "kto_pair")
NAMES_OF_LLAMAFACTORY = STOCK_LOSSES + MISTRAINED_LOSSES


@dataclass
class PreferenceArguments(ReferenceKeys, ResumeKeys, WeightKeys, CurriculumKeys, ImageKeys):
    r"""Resonance's keys of the DPO stage. Their defaults change nothing in a recipe that does not use them."""

    pref_engine: Literal["llamafactory", "resonance"] = field(
        default="llamafactory",
        metadata={
            "help": (
                "Which trainer runs the losses that LlamaFactory has (sigmoid, orpo, simpo). Every other loss, and "
                "an evaluation without training, runs on Resonance's trainer whatever is given here."
            )
        },
    )
    pref_loss_params: dict | str | None = field(
        default=None,
        metadata={
            "help": (
                "Further parameters of the preference loss as a dict (JSON on the command line), for those without a "
                "key of their own, e.g. {discopop_tau: 0.05}, {dpop_lambda: 50} or the parameters of your own loss."
            )
        },
    )
    dpo_average_log_prob: bool | None = field(
        default=None,
        metadata={
            "help": (
                "Use the mean log-probability a token instead of the sum over the response. Unset: each loss's own "
                "rule (mean for uni_dpo, ipo, orpo and simpo; sum for the others)."
            )
        },
    )
    uni_dpo_qual_eta: float = field(
        default=0.7,
        metadata={"help": "Uni-DPO: eta of the quality weight, sigmoid(eta * (score_chosen - score_rejected))."},
    )
    uni_dpo_tau_ref: float = field(
        default=2.0,
        metadata={
            "help": "Uni-DPO: tau_ref of the performance weight, (1 - sigmoid(beta * margin - tau_ref)) ** gamma."
        },
    )
    uni_dpo_perf_gamma: float = field(
        default=3.0,
        metadata={"help": "Uni-DPO: gamma, the focal exponent of the performance weight."},
    )
    uni_dpo_nll_lambda: float = field(
        default=0.001,
        metadata={"help": "Uni-DPO: lambda, coefficient of the calibrated NLL term on good chosen responses."},
    )
    uni_dpo_tau_good: float = field(
        default=2.5,
        metadata={"help": "Uni-DPO: tau_good, the chosen score from which the NLL term applies."},
    )
    uni_dpo_detach_weights: bool = field(
        default=False,
        metadata={"help": "Uni-DPO: stop the gradient through the performance weight. The reference does not."},
    )
    pref_speedups: str = field(
        default="auto",
        metadata={
            "help": (
                "Exact speed-ups of the forward pass: auto (all that agree with the plain path on the first batch), "
                "off, or a list of frozen_tower, response_head, vision_once, shared_prefix, padding_free (with commas "
                "as a flag)."
            )
        },
    )
    image_feature_cache: str = field(
        default="off",
        metadata={
            "help": (
                "Host memory in which each process keeps the features of pictures that a frozen vision tower has "
                "encoded, so that later epochs need not encode them again: a size such as 8GB, or off."
            )
        },
    )
    group_prompts: str = field(
        default="auto",
        metadata={
            "help": (
                "Pairs of one prompt follow one another in an epoch, so that a micro-batch reads the prompt and equal "
                "answers once: auto (where that saves work: rows share prompts, a micro-batch has several pairs, "
                "shared_prefix is on), true, or false (LlamaFactory's order)."
            )
        },
    )
    stop_after_nonfinite: int = field(
        default=3,
        metadata={
            "help": (
                "Stop after so many log lines in a row with a loss, metric or gradient norm that is NaN or infinite; "
                "0 never stops. Runs of Resonance's trainer only."
            )
        },
    )
    allow_missing_weights: bool = field(
        default=False,
        metadata={
            "help": (
                "Train on although the checkpoint lacks weights of the model (they are then initialised at random). "
                "Runs of Resonance's trainer only."
            )
        },
    )
    record_pairs: bool = field(
        default=True,
        metadata={
            "help": (
                "Write margins, log-probabilities and lengths of every pair that is trained on or evaluated to "
                "pairs.jsonl in output_dir. Runs of Resonance's trainer only."
            )
        },
    )


KEYS = tuple(f.name for f in fields(PreferenceArguments))
# With LlamaFactory's defaults of the keys that decide whether ours have a meaning.
DEFAULTS = {"stage": "sft", "pref_loss": "sigmoid"} | {f.name: f.default for f in fields(PreferenceArguments)}

ASKING = ("pref_speedups", "group_prompts", "record_pairs")  # keys whose defaults ask for something


def evaluates_only(values: Mapping[str, Any]) -> bool:
    """Whether a recipe evaluates and does not train. An `eval_strategy` makes Transformers set `do_eval`."""
    evaluates = values.get("do_eval") or values.get("eval_strategy", "no") not in (None, False, "no")
    return bool(evaluates) and not values.get("do_train")


def runs_on_resonance(values: Mapping[str, Any]) -> bool:
    """Whether a recipe's DPO stage is run by us. Missing keys take their defaults.

    An evaluation alone is, whatever its loss: LlamaFactory's trainer gives a short last batch the weight of a full
    one, so its accuracies depend on the batch size.
    """
    values = {**DEFAULTS, **values}
    if values["stage"] != "dpo":
        return False
    return (
        loss_name(values["pref_loss"]) not in STOCK_LOSSES
        or values["pref_engine"] != "llamafactory"
        or values["dpo_average_log_prob"] is not None
        or values["sample_weights"] is not False
        or values["score_order"] is not None
        or values["precompute_ref_log_probs"] is not False
        or evaluates_only(values)
        or asks_for_rates(values)
    )


def idle_keys(values: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> list[str]:
    """Our keys that a recipe sets although LlamaFactory's own trainer runs it, which does not read them.

    `given`: the recipe as it is written, where that is known; some defaults ask for something, and that they are
    written down is seen there only. What is switched off (`off` is false in YAML) is so without us.
    """
    idle = [key for key in KEYS if key in values and values[key] != DEFAULTS[key] and values[key] is not False]
    return idle + [key for key in ASKING if (given or {}).get(key) == DEFAULTS[key]]


def report(found: list[str]) -> str:
    """One message for all problems of a recipe."""
    head = "the recipe has a problem:" if len(found) == 1 else f"the recipe has {len(found)} problems:"
    return head + "".join(f"\n  - {message}" for message in found)
