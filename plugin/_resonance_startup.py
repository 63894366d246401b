# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Startup: the import hook that makes LlamaFactory load with our names in it.

`install()` runs in every Python process of the environment, through the `.pth` line of the package. So this module
imports `sys` alone, costs microseconds and never raises: until a module of LlamaFactory is imported it does one string
comparison an import, and nothing else. It lies beside the package under a name that nobody else has: a module of a
user's own that is called `resonance` is neither hidden by it nor executed at start.
"""

import sys

TYPE_CHECKING = False  # `typing` costs more than this whole module
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

PREFIX = "llamafactory."
SWITCH = "RESONANCE_DISABLE"


class Finder:
    """Finds nothing itself: lets the other finders find a LlamaFactory module and has the registry patch it."""

    def __init__(self) -> None:
        self._registry: Any = None
        self._broken = False
        self._searching: set[str] = set()

    def find_spec(self, fullname: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        """Returns None for every module without a patch, which leaves it to the finders behind this one."""
        if not fullname.startswith(PREFIX) or fullname in self._searching or fullname not in self.targets():
            return None
        self._searching.add(fullname)  # another package's finder of this kind asks us in its turn
        try:
            for finder in sys.meta_path:
                find_spec = None if finder is self else getattr(finder, "find_spec", None)
                spec = find_spec(fullname, path, target) if find_spec else None
                if spec is not None:
                    self._patch_after_execution(spec)
                    return spec
            return None
        finally:
            self._searching.discard(fullname)

    def targets(self) -> frozenset[str]:
        """Names of the modules that get patched; empty when our own hooks do not import."""
        if self._registry is None and not self._broken:
            try:
                require_package()
                from resonance.hooks.llamafactory import registry
            except Exception as error:
                self._broken = True
                warn(f"the hooks could not be imported, LlamaFactory runs without them: {describe(error)}")
            else:
                self._registry = registry
        return self._registry.targets() if self._registry is not None else frozenset()

    def apply(self, module: "ModuleType") -> None:
        """Patches a module whose body has run."""
        self._registry.apply(module)

    def _patch_after_execution(self, spec: "ModuleSpec") -> None:
        run = getattr(spec.loader, "exec_module", None)
        if run is None:
            return

        def exec_module(module: "ModuleType") -> None:
            run(module)
            self.apply(module)

        # On the instance, not by a wrapping loader: resources, inspection and runpy look at the type of the loader.
        try:
            spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        except Exception:  # another tool's loader, whose attributes cannot be set
            spec.loader = StandIn(spec.loader, exec_module)  # type: ignore[assignment]


class StandIn:
    """A loader in all but `exec_module`."""

    def __init__(self, loader: "Any", exec_module: "Any") -> None:
        self._loader, self.exec_module = loader, exec_module

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)


def install() -> None:
    """Puts the finder in front of `sys.meta_path`, once; does nothing under `RESONANCE_DISABLE=1`."""
    try:
        if is_disabled():
            warn_of_a_loss_that_is_missing()
            return
        if installed_finder() is not None:
            return
        finder = Finder()
        sys.meta_path.insert(0, finder)
        if "llamafactory" in sys.modules:
            patch_what_is_loaded(finder)
    except Exception as error:
        warn(f"the import hook could not be installed, LlamaFactory runs without it: {describe(error)}")


def patch_what_is_loaded(finder: Finder) -> None:
    """Late installation: patches the modules that were imported before the finder was there.

    A module that is being imported at this moment is left out, as its body will still run; it stays `pending`, and a
    recipe that needs it stops.
    """
    for name in finder.targets():
        module = sys.modules.get(name)
        if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
            finder.apply(module)


def installed_finder() -> "Any":
    """Returns the finder in `sys.meta_path`, or None. Compares names: the module may have been imported twice."""
    for finder in sys.meta_path:
        if type(finder).__name__ == "Finder" and type(finder).__module__ == __name__:
            return finder
    return None


def require_package() -> None:
    """Raises ImportError if `resonance` is not the package beside this file; what it is instead is not executed."""
    from importlib.util import find_spec
    from os.path import dirname, join, realpath

    spec = find_spec("resonance")
    origin = spec.origin if spec is not None else None
    if origin is None or realpath(origin) != join(dirname(realpath(__file__)), "resonance", "__init__.py"):
        there = f"{origin}; give that another name" if origin else "not there"
        raise ImportError(f"`resonance` beside {realpath(__file__)} is needed, and in this process it is {there}")


def is_disabled() -> bool:
    """True if the environment switches the package off: any value of `RESONANCE_DISABLE` but empty, 0 and false."""
    import os

    return os.environ.get(SWITCH, "").strip().lower() not in ("", "0", "false")


def warn_of_a_loss_that_is_missing() -> None:
    """One line if LlamaFactory is about to train a recipe whose loss only this package has."""
    argv = sys.orig_argv
    if "train" in argv:
        require_package()
        from resonance.hooks.disabled import notice

        message = notice(argv)
        if message is not None:
            warn(message)


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def warn(message: str) -> None:
    """Writes one line on stderr, where there is one."""
    if sys.stderr is not None:
        print(f"[resonance] {message}", file=sys.stderr)
