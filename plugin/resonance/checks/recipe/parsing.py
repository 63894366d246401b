# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What LlamaFactory's own checks refuse, in the words of LlamaFactory. Imports it inside functions."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from types import ModuleType
from typing import Any

from .verdict import key_of

# Keys that ask for what the machine that validates need not have: its GPUs, and processes of torchrun.
_OF_A_MACHINE = (
    "bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval", "pure_bf16", "fp8", "deepspeed", "fsdp", "fsdp_config",
)  # fmt: skip
_CHATTY = ("llamafactory.hparams", "transformers")  # they log what is a key's default or its next name
_OURS = f"llamafactory.{__name__.partition('.')[0]}"  # the logger above all of ours


def classes_of(parser: ModuleType) -> list[type]:
    """The argument classes that LlamaFactory's parser fills."""
    return list(getattr(parser, "_TRAIN_ARGS", ()))


def without_machine(given: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as a machine without a GPU parses it."""
    return {key: value for key, value in given.items() if key not in _OF_A_MACHINE} | {"use_cpu": True}


def class_problems(given: Mapping[str, Any], classes: Sequence[type], errors: Sequence[str]) -> list[str]:
    """What each argument class refuses; none of a class whose keys are known to be wrong.

    Args:
        given: the recipe.
        classes: of `classes_of`.
        errors: what has been found, as messages that start with the key.
    """
    from transformers import HfArgumentParser

    wrong, found = {key_of(message) for message in errors}, []
    for cls in classes:
        names = {f.name for f in fields(cls) if f.init}
        if names & wrong:
            continue
        own = {key: value for key, value in without_machine(given).items() if key in names}
        try:
            with _calm():
                HfArgumentParser(cls).parse_dict(own)
        except Exception as error:  # whatever a value makes of their arithmetic
            found.append(refused(error, own))
    return found


def refused(error: Exception, given: Mapping[str, Any]) -> str:
    """An error of LlamaFactory or Transformers as a message that starts with the key that it is about."""
    text = str(error).strip() or type(error).__name__
    named = re.findall(r"`(\w+)`", text) or [key for key in given if key in text.split()]
    return f"{', '.join(named[:1]) or 'recipe'}: {text} (LlamaFactory's own check)"


def messages(error: Exception, given: Mapping[str, Any]) -> list[str]:
    """The problems that an error of a run's beginning lists: ours are several in one, LlamaFactory's is one."""
    head, *listed = str(error).split("\n  - ")
    return listed if head.startswith("the recipe has ") else [refused(error, given)]


def run_checks(given: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The five argument objects of a run, and the warnings that it would begin with.

    Raises:
        ValueError: what LlamaFactory refuses of keys that are right each for itself.
    """
    from llamafactory.hparams import get_train_args

    with _calm(), _collected() as warnings:
        parsed = get_train_args(without_machine(given))
    return parsed, warnings


@contextmanager
def _calm() -> Iterator[None]:
    """Errors alone of LlamaFactory's parser and of Transformers."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in _CHATTY}
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


@contextmanager
def _collected() -> Iterator[list[str]]:
    """Warnings of ours, instead of lines on the screen."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger(_OURS), Collector(logging.WARNING)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
