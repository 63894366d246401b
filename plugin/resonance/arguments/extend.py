# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's argument classes with our keys in them; of LlamaFactory it knows only the classes it is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields, make_dataclass
from typing import Any

from . import data, parameters, preference


def extend_finetuning_arguments(original: type) -> type:
    """LlamaFactory's FinetuningArguments with the keys of preference training."""
    from ..losses import LOSSES

    pref_loss = next(f for f in fields(original) if f.name == "pref_loss")
    choices = f"The preference loss: {', '.join(LOSSES)}, or your own function as `package.module:function`."

    def __post_init__(self: Any) -> None:
        if not preference.runs_on_resonance(vars(self)):
            original.__post_init__(self)  # type: ignore[attr-defined]
            return

        vars(self).update(parameters.as_numbers(vars(self)))
        found = parameters.problems(vars(self))
        if found:
            raise ValueError(preference.report(found))
        # LlamaFactory allows label smoothing for sigmoid only; ours has been checked against the loss already.
        smoothing, self.dpo_label_smoothing = self.dpo_label_smoothing, 0.0
        original.__post_init__(self)  # type: ignore[attr-defined]
        self.dpo_label_smoothing = smoothing
        self.use_ref_model = parameters.needs_reference(self.pref_loss)

    any_loss = ("pref_loss", str, field(default=pref_loss.default, metadata={"help": choices}))
    return _extended(original, preference.PreferenceArguments, __post_init__, [any_loss])


def extend_data_arguments(original: type) -> type:
    """LlamaFactory's DataArguments with the keys about data."""

    def __post_init__(self: Any) -> None:
        found = data.value_problems(vars(self))
        if found:
            raise ValueError(preference.report(found))
        if self.image_root is not None:
            self.media_dir = self.image_root
        original.__post_init__(self)  # type: ignore[attr-defined]

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
