# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A user's own loss, named "package.module:function". Imports that module and torch only."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from .spec import LossSpec, signature_problems
from .validate import nearest_first

FORM = "write it as 'package.module:function'"


def _import(module_name: str, name: str) -> ModuleType:
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
                f"Loss '{name}': no module named '{error.name}' on the import path or in {here}; {FORM} and check the "
                f"spelling, install the package, or start in the folder that holds it."
            ) from error
    # A console script does not see the working directory as `python -m` does. It stays at the end of the path, where
    # it hides no installed module, because the loss may import its neighbours later.
    sys.path.append(str(here))
    importlib.invalidate_caches()
    return _import(module_name, name)


def load_loss(name: str) -> LossSpec:
    """The LossSpec of the loss named "package.module:function".

    A function decorated with `declare` brings its own spec; a plain one gets the defaults: reference needed, scores
    not, log-probs summed.

    Raises:
        ValueError: not of that form, no such module or function, not callable, or a signature other than
            `fn(pairs, *, parameter=default, ...)`; says all that is wrong with it.
        ImportError: the module exists and itself fails to import something.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(f"Loss '{name}' is no table name and no function: {FORM}.")
    module = _import(module_name, name)
    if not hasattr(module, function_name):
        found = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(
            f"Loss '{name}': module '{module_name}' ({getattr(module, '__file__', None)}) has no '{function_name}' "
            f"({nearest_first(function_name, found)})."
        )
    fn = getattr(module, function_name)
    if not callable(fn):
        raise ValueError(f"Loss '{name}' is {type(fn).__name__}, which cannot be called; name a function.")
    spec = getattr(fn, "spec", None)
    if isinstance(spec, LossSpec):
        return replace(spec, name=name)
    problems = signature_problems(fn)
    if problems:
        raise ValueError(
            f"Loss '{name}' must be callable as fn(pairs, *, parameter=default, ...): {'; '.join(problems)}."
        )
    return LossSpec(name=name, fn=fn)
