# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The patch mechanism: what a rebinding of an upstream name declares, and how it is applied, checked and undone.

Standard library only, because it is loaded while LlamaFactory is being imported. It knows nothing of
LlamaFactory's internals; the list of patches is in `hooks/llamafactory.py`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Patch:
    """One upstream name that we rebind.

    Attributes:
        target: dotted path of the name, `package.module.Name`; the module is the part before the last dot.
        replacement: `package.module:attribute` of ours. For scope "always" it is called with the original and returns
            the new object; for any other scope it is the new object.
        scope: "always" rebinds once, right after the body of the upstream module ran, so that every later
            `from module import Name` sees the new object; it must fall through to the original for recipes that are
            not ours. Any other name is a part of a run: its names are rebound only while a run of ours that uses that
            part is in progress, so stock recipes never see them.
        parameters: leading parameter names of the original that the replacement relies on.
        why: what would be missing without it.
        versions: upstream versions in which the target was seen with this signature.
        remove_when: the upstream change that makes this patch unnecessary.
        any_version: apply it to upstream versions outside the supported range too. For the one patch that must say
            why a recipe cannot run there.
    """

    target: str
    replacement: str
    scope: str
    parameters: tuple[str, ...]
    why: str
    versions: tuple[str, ...]
    remove_when: str
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
    """Parameter names of a function or of a class's constructor, without `self`."""
    names = tuple(inspect.signature(obj).parameters)
    return names[1:] if names[:1] == ("self",) else names


class Registry:
    """The patches against one upstream distribution, and the state of each.

    Args:
        distribution: the upstream distribution's name, for messages.
        supported: the version specifier within which patches are applied.
        patches: the declared patches. Two patches of one target are refused with ValueError.
    """

    def __init__(self, distribution: str, supported: str, patches: Iterable[Patch]) -> None:
        self.distribution = distribution
        self.supported = supported
        self.patches = tuple(patches)
        self._applied: dict[str, Any] = {}
        self._errors: dict[str, str] = {}
        seen: set[str] = set()
        for patch in self.patches:
            if patch.target in seen:
                raise ValueError(f"two patches rebind {patch.target}; merge them into one")
            seen.add(patch.target)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def found_version(self) -> str:
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return "not installed"

    def version_supported(self) -> bool:
        from packaging.specifiers import SpecifierSet  # a dependency of LlamaFactory; only needed once it is imported
        from packaging.version import InvalidVersion, Version

        try:
            return SpecifierSet(self.supported).contains(Version(self.found_version), prereleases=True)
        except InvalidVersion:
            return False

    def targets(self) -> frozenset[str]:
        """Modules whose names are rebound as soon as they are imported."""
        return frozenset(patch.module for patch in self.patches if patch.scope == "always")

    def status(self) -> list[dict[str, Any]]:
        """One dict a patch: its declaration and `state`: applied, pending (module not imported yet), ready, failed."""
        rows = []
        for patch in self.patches:
            error = self._errors.get(patch.target)
            if error is None and patch.scope != "always" and patch.module in sys.modules:
                error = self._problem(patch, sys.modules[patch.module])
            if error:
                state = "failed"
            elif patch.target in self._applied:
                state = "applied"
            elif patch.scope != "always":
                state = "ready" if patch.module in sys.modules else "pending"
            else:
                state = "pending"
            rows.append({**vars(patch), "state": state, "error": error})
        return rows

    def _problem(self, patch: Patch, module: ModuleType) -> str | None:
        """Why `patch` cannot be applied to `module`, or None."""
        found = f"{self.distribution} {self.found_version}"
        if not (patch.any_version or self.version_supported()):
            return f"{found} is outside the supported range {self.supported}"
        if not hasattr(module, patch.name):
            return f"{patch.target} does not exist in {found}; it was seen in {', '.join(patch.versions)}"
        return None

    # -- always ---------------------------------------------------------------------------------------------------

    def apply(self, module: ModuleType) -> None:
        """Apply the "always" patches of a module whose body has just run. Idempotent; never raises.

        A patch that cannot be applied leaves the upstream name as it is, so that stock recipes keep working; the
        reason is kept for `require()` and printed once.
        """
        for patch in self.patches:
            if patch.scope != "always" or patch.module != module.__name__:
                continue
            if getattr(module, patch.name, None) is self._applied.get(patch.target, self):
                continue
            try:
                error = self._problem(patch, module)
                if error is None:
                    original = getattr(module, patch.name)
                    replacement = patch.load_replacement()(original)
                    setattr(module, patch.name, replacement)
                    self._applied[patch.target] = replacement
                    self._errors.pop(patch.target, None)
            except Exception as exc:  # any failure of ours must leave upstream usable; it is reported, not hidden
                error = f"{patch.replacement} could not replace {patch.target}: {type(exc).__name__}: {exc}"
            if error is not None:
                self._errors[patch.target] = error
                print(f"[resonance] patch not applied: {error}", file=sys.stderr)

    # -- during a run ---------------------------------------------------------------------------------------------

    def require(self) -> None:
        """Check that every patch is in force or can be; ImportError with dotted paths and versions otherwise."""
        errors = list(self._errors.values())
        for patch in self.patches:
            if patch.target in self._errors or patch.target in self._applied:
                continue
            try:
                module = import_module(patch.module)
            except ImportError as exc:
                errors.append(f"{patch.module} cannot be imported ({self.distribution} {self.found_version}): {exc}")
                continue
            error = self._problem(patch, module)
            if error is None and patch.scope == "always" and patch.target not in self._applied:
                error = f"{patch.target} was imported before the start-up hook was installed"
            if error is not None:
                errors.append(error)
        if errors:
            raise ImportError(
                "this recipe needs Resonance, but it cannot be applied to "
                f"{self.distribution} {self.found_version} (supported: {self.supported}):\n  - "
                + "\n  - ".join(dict.fromkeys(errors))
                + "\nRun `resonance doctor` for the state of every patch."
            )

    @contextmanager
    def rebound(self, *scopes: str) -> Iterator[None]:
        """Rebind the names of these scopes for the duration of the block, then restore them, also after an error."""
        self.require()
        with ExitStack() as stack:
            for patch in self.patches:
                if patch.scope in scopes and patch.scope != "always":
                    module = import_module(patch.module)
                    original, replacement = getattr(module, patch.name), patch.load_replacement()
                    stack.callback(_setter(module, patch.name, original))
                    setattr(module, patch.name, replacement)
            yield


def _setter(module: ModuleType, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(module, name, value)
