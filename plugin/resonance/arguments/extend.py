# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's argument classes with our keys in them; of LlamaFactory it knows only the classes it is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from . import chat, data, feedback, parameters, policy, preference, rates, reward_model, tracking


@dataclass
class Keys(
    preference.PreferenceArguments,
    policy.PolicyKeys,
    reward_model.RewardModelKeys,
    feedback.FeedbackKeys,
    chat.ChatKeys,
    tracking.TrackingKeys,
    rates.RateKeys,
):
    r"""All keys of ours that are not about rows."""


def extend_finetuning_arguments(original: type) -> type:
    """LlamaFactory's FinetuningArguments with the keys of preference training."""
    from ..losses import LOSSES

    post_init = original.__post_init__  # type: ignore[attr-defined]
    pref_loss = next(f for f in fields(original) if f.name == "pref_loss")
    choices = (
        f"The preference loss: {', '.join(LOSSES)}, or your own function as `package.module:function`; several as a "
        "list, or with commas between them, are a mix, see pref_loss_weights."
    )

    def __post_init__(self: Any) -> None:
        self.pref_loss = preference.loss_name(self.pref_loss)
        if policy.is_policy_stage(vars(self)):
            # What LlamaFactory asks of its PPO (a reward model, no evaluation, few loggers) does not hold for ours;
            # its KTO asks for nothing of the kind. `policy_recipe.restore_stage` puts the stage back after parsing.
            self.stage = policy.STAND_IN
            self.trains_policy = True
        if not preference.runs_on_resonance(vars(self)):
            post_init(self)
            return

        vars(self).update(parameters.as_numbers(vars(self)))
        found = parameters.problems(vars(self))
        if found:
            raise ValueError(preference.report(found))
        # LlamaFactory allows label smoothing for sigmoid only; ours has been checked against the loss already.
        smoothing, self.dpo_label_smoothing = self.dpo_label_smoothing, 0.0
        post_init(self)
        self.dpo_label_smoothing = smoothing
        self.use_ref_model = parameters.needs_reference(self.pref_loss)

    any_loss = ("pref_loss", str, field(default=pref_loss.default, metadata={"help": choices}))
    return _extended(original, Keys, __post_init__, [any_loss])


def extend_data_arguments(original: type) -> type:
    """LlamaFactory's DataArguments with the keys about data."""
    post_init = original.__post_init__  # type: ignore[attr-defined]

    def __post_init__(self: Any) -> None:
        found = data.value_problems(vars(self))
        if found:
            raise ValueError(preference.report(found))
        if self.image_root is not None:
            self.media_dir = self.image_root
        post_init(self)

    return _extended(original, data.DataKeys, __post_init__, [])


def _extended(
    original: type, keys: type, post_init: Callable[[Any], None], changed: list[tuple[str, type, Any]]
) -> type:
    """A subclass of both; it has the name and module of the original, so that instances pickle as before."""
    return make_dataclass(
        original.__name__,
        changed,
        bases=(original, keys),
        namespace={
            "__post_init__": post_init,
            "__doc__": original.__doc__,
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
        },
    )
