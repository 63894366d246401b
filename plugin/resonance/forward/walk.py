# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which modules a model has, remembered: there are thousands, and it is asked several times a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

T = TypeVar("T")


class _Walk:
    """All modules below a root. Holds no reference to the root, so that a model which is not needed goes away."""

    def __init__(self, root: torch.nn.Module) -> None:
        self.below = list(root.modules())[1:]
        self.found: dict[Callable[..., Any], Any] = {}
        self._tables = [module._modules for module in (root, *self.below)]
        self._children = self._now()

    def holds(self) -> bool:
        """Whether every module still has the children it had: a comparison of identities."""
        return self._now() == self._children

    def _now(self) -> list[torch.nn.Module | None]:
        return list(chain.from_iterable(map(dict.values, self._tables)))


_walks: WeakKeyDictionary[torch.nn.Module, _Walk] = WeakKeyDictionary()


def _walk(root: torch.nn.Module) -> _Walk:
    walk = _walks.get(root)
    if walk is None or not walk.holds():
        walk = _walks[root] = _Walk(root)
    return walk


def modules_of(root: torch.nn.Module) -> list[torch.nn.Module]:
    """`root.modules()`, walked again only if a module has come, gone or been replaced."""
    return [root, *_walk(root).below]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Within it a model is in eval mode and makes no graph; afterwards each module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    with torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def remembered(root: torch.nn.Module, find: Callable[[Sequence[torch.nn.Module]], T]) -> T:
    """`find(modules below root)`, called again only if these have changed since.

    Args:
        root: whose modules are looked at; not among those that `find` is given.
        find: a function of modules, their types and their children; the same object at every call.
    """
    walk = _walk(root)
    if find not in walk.found:
        walk.found[find] = find(walk.below)
    found: T = walk.found[find]
    return found
