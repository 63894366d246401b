# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How a recipe of ours runs: one row a stage and kind of recipe, the first that fits is taken.

LlamaFactory parses it (our keys are in its own dataclasses), dispatches to its own `run_dpo`, and our wrapper around
that function rebinds names while it executes: "align", "rows" and "dpo_rows" (pairs are checked and tokenized by us),
"selection" (some are left out) and "trainer" (our losses). A stock recipe passes the `always` wrappers untouched and
never meets the rest.

Rooms that need torch or LlamaFactory are imported inside functions, because this one is loaded while LlamaFactory is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..arguments import data, feedback, policy, preference, rates, reward_model, tracking
from ..upstream import DataArguments, FinetuningArguments, ModelArguments, TrainingArguments
from .patch import Scope

Callbacks = list[Any] | None


@dataclass(frozen=True)
class Route:
    """How recipes of one kind run inside LlamaFactory's run function of their stage.

    Attributes:
        stage: whose run function.
        asks: whether the values of a recipe of this stage ask for the route.
        scopes: of the patches that the run needs besides those of every recipe of ours; see `scopes()`.
        prepare: what is done with the four argument objects before LlamaFactory's function is called.
        callbacks: from the run's callbacks to those it is called with.
    """

    stage: str
    asks: Callable[[Mapping[str, Any]], bool]
    scopes: tuple[Scope, ...]
    prepare: Callable[[ModelArguments, DataArguments, TrainingArguments, FinetuningArguments], None]
    callbacks: Callable[[Callbacks], Callbacks] = lambda callbacks: callbacks

    @property
    def leaves_record(self) -> bool:
        """Whether its runs write down what they depend on, so that only what they have left is gone on from."""
        return self.callbacks is _watched


def values_of(
    data_args: DataArguments, training_args: TrainingArguments, finetuning_args: FinetuningArguments
) -> dict[str, Any]:
    """Those of a parsed recipe that decide about its route."""
    asked = {
        name: getattr(training_args, name, False)
        for name in ("do_train", "do_eval", "do_predict", "neftune_noise_alpha", "resume_from_checkpoint")
    }
    return {**vars(data_args), **asked, **vars(finetuning_args)}


def find(values: Mapping[str, Any]) -> Route | None:
    """The route that the values of a recipe ask for; None for a recipe that LlamaFactory runs alone."""
    stage = values.get("stage", preference.DEFAULTS["stage"])
    return next((route for route in ROUTES if route.stage == stage and route.asks(values)), None)


def runs_stock_loss(values: Mapping[str, Any]) -> bool:
    """Whether LlamaFactory's own trainer runs a preference loss."""
    return values.get("stage") == "dpo" and not preference.runs_on_resonance(values)


def stock_opening(values: Mapping[str, Any]) -> str:
    """The line about such a run."""
    return (
        f"pref_loss: {values['pref_loss']} runs on LlamaFactory's trainer. Its rewards/accuracies cannot be compared "
        "with those of another loss; `pref_engine: resonance` logs two accuracies that can, accuracies/policy and "
        "accuracies/reference, and weighs a short last batch of an evaluation by its rows."
    )


