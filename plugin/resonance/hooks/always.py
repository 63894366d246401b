# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `always` names become: each takes the original and falls through to it for stock recipes.

Other rooms are imported inside functions, because this one is loaded while LlamaFactory is. What the way of a stock
recipe needs, of ours and of LlamaFactory's, is looked up before the wrapper is made: without it no name is rebound.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from ..arguments import rates
from ..arguments.idle import does_nothing
from ..arguments.resume import goes_on_from_ours
from ..arguments.tracking import named, unread
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
    from ..arguments import policy_recipe, recipe

    upstream = sys.modules[original.__module__]

    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        given = recipe.as_given(args)
        keys = given if isinstance(given, dict) else recipe.read(given)
        if recipe.needs_resonance(keys):
            registry.require(*(routes.scopes(keys) if keys is given else routes.EVERY))
        elif not registry.holds("arguments"):
            return original(args)
        if given and isinstance(given, dict):
            recipe.check(given, upstream)
        else:
            recipe.check_flags(keys)
        parsed = original(given or args)  # which explains a file that cannot be read
        _, data_args, training_args, finetuning_args, generating_args = parsed
        policy_recipe.restore_stage(keys, training_args, finetuning_args, generating_args)
        policy_recipe.restore_resume(keys, training_args, finetuning_args)
        values = routes.values_of(data_args, training_args, finetuning_args)
        ours = routes.find(values) is not None
        if ours:  # flags are known only now
            registry.require(*routes.scopes(values))
        check = partial(recipe.check_parsed, given, data_args, training_args, finetuning_args, generating_args)
        if ours:  # which checkpoints there are may differ from node to node
            from ..training.together import on_all_ranks

            on_all_ranks(check)
        else:
            check()
        finetuning_args.given_recipe = recipe.as_mapping(given or [])  # for the record that the run leaves
        if training_args.should_log:
            warnings = [*(registry.warnings(*routes.scopes(values)) if ours else ()), *does_nothing(values)]
            warnings += unread(values, training_args.report_to)
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
    names = [f"{kind}_args" for kind in ("model", "data", "training", "finetuning")]
    if missing := [name for name in names if name not in signature.parameters]:  # another package's wrapper
        raise TypeError(f"{original.__module__}.{original.__qualname__} has no {', '.join(missing)} by name")

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        four = [call.arguments[name] for name in names]
        with named(vars(four[-1])):
            return run(call, four, *args, **kwargs)

    def run(call: inspect.BoundArguments, four: list[Any], *args: Any, **kwargs: Any) -> Any:
        values = routes.values_of(*four[1:])
        route = routes.find(values)
        if route is not None or goes_on_from_ours(four[2]):
            from ..training.continuing import check_continuation
            from ..training.nodes import check_nodes
            from ..training.together import on_all_ranks

            check_nodes(*four[1:3])
            on_all_ranks(lambda: check_continuation(*four, ours=route is not None and route.leaves_record))
        if route is None:
            return original(*args, **kwargs)
        if keys := rates.given_keys(values):
            from ..training.rates import check_model

            check_model(four[0], keys)
        with registry.rebound(*routes.scopes(values)):
            from ..training.run import until_precomputed

            route.prepare(*four)
            call.arguments["callbacks"] = route.callbacks(call.arguments.get("callbacks"))
            return until_precomputed(lambda *given: original(*given, **call.kwargs), *call.args)

    return wrapper


def run_ppo(original: Callable[..., Any]) -> Callable[..., Any]:
    """LlamaFactory's PPO runs in no installation: ours takes its place, and every recipe of the stage has a route."""

    @wraps(original)
    def ours(*args: Any, **kwargs: Any) -> Any:
        from ..training.policy_run import run_policy

        return run_policy(*args, **kwargs)

    return run_stage(ours)


def launch(original: Callable[..., Any]) -> Callable[..., Any]:
    from .endings import report_errors, with_cause_last
    from .torchrun import prepare_launch

    @wraps(original)
    def wrapper() -> Any:
        if sys.argv[1:2] != ["train"]:
            return original()
        report_errors()
        prepare_launch(sys.argv)
        return with_cause_last(original)

    return wrapper


def run_exp(original: Callable[..., Any]) -> Callable[..., Any]:
    """LlamaFactory's `run_exp`; called without arguments it is the command line's, with recipes read by us."""
    from ..arguments import reader
    from .endings import report_errors

    @wraps(original)
    def wrapper(args: dict[str, Any] | None = None, callbacks: list[Any] | None = None) -> Any:
        if args is None:
            report_errors()
            if reader.names_file(sys.argv[1:]):
                args = reader.read_words(sys.argv[1:])
        return original(args, callbacks)

    return wrapper


def ray_training(original: Callable[..., Any]) -> Callable[..., Any]:
    """The driver of LlamaFactory's Ray path."""
    from ..arguments import recipe
    from .ray import placing

    @wraps(original)
    def wrapper(ray_args: Any, config: dict[str, Any]) -> Any:
        if not recipe.needs_resonance(recipe.as_mapping(config["args"])):
            return original(ray_args, config)
        with registry.rebound("ray"), placing(ray_args.ray_num_workers):
            return original(ray_args, config)

    return wrapper


def chat_engine(original: type) -> type:
    from . import chat

    return chat.chat_engine(original)


def get_v1_args(original: Callable[..., Any]) -> Callable[..., Any]:
    from ..arguments import recipe

    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        given = sys.argv[1:] if args is None else args
        recipe.refuse_under_v1(given if isinstance(given, dict) else recipe.read(given))
        return original(args)

    return wrapper
