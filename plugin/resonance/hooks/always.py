# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `always` names become: each takes the original and falls through to it for stock recipes.

Other rooms are imported inside functions, because this one is loaded while LlamaFactory is.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..arguments.idle import does_nothing
from ..arguments.resume import goes_on_from_ours
from . import routes
from .llamafactory import registry

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def finetuning_arguments(original: type) -> type:
    from ..arguments.extend import extend_finetuning_arguments

    return extend_finetuning_arguments(original)


def data_arguments(original: type) -> type:
    from ..arguments.extend import extend_data_arguments

    return extend_data_arguments(original)


def get_train_args(original: Callable[..., Any]) -> Callable[..., Any]:
    upstream = sys.modules[original.__module__]

    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        from ..arguments import recipe

        given = upstream.read_args(args)
        if isinstance(given, dict):
            if recipe.needs_resonance(given):
                registry.require(*routes.scopes(given))
            recipe.check(given, upstream)
        parsed = original(given)
        _, data_args, training_args, finetuning_args, *_ = parsed
        values = routes.values_of(data_args, training_args, finetuning_args)
        ours = routes.find(values) is not None
        if ours:  # flags are known only now
            registry.require(*routes.scopes(values))
        if hasattr(finetuning_args, "pref_engine"):  # else our keys are not there, and the recipe is stock
            recipe.check_parsed(given, data_args, training_args, finetuning_args)
            finetuning_args.given_recipe = recipe.as_mapping(given)  # for the record that the run leaves
        if training_args.should_log:
            warnings = [*(registry.warnings(*routes.scopes(values)) if ours else ()), *does_nothing(values)]
            if routes.runs_stock_loss(values):
                logger.info(routes.stock_opening(values))
                warnings += routes.stock_warnings(values)
            for message in warnings:
                logger.warning(message)
        return parsed

    return wrapper


def run_stage(original: Callable[..., Any]) -> Callable[..., Any]:
    """The run function of a stage, with the names rebound that a recipe's route needs."""
    signature = inspect.signature(original)

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        four = [call.arguments[f"{kind}_args"] for kind in ("model", "data", "training", "finetuning")]
        values = routes.values_of(*four[1:])
        route = routes.find(values)
        if route is not None or goes_on_from_ours(four[2]):
            from ..training.continuing import check_continuation

            check_continuation(*four, ours=route is not None)
        if route is None:
            return original(*args, **kwargs)
        with registry.rebound(*routes.scopes(values)):
            from ..training.run import until_precomputed

            route.prepare(*four)
            call.arguments["callbacks"] = route.callbacks(call.arguments.get("callbacks"))
            return until_precomputed(lambda *given: original(*given, **call.kwargs), *call.args)

    return wrapper


def launch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapper() -> Any:
        from .torchrun import prefer_own_torchrun

        prefer_own_torchrun(sys.argv)
        return original()

    return wrapper


def get_v1_args(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        from ..arguments import recipe

        given = sys.argv[1:] if args is None else args
        recipe.refuse_under_v1(given if isinstance(given, dict) else recipe.read(given))
        return original(args)

    return wrapper