def stock_warnings(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with such a run and only known to us."""
    noisy = values.get("neftune_noise_alpha") and values.get("finetuning_type") == "lora"
    if not noisy or values["pref_loss"] not in preference.STOCK_LOSSES_WITH_REFERENCE:
        return []
    return [
        "neftune_noise_alpha: with LoRA, LlamaFactory's trainer computes the reference with noise, too. "
        "`pref_engine: resonance` computes it without."
    ]


def scopes(values: Mapping[str, Any]) -> tuple[Scope, ...]:
    """Scopes of the patches that a recipe with keys of ours needs, whether or not it has a route."""
    route = find(values)
    if route is None:
        stage = values.get("stage", preference.DEFAULTS["stage"])
        named = (_RUN[stage],) if tracking.given_keys(values) and stage in _RUN else ()
        return (*EVERY, *named)
    apart = data.leaves_rows_out(values) or bool(values.get("sample_weights"))  # training sets from evaluation sets
    more: tuple[Scope, ...] = ("selection",) if apart else ()
    more += ("rm_trainer",) if route.stage == "rm" and _resumes(values) else ()
    more += _RATES.get(route.stage, ()) if rates.asks(values) else ()
    return tuple(dict.fromkeys((*EVERY, *route.scopes, *more)))


def _prepare_preference(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: TrainingArguments,
    finetuning_args: FinetuningArguments,
) -> None:
    from ..training.run import prepare

    prepare(model_args, data_args, training_args, finetuning_args)


def _prepare_reward_model(
    _: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, finetuning_args: FinetuningArguments
) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args, needs_scores=reward_model.reads_scores(data_args, finetuning_args))


def _prepare_pairs(_: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, *__: Any) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args)


def _prepare_feedback(
    _: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, finetuning_args: FinetuningArguments
) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args, needs_weights=finetuning_args.sample_weights, kind="feedback")


def _prepare_rows(_: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, *__: Any) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args, kind="other")


def _prepare_nothing(*_: Any) -> None:
    pass


def _resumes(values: Mapping[str, Any]) -> bool:
    return bool(values.get("resume_from_checkpoint"))


def _prepare_prompts(_: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, *__: Any) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args, kind="prompts")


def _prepare_answers(_: ModelArguments, data_args: DataArguments, training_args: TrainingArguments, *__: Any) -> None:
    from ..training.run import prepare_rows

    prepare_rows(data_args, training_args, kind="answers")


def _watched(callbacks: Callbacks) -> Callbacks:
    from ..training.run import watched

    return watched(callbacks)


EVERY: tuple[Scope, ...] = ("arguments", "launcher")
# whose patch names the run for wandb, where a recipe has no route
_RUN: dict[str, Scope] = {
    "dpo": "run_dpo", "rm": "run_rm", "sft": "run_sft", "pt": "run_pt", "kto": "run_kto", "ppo": "run_ppo",
}  # fmt: skip
# whose patch gives LlamaFactory's own trainer learning rates of parts; trainers of ours read them
_RATES: dict[str, tuple[Scope, ...]] = {"sft": ("sft_trainer",), "pt": ("pt_trainer",), "kto": ("kto_trainer",)}
ROUTES = (
    # a preference loss on our trainer
    Route(
        "dpo",
        preference.runs_on_resonance,
        ("run_dpo", "align", "rows", "dpo_rows", "trainer"),
        _prepare_preference,
        _watched,
    ),
    # pairs checked and tokenized by us, for LlamaFactory's own trainers
    Route("dpo", data.uses_rows, ("run_dpo", "align", "rows", "dpo_rows"), _prepare_pairs, _watched),
    # a reward model on our trainer
    Route(
        "rm",
        reward_model.runs_on_resonance,
        ("run_rm", "align", "rows", "rm_rows", "rm_trainer", "rm_model"),
        _prepare_reward_model,
        _watched,
    ),
    Route("rm", data.uses_rows, ("run_rm", "align", "rows", "rm_rows"), _prepare_pairs, _watched),
    # a reward model that goes on from a checkpoint
    Route("rm", _resumes, ("run_rm", "rm_trainer"), _prepare_nothing),
    # completions of the policy itself, rewarded
    Route("ppo", policy.is_policy_stage, ("run_ppo", "align", "rows", "ppo_rows"), _prepare_prompts, _watched),
    # answers that are good or bad, on our trainer
    Route(
        "kto",
        feedback.runs_on_resonance,
        ("run_kto", "align", "rows", "kto_rows", "kto_models", "kto_trainer"),
        _prepare_feedback,
        _watched,
    ),
    # conversations checked and tokenized by us, for LlamaFactory's own trainer, which ours makes resumable
    Route(
        "sft",
        data.uses_answers,
        ("run_sft", "align", "rows", "sft_rows", "sft_trainer"),
        _prepare_answers,
        _watched,
    ),
    # a fraction of the rows, for LlamaFactory's own trainers
    Route("sft", data.uses_selection, ("run_sft", "align"), _prepare_rows),
    Route("pt", data.uses_selection, ("run_pt", "align"), _prepare_rows),
    Route("kto", data.uses_selection, ("run_kto", "align"), _prepare_rows),
    # learning rates of parts
    Route("sft", rates.asks, ("run_sft",), _prepare_nothing, _watched),
    Route("pt", rates.asks, ("run_pt",), _prepare_nothing, _watched),
    Route("kto", rates.asks, ("run_kto",), _prepare_nothing, _watched),
)
