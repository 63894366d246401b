# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the names of scope "always" become: each takes the original and falls through to it for stock recipes.

Other rooms are imported inside functions, because this one is loaded while LlamaFactory is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from .llamafactory import registry


def finetuning_arguments(original: type) -> type:
    from ..arguments.preference import extend_finetuning_arguments

    return extend_finetuning_arguments(original)


def data_arguments(original: type) -> type:
    from ..arguments.data import extend_data_arguments

    return extend_data_arguments(original)


def get_train_args(original: Callable[..., Any]) -> Callable[..., Any]:
    upstream = sys.modules[original.__module__]

    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        from ..arguments import recipe
        from ..arguments.preference import runs_on_resonance

        given = upstream.read_args(args)
        if isinstance(given, dict):
            if recipe.needs_resonance(given):
                registry.require()
            recipe.check(given, upstream)
        parsed = original(given)
        finetuning_args = parsed[3]
        if runs_on_resonance(vars(finetuning_args)):  # flags are known only now
            registry.require()
        if hasattr(finetuning_args, "pref_engine"):  # else our keys are not there, and the recipe is stock
            recipe.check_parsed(given, *parsed[1:4])
        return parsed

    return wrapper


def run_pairs(original: Callable[..., Any]) -> Callable[..., Any]:
    """`run_dpo` and `run_rm`: with our rows if the recipe asks for them, and with our trainer if its loss does."""

    @wraps(original)
    def wrapper(
        model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: Any = None
    ) -> Any:
        from ..arguments.data import uses_rows
        from ..arguments.preference import runs_on_resonance

        args = (model_args, data_args, training_args, finetuning_args)
        if runs_on_resonance(vars(finetuning_args)):
            with registry.rebound("selection", "rows", "trainer"):
                from ..training.run import prepare, until_precomputed, watched

                prepare(*args)
                return until_precomputed(original, *args, watched(callbacks))
        if uses_rows({**vars(data_args), "stage": finetuning_args.stage}):
            with registry.rebound("selection", "rows"):
                from ..training.run import prepare_rows, watched

                prepare_rows(data_args, training_args)
                return original(*args, watched(callbacks))
        return original(*args, callbacks)

    return wrapper


def run_selection(original: Callable[..., Any]) -> Callable[..., Any]:
    """`run_sft`, `run_pt` and `run_kto`: on a fraction of their rows if the recipe asks for it."""

    @wraps(original)
    def wrapper(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, *args: Any) -> Any:
        from ..arguments.data import uses_selection

        if not uses_selection({**vars(data_args), "stage": finetuning_args.stage}):
            return original(model_args, data_args, training_args, finetuning_args, *args)
        with registry.rebound("selection"):
            from ..training.run import prepare_rows

            prepare_rows(data_args, training_args, kind="other")
            return original(model_args, data_args, training_args, finetuning_args, *args)

    return wrapper


def launch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapper() -> Any:
        from ..arguments.recipe import needs_resonance
        from .torchrun import check_launch

        check_launch(sys.argv, needs_resonance)
        return original()

    return wrapper
