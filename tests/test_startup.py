# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The import hook, in this process, against a stand-in for LlamaFactory and for our registry."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import _resonance_startup as startup

LOADERS = [(importlib.machinery.SourceFileLoader, [".py"])]


class StandInRegistry:
    """Patches `llamafactory.patched` by setting a name in it."""

    def targets(self) -> frozenset[str]:
        return frozenset({"llamafactory.patched"})

    def apply(self, module: ModuleType) -> None:
        module.answer = (module.answer, "patched")  # type: ignore[attr-defined]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process without finder and without LlamaFactory, but with a package of that name on its path."""
    package = tmp_path / "llamafactory"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "patched.py").write_text("answer = 42\n")
    (package / "other.py").write_text("from llamafactory.patched import answer\n")
    hooks = ModuleType("resonance.hooks.llamafactory")
    hooks.registry = StandInRegistry()  # type: ignore[attr-defined]
    for name in [name for name in sys.modules if name.partition(".")[0] == "llamafactory"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "resonance.hooks.llamafactory", hooks)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if type(f).__module__ != startup.__name__])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv(startup.SWITCH, raising=False)
    importlib.invalidate_caches()
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "llamafactory"]:
        sys.modules.pop(name)


def test_patches_right_after_the_body_ran(process: Path) -> None:
    startup.install()
    other = importlib.import_module("llamafactory.other")
    assert other.answer == (42, "patched")


def test_installs_once(process: Path) -> None:
    startup.install()
    startup.install()
    assert [type(finder) for finder in sys.meta_path].count(startup.Finder) == 1
    assert startup.installed_finder() is sys.meta_path[0]


def test_leaves_other_modules_alone(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    startup.install()
    finder = startup.installed_finder()
    monkeypatch.setattr(finder, "targets", lambda: pytest.fail("looked further than the prefix"))
    assert finder.find_spec("json") is None
    assert finder.find_spec("llamafactory") is None
    assert finder.find_spec("llamafactory_extras.thing") is None


def test_keeps_the_type_of_the_loader(process: Path) -> None:
    startup.install()
    module = importlib.import_module("llamafactory.patched")
    assert type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
    assert importlib.reload(module).answer == (42, "patched")


class Fixed(importlib.machinery.SourceFileLoader):
    """A loader of another tool's, whose attributes cannot be set once it is made."""

    def __setattr__(self, name: str, value: Any) -> None:
        if "path" in vars(self):
            raise AttributeError(f"{name} cannot be set")
        super().__setattr__(name, value)


class FixedFinder:
    def __init__(self, package: Path) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        file = self.package / f"{fullname.rpartition('.')[2]}.py"
        if not fullname.startswith("llamafactory.") or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(fullname, file, loader=Fixed(fullname, str(file)))


def test_a_loader_whose_attributes_cannot_be_set(process: Path) -> None:
    sys.meta_path.insert(0, FixedFinder(process))
    startup.install()
    module = importlib.import_module("llamafactory.patched")
    assert importlib.import_module("llamafactory.other").answer == module.answer == (42, "patched")
    assert module.__spec__.loader.get_source("llamafactory.patched") == "answer = 42\n"


class Asking:
    """What another extension of LlamaFactory would install: asks every other finder in turn."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith("llamafactory."):
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in found if spec is not None), None)


@pytest.mark.parametrize("place", [0, 1], ids=["in front", "behind"])
def test_another_finder_of_the_kind_does_not_recurse(process: Path, place: int) -> None:
    startup.install()
    sys.meta_path.insert(place, Asking())
    assert importlib.import_module("llamafactory.other").answer == (42, "patched")


def test_hooks_are_not_imported_before_llamafactory_is() -> None:
    code = "import sys, _resonance_startup as startup; startup.install(); import json, email.mime.text\n"
    code += "sys.exit('resonance.hooks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_late_installation_patches_what_is_loaded(process: Path) -> None:
    module = importlib.import_module("llamafactory.patched")
    assert module.answer == 42
    startup.install()
    assert module.answer == (42, "patched")


def test_late_installation_leaves_a_module_in_the_making(process: Path) -> None:
    (process / "patched.py").write_text("import _resonance_startup as startup\nstartup.install()\nanswer = 42\n")
    importlib.invalidate_caches()
    assert importlib.import_module("llamafactory.patched").answer == 42


def test_missing_module_stays_missing(process: Path) -> None:
    (process / "patched.py").unlink()
    importlib.invalidate_caches()
    startup.install()
    with pytest.raises(ModuleNotFoundError, match="llamafactory.patched"):
        importlib.import_module("llamafactory.patched")


def test_error_in_the_body_is_the_bodys_own(process: Path) -> None:
    (process / "patched.py").write_text("raise ZeroDivisionError('upstream')\n")
    importlib.invalidate_caches()
    startup.install()
    with pytest.raises(ZeroDivisionError, match="upstream"):
        importlib.import_module("llamafactory.patched")


def test_hooks_that_do_not_import_are_one_line(
    process: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "resonance.hooks.llamafactory", None)
    startup.install()
    assert importlib.import_module("llamafactory.other").answer == 42
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[resonance] the hooks could not be imported, LlamaFactory runs without them: ")


@pytest.mark.parametrize("kind", ["module", "package", "gone", "imported"])
def test_a_module_of_the_users_own_named_resonance_is_not_executed(
    process: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "resonance"]:
        monkeypatch.delitem(sys.modules, name)
    file = tmp_path / ("resonance/__init__.py" if kind == "package" else "resonance.py")
    if kind == "gone":
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.setattr(sys, "path_hooks", [importlib.machinery.FileFinder.path_hook(*LOADERS)])
        monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if f is importlib.machinery.PathFinder])
    elif kind == "imported":
        monkeypatch.setitem(sys.modules, "resonance", ModuleType("resonance"))
    else:
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('executed')\n")
    importlib.invalidate_caches()
    startup.install()
    assert importlib.import_module("llamafactory.other").answer == 42
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[resonance] the hooks could not be imported, LlamaFactory runs without them: ")
    if kind in ("module", "package"):
        assert line.endswith(f"in this process it is {file}; give that another name")
    elif kind == "gone":
        assert line.endswith("in this process it is not there")


@pytest.mark.parametrize("value", ["1", "true", " yes ", "off"])
def test_switch(process: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(startup.SWITCH, value)
    startup.install()
    assert startup.installed_finder() is None
    assert importlib.import_module("llamafactory.other").answer == 42
