# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How patches are applied, checked and undone.

Standard library only, because it is loaded while LlamaFactory is being imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from .patch import Patch, Scope, check_scopes, parameter_names, takes


class Registry:
    """The patches against one upstream distribution, and the state of each.

    Args:
        distribution: the upstream distribution's name, for messages.
        supported: the version specifier within which patches are applied.
        tested: the upstream versions that the patches were tested with.
        patches: the declared patches. Two patches of one target, or an unknown scope, raise ValueError.
    """

    def __init__(self, distribution: str, supported: str, tested: Iterable[str], patches: Iterable[Patch]) -> None:
        self.distribution = distribution
        self.supported = supported
        self.tested = tuple(tested)
        self.patches = tuple(patches)
        self._applied: dict[str, Any] = {}
        self._errors: dict[str, str] = {}
        check_scopes(patch.scope for patch in self.patches)
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

    def untested(self) -> str | None:
        """A sentence if the upstream version is newer than every tested one, else None."""
        from packaging.version import InvalidVersion, Version

        try:
            newer = Version(self.found_version) > max(map(Version, self.tested))
        except InvalidVersion:
            return None
        return (
            f"{self.distribution} {self.found_version} is newer than what Resonance was tested with "
            f"({', '.join(self.tested)})"
            if newer
            else None
        )

    def targets(self) -> frozenset[str]:
        """Modules whose names are rebound as soon as they are imported."""
        return frozenset(patch.module for patch in self.patches if patch.always)

    def status(self) -> list[dict[str, Any]]:
        """One dict a patch: its declaration and `state`: applied, pending (module not imported yet), ready, failed."""
        rows = []
        for patch in self.patches:
            error = self._errors.get(patch.target)
            if error is None and not patch.always and patch.module in sys.modules:
                error = self._problem(patch, sys.modules[patch.module])
            if error:
                state = "failed"
            elif patch.target in self._applied:
                state = "applied"
            else:
                state = "ready" if not patch.always and patch.module in sys.modules else "pending"
            rows.append({**vars(patch), "state": state, "error": error})
        return rows

    def _problem(self, patch: Patch, module: ModuleType) -> str | None:
        """Why `patch` cannot be applied to `module`, or None."""
        found, seen = f"{self.distribution} {self.found_version}", ", ".join(patch.versions)
        if not (patch.any_version or self.version_supported()):
            return f"{found} is outside the supported range {self.supported}"
        if not hasattr(module, patch.name):
            return f"{patch.target} does not exist in {found}; it was seen in {seen}"
        original = getattr(module, patch.name)
        if not takes(original, patch.parameters):
            return (
                f"{patch.target} takes ({', '.join(parameter_names(original))}) in {found}, "
                f"where ({', '.join(patch.parameters)}) was seen in {seen}"
            )
        return None

    # -- as soon as a module is imported --------------------------------------------------------------------------

    def apply(self, module: ModuleType) -> None:
        """Apply the `always` patches of a module whose body has just run. Idempotent; never raises.

        A patch that cannot be applied leaves the upstream name as it is, so that stock recipes keep working; the
        reason is kept for `require()` and printed once.
        """
        for patch in self.patches:
            if not patch.always or patch.module != module.__name__:
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
                if error not in self._errors.values():  # a version that is not supported fails all of them alike
                    print(f"[resonance] patch not applied: {error}", file=sys.stderr)  # noqa: T201 (there is no log yet)
                self._errors[patch.target] = error

    # -- during a run ---------------------------------------------------------------------------------------------

    def require(self, *scopes: Scope) -> None:
        """Check that every patch of these scopes is in force or can be, but for optional ones.

        Raises:
            ImportError: some cannot; all are listed, with dotted paths and versions.
        """
        if errors := self._problems(scopes, optional=False):
            raise ImportError(
                "this recipe needs Resonance, but it cannot be applied to "
                f"{self.distribution} {self.found_version} (supported: {self.supported}):\n  - "
                + "\n  - ".join(dict.fromkeys(errors.values()))
                + "\nRun `resonance doctor` for the state of every patch."
            )

    def holds(self, *scopes: Scope) -> bool:
        """Whether every patch of these scopes is in force or can be, but for optional ones."""
        return not self._problems(scopes, optional=False)

    def warnings(self, *scopes: Scope) -> list[str]:
        """What a run that needs these scopes warns of: an untested version, optional patches it goes without."""
        found = [f"{sentence}; if this run fails, try one of those." for sentence in [self.untested()] if sentence]
        missing = self._problems(scopes, optional=True)
        return found + [f"{error}. The run goes without this: {patch.why}." for patch, error in missing.items()]

    @contextmanager
    def rebound(self, *scopes: Scope) -> Iterator[None]:
        """Rebind the names of these scopes for the duration of the block, then restore them, also after an error."""
        self.require(*scopes)
        missing = self._problems(scopes, optional=True)
        with ExitStack() as stack:
            for patch in self.patches:
                if patch.scope in scopes and not patch.always and patch not in missing:
                    module = import_module(patch.module)
                    original, replacement = getattr(module, patch.name), patch.load_replacement()
                    stack.callback(_setter(module, patch.name, original))
                    setattr(module, patch.name, replacement)
            yield

    def _problems(self, scopes: Iterable[Scope], optional: bool) -> dict[Patch, str]:
        """Patches of these scopes that cannot hold in a run, and why; either the optional ones or the others."""
        scopes = tuple(scopes)
        check_scopes(scopes)
        asked = [patch for patch in self.patches if patch.scope in scopes and patch.optional is optional]
        return {patch: error for patch in asked if (error := self._run_problem(patch)) is not None}

    def _run_problem(self, patch: Patch) -> str | None:
        try:
            module = import_module(patch.module)
        except ImportError as exc:
            return f"{patch.module} cannot be imported ({self.distribution} {self.found_version}): {exc}"
        if not patch.always:
            return self._problem(patch, module)
        if patch.target in self._errors or patch.target in self._applied:
            return self._errors.get(patch.target)
        return self._problem(patch, module) or f"{patch.target} was imported before the start-up hook was installed"


def _setter(module: ModuleType, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(module, name, value)
