# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a rebinding of an upstream name declares.

Standard library only, because it is loaded while LlamaFactory is being imported. It knows nothing of
LlamaFactory's internals; the list of patches is in `hooks/llamafactory.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

# A part of a run: `run_*` is a stage's run function, `*_rows` what a stage's workflow does with rows. The routes in
# `routes.py` list the scopes that a recipe needs.
Scope = Literal[
    "arguments",
    "launcher",
    "ray",
    "chat",
    "board",
    "families",
    "v1",
    "run_dpo",
    "run_rm",
    "run_sft",
    "run_pt",
    "run_kto",
    "run_ppo",
    "align",
    "selection",
    "rows",
    "dpo_rows",
    "rm_rows",
    "ppo_rows",
    "kto_rows",
    "kto_models",
    "sft_rows",
    "sft_trainer",
    "pt_trainer",
    "kto_trainer",
    "rm_trainer",
    "rm_model",
    "kto_trainer",
    "trainer",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Patch:
    """One upstream name that we rebind.

    Attributes:
        target: dotted path of the name, `package.module.Name`; the module is the part before the last dot.
        replacement: `package.module:attribute` of ours. With `always` it is called with the original and returns the
            new object; otherwise it is the new object.
        scope: the part of a run that needs the patch.
        parameters: leading parameter names of the original (a class: of its constructor) that we rely on; none of a
            table.
        why: what would be missing without it.
        versions: upstream versions in which the target was seen with this signature.
        remove_when: the upstream change that makes this patch unnecessary.
        always: rebind once, right after the body of the upstream module ran, so that every later
            `from module import Name` sees the new object; it must fall through to the original for recipes that are
            not ours. Otherwise the name is rebound only while a run of ours that needs the scope is in progress, so
            stock recipes never see it.
        optional: a run that cannot have it warns and continues.
        any_version: apply it to upstream versions outside the supported range too. For the one patch that must
            report why a recipe cannot run there.
    """

    target: str
    replacement: str
    scope: Scope
    parameters: tuple[str, ...]
    why: str
    versions: tuple[str, ...]
    remove_when: str
    always: bool = False
    optional: bool = False
    any_version: bool = False

    @property
    def module(self) -> str:
        return self.target.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.target.rpartition(".")[2]

    def load_replacement(self) -> Any:
        module, _, attribute = self.replacement.partition(":")
        return getattr(import_module(module), attribute)


def parameter_names(obj: Any) -> tuple[str, ...]:
    """Parameter names of a function or of a class's constructor, without `self`; `*args` ends the list."""
    if not callable(obj):
        return ()
    parameters = inspect.signature(obj).parameters.values()
    names = tuple("*" + p.name if p.kind is p.VAR_POSITIONAL else p.name for p in parameters)
    return names[1:] if names[:1] == ("self",) else names


def takes(obj: Any, parameters: tuple[str, ...]) -> bool:
    """Whether `parameters` lead the parameters of `obj`, or whatever is given there is taken by its `*args`."""
    found = parameter_names(obj)
    known = next((index for index, name in enumerate(found) if name.startswith("*")), len(parameters))
    return found[:known][: len(parameters)] == parameters[:known]


def check_scopes(scopes: Iterable[str]) -> None:
    """Raise ValueError for a scope that does not exist: a typo would make a check or a rebinding do nothing."""
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise ValueError(f"{', '.join(map(repr, unknown))} is not a scope of patches; scopes: {', '.join(SCOPES)}")
