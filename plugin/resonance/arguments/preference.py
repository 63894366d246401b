# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of preference training, and which recipes run on our trainer.

Room: `arguments/`. Knows the loss table (imported inside functions: it needs torch) and nothing of LlamaFactory except
the class it is handed to extend.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, Literal

# LlamaFactory's own trainer computes these three as their names say. Its hinge, ipo and kto_pair train sigmoid,
# because trl >= 0.20 takes the loss type as an argument of `dpo_loss` and LlamaFactory does not pass it.
STOCK_LOSSES = ("sigmoid", "orpo", "simpo")
MISTRAINED_LOSSES = ("hinge", "ipo", "kto_pair")
LOSSES_WITHOUT_REFERENCE = ("orpo", "simpo")

# recipe key -> parameter of a loss function; every other parameter is given by `pref_loss_params`
LOSS_PARAMETERS = {
    "pref_beta": "beta",
    "dpo_label_smoothing": "label_smoothing",
    "simpo_gamma": "simpo_gamma",
    "uni_dpo_qual_eta": "qual_eta",
    "uni_dpo_tau_ref": "tau_ref",
    "uni_dpo_perf_gamma": "perf_gamma",
    "uni_dpo_nll_lambda": "nll_lambda",
    "uni_dpo_tau_good": "tau_good",
    "uni_dpo_detach_weights": "detach_weights",
}
ENGINES = ("llamafactory", "resonance")


@dataclass
class PreferenceArguments:
    r"""Resonance's keys of the DPO stage. Their defaults change nothing in a recipe that does not use them."""

    pref_engine: Literal["llamafactory", "resonance"] = field(
        default="llamafactory",
        metadata={
            "help": (
                "Which trainer runs the losses that LlamaFactory has (sigmoid, orpo, simpo). "
                "Every other loss runs on Resonance's trainer whatever is given here."
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
    allow_missing_weights: bool = field(
        default=False,
        metadata={
            "help": (
                "Train on although the checkpoint lacks weights of the model (they are then initialised at random). "
                "Runs of Resonance's trainer only."
            )
        },
    )


KEYS = tuple(f.name for f in fields(PreferenceArguments))
DEFAULTS = {"stage": "sft", "pref_loss": "sigmoid", "finetuning_type": "lora"} | {
    f.name: f.default for f in fields(PreferenceArguments)
}


def runs_on_resonance(values: Mapping[str, Any]) -> bool:
    """Whether a recipe's DPO stage is trained by us. Missing keys take their defaults."""
    values = {**DEFAULTS, **values}
    if values["stage"] != "dpo":
        return False
    return (
        values["pref_loss"] not in STOCK_LOSSES
        or values["pref_engine"] != "llamafactory"
        or values["dpo_average_log_prob"] is not None
    )


def needs_reference(pref_loss: str) -> bool:
    from ..losses import get_loss

    return get_loss(pref_loss).needs_reference


def uses_means(values: Mapping[str, Any]) -> bool:
    """Whether the log-probabilities handed to the loss are means a token; see `dpo_average_log_prob`."""
    from ..losses import get_loss

    spec, asked = get_loss(values["pref_loss"]), values["dpo_average_log_prob"]
    return spec.logps == "mean" if asked is None or spec.logps_fixed else asked


def loss_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword parameters for the chosen loss, from the recipe's keys and `pref_loss_params`."""
    from ..losses import get_loss

    accepted = get_loss(values["pref_loss"]).params
    named = {name: values[key] for key, name in LOSS_PARAMETERS.items() if name in accepted and key in values}
    if uses_default_smoothing(values):
        del named["label_smoothing"]
    return {**named, **(_as_dict(values["pref_loss_params"]) or {})}


def uses_default_smoothing(values: Mapping[str, Any]) -> bool:
    """Whether the loss's own label smoothing applies: robust and exo_pair without any would not be what they say.

    LlamaFactory's default, 0, cannot be told from a 0 in the recipe; for these two losses both mean "not given".
    """
    from ..losses import get_loss

    return values.get("dpo_label_smoothing") == 0 and bool(get_loss(values["pref_loss"]).params.get("label_smoothing"))


def _as_dict(given: Any) -> dict[str, Any] | None:
    """`pref_loss_params` as a dict; ValueError if it is not one."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as exc:
            raise ValueError(f"pref_loss_params: {given!r} is not JSON ({exc})") from None
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"pref_loss_params: {given!r} is a {type(given).__name__}; give a mapping of name to value")
    return dict(given) if given is not None else None


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with the preference keys of a DPO recipe, as messages that start with the key.

    Only recipes that run on our trainer are judged; LlamaFactory judges its own.
    """
    from ..losses import check_params, get_loss

    values = {**DEFAULTS, **values}
    found: list[str] = []
    if values["pref_engine"] not in ENGINES:
        found.append(f"pref_engine: {values['pref_engine']!r} is not one of {', '.join(ENGINES)}")
    average = values["dpo_average_log_prob"]
    if average is not None and not isinstance(average, bool):
        found.append(f"dpo_average_log_prob: {average!r} is not true or false")
    try:
        spec = get_loss(values["pref_loss"])
    except ValueError as exc:
        return [*found, f"pref_loss: {exc}"]
    try:
        given = loss_parameters(values)
    except ValueError as exc:
        return [*found, str(exc)]
    keys = {name: key for key, name in LOSS_PARAMETERS.items()}
    for name, value in given.items():
        key = keys.get(name, f"pref_loss_params.{name}")
        found += [f"{key}: {text.removeprefix(f'{spec.name}: ')}" for text in check_params(spec, {name: value})]
    smoothing = values.get("dpo_label_smoothing", 0.0)
    if smoothing and "label_smoothing" not in spec.params:
        found.append(
            f"dpo_label_smoothing: {smoothing!r} given, but pref_loss: {values['pref_loss']} has no label smoothing"
        )
    return found


def extend_finetuning_arguments(original: type) -> type:
    """LlamaFactory's FinetuningArguments with our keys, same name and module (so instances pickle as before)."""
    from ..losses import LOSSES

    pref_loss = next(f for f in fields(original) if f.name == "pref_loss")
    choices = f"The preference loss: {', '.join(LOSSES)}, or your own function as `package.module:function`."

    def __post_init__(self: Any) -> None:
        if not runs_on_resonance(vars(self)):
            original.__post_init__(self)  # type: ignore[attr-defined]
            return

        found = problems(vars(self))
        if found:
            raise ValueError(report(found))
        # LlamaFactory allows label smoothing for sigmoid only; ours has been checked against the loss already.
        smoothing, self.dpo_label_smoothing = self.dpo_label_smoothing, 0.0
        original.__post_init__(self)  # type: ignore[attr-defined]
        self.dpo_label_smoothing = smoothing
        self.use_ref_model = needs_reference(self.pref_loss)

    return make_dataclass(
        original.__name__,
        [("pref_loss", str, field(default=pref_loss.default, metadata={"help": choices}))],
        bases=(original, PreferenceArguments),
        namespace={
            "__post_init__": __post_init__,
            "__doc__": original.__doc__,
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
        },
    )


def report(found: list[str]) -> str:
    """One message for all problems of a recipe."""
    head = "the recipe has a problem:" if len(found) == 1 else f"the recipe has {len(found)} problems:"
    return head + "".join(f"\n  - {message}" for message in found)
