# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A user's own reward, "module:function".

    def short(completions, prompts, images, **columns):
        return [float(len(text) < 80) for text in completions]

It is called with what it names: `completions` and `prompts` (texts), `images` (a list a completion), `completion_ids`
(tokens), columns of the data, and the parameters that its entry in the recipe gives; with `**columns` it gets all of
these. It returns a number a completion, or None to leave this reward out for it, and may be `async`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..spec import import_function, nearest_first
from .spec import INPUTS, Completions, InputError

Parameter = inspect.Parameter
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class UserFunction:
    """A function and what it can be called with.

    Attributes:
        fn: the function.
        named: the parameters that it names -> whether it can do without.
        takes_all: True with `**columns`.
    """

    fn: Callable[..., Any]
    named: Mapping[str, bool]
    takes_all: bool

    @property
    def is_async(self) -> bool:
        """True for a coroutine function, or an object with such a call."""
        call = getattr(self.fn, "__call__", None)  # noqa: B004 - asked for its kind, not for its presence
        return inspect.iscoroutinefunction(self.fn) or inspect.iscoroutinefunction(call)

    def problems(self, params: Mapping[str, Any], known: Iterable[str] | None, options: Iterable[str]) -> list[str]:
        """Why it cannot be called with these parameters and columns; empty when it can.

        Args:
            params: given in the recipe, by name.
            known: the columns of the data, None where they are not known.
            options: keys of an entry, to offer for one that is misspelt.
        """
        own = [name for name in self.named if name not in INPUTS]
        problems = [
            f"it has no key or parameter '{name}' ({nearest_first(name, {*own, *options})})"
            for name in params
            if name not in own
        ]
        if known is None:
            return problems
        columns = set(known)
        problems += [
            f"'{name}' is a parameter here and a column of the data; rename one" for name in params if name in columns
        ]
        problems += [
            f"it needs '{name}', which is no column of the data ({nearest_first(name, columns)}) and has no default"
            for name in own
            if not self.named[name] and name not in columns and name not in params
        ]
        return problems

    def call(self, batch: Completions, params: Mapping[str, Any]) -> Any:
        """Its result on a batch. InputError for a column that the data lacks."""
        if problems := self.problems(params, batch.columns, ()):
            raise InputError("; ".join(problems))
        ids = {} if batch.completion_ids is None else {"completion_ids": batch.completion_ids}
        inputs = {"completions": batch.completions, "prompts": batch.prompts, "images": batch.images}
        # copies: what a function does with its lists concerns no other reward and no log
        offered = {name: list(values) for name, values in (inputs | ids | dict(batch.columns)).items()} | dict(params)
        return self.fn(**{name: value for name, value in offered.items() if self.takes_all or name in self.named})


def load_function(name: object) -> UserFunction:
    """The function of a recipe's "module:function".

    Raises:
        ValueError: not of that form, no such module or function, or one that cannot be called by name.
        ImportError: the module exists and itself fails to import something.
    """
    if not isinstance(name, str):
        raise ValueError(f"function={name!r} must be a text, 'module:function'")
    fn = import_function(name, f"Reward '{name}'")
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(f"its parameters cannot be read: {error}; wrap it in a function") from error
    unnamed = [each.name for each in parameters if each.kind is Parameter.POSITIONAL_ONLY]
    if unnamed:
        raise ValueError(f"parameter '{unnamed[0]}' cannot be passed by name; take the '/' out")
    named = {each.name: each.default is not Parameter.empty for each in parameters if each.kind in BY_NAME}
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
    if not takes_all and not set(INPUTS) & set(named):
        raise ValueError("it takes no completions; write it as fn(completions, prompts, images, **columns)")
    return UserFunction(fn, named, takes_all)
