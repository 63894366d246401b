# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A command becomes the keys of a recipe."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import launch
from .arguments import ARGUMENTS
from .table import Argument
from .values import plain
from .words import Command, Value

_SHELL = "{} is known to the shell alone; write its value into the command, or the key into the recipe"


@dataclass
class Recipe:
    """What becomes of a command.

    Attributes:
        stage: of the recipe.
        keys: of the recipe.
        notes: said beside a key.
        refused: arguments for which there is no key, and why.
        idle: arguments that had no effect in this command, and why.
        typed: names of the arguments that were typed, by the key that they became.
        variables: of the environment, before the command that trains.
        data: the command that makes its data set.
        model: why another model takes the place of the one that was given; empty if it stays.
    """

    stage: str
    keys: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    data: str = ""
    model: str = ""

    def without(self, why: str, *keys: str) -> None:
        """Take keys out that have no effect; those that were typed are told with the reason."""
        for key in keys:
            if self.keys.pop(key, None) is not None and key in self.typed:
                self.idle[self.typed[key]] = why
            self.notes.pop(key, None)


def translate(command: Command) -> Recipe:
    """All that a command says that does not depend on anything else in it; `fit.py` sees to the rest.

    Raises:
        ValueError: values that cannot be read; all are listed.
    """
    recipe = Recipe(command.stage)
    problems = []
    for name, text in command.arguments.items():
        if name.startswith("no_") and name not in ARGUMENTS and name[3:] in ARGUMENTS:
            name, text = name[3:], "False"
        try:
            _take(recipe, name, text)
        except ValueError as error:
            problems.append(f"--{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    for row in ARGUMENTS.values():
        if row.guide is not None and row.key and row.key not in recipe.keys and recipe.stage in row.stages:
            _default(recipe, row, row.guide)
    found = launch.read(command.launch, command.environment)
    recipe.variables = found.variables
    recipe.keys |= {key: value for key, value in found.keys.items() if key not in recipe.keys}
    recipe.notes |= found.notes
    recipe.refused |= found.refused
    return recipe


def _take(recipe: Recipe, name: str, text: Value) -> None:
    """One typed argument."""
    row = ARGUMENTS.get(name)
    if row is None and name not in transformers_names():
        near = get_close_matches(name, (*ARGUMENTS, *transformers_names()), n=1)
        meant = f"did you mean --{near[0]}?" if near else "look for its meaning in `llamafactory-cli train -h`"
        recipe.refused[name] = f"neither an argument of the guide nor one of Transformers; {meant}"
        return
    row = row or Argument(name, name)
    if recipe.stage not in row.stages:
        recipe.refused[name] = row.why_not_in(recipe.stage)
    elif row.refused:
        if text not in row.same:
            recipe.refused[name] = row.refused
    elif is_computed(text):
        recipe.refused[name] = _SHELL.format(text)
    elif row.key:
        recipe.keys[row.key] = row.read(text)
        recipe.typed[row.key] = name
        if row.note:
            recipe.notes[row.key] = f"--{name}: {row.note}"


def _default(recipe: Recipe, row: Argument, guide: str) -> None:
    """An argument that was not typed has the default that the guide gives."""
    value = row.read(guide)
    if value != row.absent:
        recipe.keys[row.key] = value
        other = f"; the code has {row.code}" if row.code else ""
        recipe.notes[row.key] = f"--{row.name} by default, in the guide{other}"


@cache
def transformers_names() -> frozenset[str]:
    """Fields of the installed Transformers' TrainingArguments, read from its source: importing it takes seconds."""
    found = find_spec("transformers")
    places: Iterable[str] = (found and found.submodule_search_locations) or ()
    for place in places:
        tree = ast.parse(Path(place, "training_args.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
                named = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
                return frozenset(each.id for each in named if isinstance(each, ast.Name))
    return frozenset()


def set_name(path: str) -> str:
    """A name for the data set of a file."""
    return re.sub(r"\W+", "_", Path(path).stem).strip("_") or "data"


def text_of(command: Command, name: str) -> str:
    """What was typed for an argument, as text; empty if nothing was, or what the shell alone knows."""
    typed = command.arguments.get(name, "")
    return "" if is_computed(typed) else str(plain(typed))


def is_computed(typed: Value) -> bool:
    """Whether the shell would put something in."""
    return any(mark in "".join(typed) for mark in "$`")
