# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Functions that a recipe names: what each needs, which values its parameters take, and how a name becomes one.

Preference losses and reinforcement learning's arithmetic declare themselves with it. Imports no torch, no other room.

| file | what |
|---|---|
| `ranges.py` | the numbers a parameter may take |
| `declare.py` | `Spec`: a function and what is known about it; `attach` makes one of a decorated function |
| `validate.py` | what is wrong with parameter values, all of it at once |
| `lookup.py` | from a name to a `Spec`: a table of ours, or a user's "package.module:function" |
"""

from .declare import Spec, attach
from .lookup import find, import_function, make_table
from .ranges import FINITE, NON_NEGATIVE, POSITIVE, UP_TO_HALF, Range
from .validate import nearest_first, own_params, param_problems

__all__ = [
    "FINITE",
    "NON_NEGATIVE",
    "POSITIVE",
    "UP_TO_HALF",
    "Range",
    "Spec",
    "attach",
    "find",
    "import_function",
    "make_table",
    "nearest_first",
    "own_params",
    "param_problems",
]
