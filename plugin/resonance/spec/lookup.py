# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a name in a recipe to a `Spec`: one of a table, or a user's own function, "package.module:function".

Imports the user's module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .declare import Spec, signature_problems
from .validate import nearest_first

FORM = "write it as 'package.module:function'"
S = TypeVar("S", bound=Spec)


def make_table(spec_type: type[S], *functions: Callable[..., Any]) -> dict[str, S]:
    """Name -> spec of declared functions of one kind, in the order given.

    Raises:
        ValueError: two share a name.
    """
    specs: list[S] = [vars(fn)["spec"] for fn in functions]
    table = {spec.name: spec for spec in specs}
    if len(table) != len(specs):
        raise ValueError(f"Two of kind {spec_type.kind} share a name: {sorted(spec.name for spec in specs)}.")
    return table


def find(name: str | S, table: Mapping[str, S], spec_type: type[S]) -> S:
    """The function of that name: one of `table`, or a user's own as "package.module:function".

    Args:
        name: of a function; a spec is returned as it is.
        table: ours, by name.
        spec_type: the kind of function, whose class attributes decide what a user's own must look like.

    Raises:
        ValueError: unknown name (the nearest first, then all), or a user's function that cannot be called so.
        ImportError: a user's module that itself fails to import something.
    """
    kind = spec_type.kind
    if isinstance(name, spec_type):
        return name
    if not isinstance(name, str):
        raise ValueError(f"The {kind} is named by a string, got {name!r} ({type(name).__name__}).")
    if name in table:
        return table[name]
    if ":" in name:
        return load(name, spec_type)
    raise ValueError(
        f"Unknown {kind} '{name}' ({nearest_first(name, table)}). For your own write 'package.module:function'."
    )


def load(name: str, spec_type: type[S]) -> S:
    """The spec of the user's function named "package.module:function".

    A declared function has its own; a plain one gets the defaults of `spec_type`.

    Raises:
        ValueError: not of that form, no such module or function, not callable, or another signature than inputs by
            position and parameters by name with defaults; all that is wrong with it.
        ImportError: the module exists and itself fails to import something.
    """
    title = f"{spec_type.kind.capitalize()} '{name}'"
    fn = import_function(name, title)
    spec = getattr(fn, "spec", None)
    if isinstance(spec, spec_type):
        return replace(spec, name=name)
    if problems := signature_problems(fn, spec_type.inputs):
        form = f"fn({', '.join(spec_type.inputs)}, *, parameter=default, ...)"
        raise ValueError(f"{title} must be callable as {form}: {'; '.join(problems)}.")
    return spec_type(name=name, fn=fn)


def import_function(name: str, title: str) -> Callable[..., Any]:
    """What the user's "package.module:function" names.

    Args:
        name: of that form.
        title: what messages begin with.

    Raises:
        ValueError: not of that form, no such module or function, or not callable.
        ImportError: the module exists and itself fails to import something.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(f"{title} is no table name and no function: {FORM}.")
    module = _import(module_name, title)
    if not hasattr(module, function_name):
        found = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(
            f"{title}: module '{module_name}' ({getattr(module, '__file__', None)}) has no '{function_name}' "
            f"({nearest_first(function_name, found)})."
        )
    fn = getattr(module, function_name)
    if not callable(fn):
        raise ValueError(f"{title} is {type(fn).__name__}, which cannot be called; name a function.")
    if inspect.isbuiltin(fn):  # which may take anything by position, such as os.system a command
        raise ValueError(f"{title} is not written in Python, so it is no function of this kind; name one of yours.")
    return fn


def _import(module_name: str, title: str) -> ModuleType:
    """The module, from the import path or else from the current working directory."""
    top = module_name.partition(".")[0]
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Something the module itself imports is missing: that is the user's own traceback, not a wrong name.
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        here = Path.cwd()
        beside = (here / f"{top}.py").exists() or (here / top).is_dir()
        if error.name != top or not beside or str(here) in sys.path:
            raise ValueError(
                f"{title}: no module named '{error.name}' on the import path or in {here}; {FORM} and check the "
                f"spelling, install the package, or start in the folder that holds it."
            ) from error
    # A console script does not see the working directory as `python -m` does. It stays at the end of the path, where
    # it hides no installed module, because the function may import its neighbours later.
    sys.path.append(str(here))
    importlib.invalidate_caches()
    return _import(module_name, title)
