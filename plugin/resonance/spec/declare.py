# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A function that recipes name, and what is known about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from .ranges import FINITE, Range

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Spec:
    """A function that recipes name, and what is known about it; nothing else keeps such a list.

    A subclass is one kind of function. It may add fields, and it sets the three class attributes.

    Attributes:
        name: what a recipe writes.
        fn: the function; inputs by position, then parameters by name, each with a default.
        paper: where it comes from, e.g. "arXiv:2305.18290".
        ranges: parameter name -> allowed numbers.
    """

    kind: ClassVar[str] = "function"  # in messages
    inputs: ClassVar[Mapping[str, str]] = {}  # what it takes by position: name -> description
    neutral: ClassVar[Mapping[str, object]] = {}  # parameter values that ask for nothing: any function takes them

    name: str
    fn: Callable[..., Any]
    paper: str = ""
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Parameter name -> default, in the order of the signature."""
        rest = list(inspect.signature(self.fn).parameters.values())[len(self.inputs) :]
        return {parameter.name: parameter.default for parameter in rest}

    @property
    def title(self) -> str:
        """The kind and the name, as messages begin."""
        return f"{self.kind.capitalize()} '{self.name}'"

    def allowed(self, name: str) -> Range | str:
        """Which values a parameter may have; empty text where that is not declared and follows from no default."""
        default = self.params[name]
        if name in self.ranges:
            return self.ranges[name]
        if isinstance(default, bool):
            return "True or False"
        return FINITE if isinstance(default, int | float) else ""

    def facts(self) -> str:
        """What `help` prints below the function's own docstring: all that is declared and not written there."""
        lines = [f"Paper: {self.paper}"] if self.paper else []
        lines += ["Parameters:"] if self.params else []
        for name, default in self.params.items():
            allowed = f"{self.allowed(name)}; " if self.allowed(name) else ""
            lines.append(f"    {name}: {allowed}default {default!r}")
        return "\n".join(lines)

    def problems(self) -> list[str]:
        """Why this cannot be declared so; empty when it can."""
        if found := signature_problems(self.fn, self.inputs):
            return found
        return [f"ranges names '{key}', which is no parameter" for key in self.ranges if key not in self.params]


def signature_problems(fn: Callable[..., Any], inputs: Mapping[str, str]) -> list[str]:
    """Why `fn` cannot be called as `fn(*inputs, name=value, ...)`; empty when it can."""
    parameters = list(inspect.signature(fn).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [parameter for parameter in parameters[: len(inputs)] if parameter.kind in by_position]
    if len(found) < len(inputs):
        first = "first parameter" if len(inputs) == 1 else f"first {len(inputs)} parameters"
        return [f"its {first} must take {', '.join(inputs.values())} by position"]
    problems = []
    for parameter in parameters[len(inputs) :]:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            problems.append(f"'{parameter}' hides which parameters it has; name each one")
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            problems.append(f"parameter '{parameter.name}' cannot be passed by name")
        elif parameter.default is inspect.Parameter.empty:
            problems.append(f"parameter '{parameter.name}' needs a default")
    return problems


def attach(spec_type: type[Spec], name: str = "", **declared: Any) -> Callable[[F], F]:
    """A decorator that makes a `spec_type` of a function, as `fn.spec`, and completes its docstring with `facts`.

    Args:
        spec_type: the kind of function.
        name: what a recipe writes; the function's own name if empty.
        declared: the other fields of `spec_type`.

    Raises:
        ValueError: the function or what is declared is wrong; all problems at once.
    """

    def decorate(fn: F) -> F:
        spec = spec_type(name=name or fn.__name__, fn=fn, **declared)
        if problems := spec.problems():
            raise ValueError(f"{spec.title} cannot be declared: {'; '.join(problems)}.")
        fn.spec = spec  # type: ignore[attr-defined]
        fn.__doc__ = f"{inspect.cleandoc(fn.__doc__ or '')}\n\n{spec.facts()}".strip()
        return fn

    return decorate
