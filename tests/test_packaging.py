# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Metadata says what the code says, and a source distribution is the project: it installs, and its tests run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from layered import CHECKOUT, LayeredEnv, make_layered_env
from resonance import SUPPORTED_LLAMAFACTORY, __version__

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What of a checkout is nobody's business who has a source distribution.
NOT_SHIPPED = {".gitignore"}


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert entries[0][0] == __version__
    assert [date for _, date in entries] == sorted((date for _, date in entries), reverse=True)


def test_the_version_is_written_once() -> None:
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT


def test_requirements_are_the_supported_ones() -> None:
    assert f"llamafactory{SUPPORTED_LLAMAFACTORY}" in PROJECT["dependencies"]
    pins = set((CHECKOUT / "constraints.txt").read_text(encoding="utf-8").split())
    extras = PROJECT["optional-dependencies"]
    assert {requirement for extra in extras.values() for requirement in extra} <= pins


def test_hosted_ci_runs_what_everybody_runs() -> None:
    jobs = yaml.safe_load((CHECKOUT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert "bash .ci/run" in [step.get("run") for step in jobs["test"]["steps"]]


def test_issue_forms_can_be_filled_in() -> None:
    for path in (CHECKOUT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"] and form["description"] and all(part["attributes"]["label"] for part in form["body"])


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so what belongs to the project cannot be told")
    return [name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of the tracked files, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in tracked():
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / "checkout" / name)
    build = f"import setuptools.build_meta as b; print(b.build_sdist({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "checkout", capture_output=True, text=True, check=True
    )
    name = done.stdout.split()[-1]
    assert name == f"llamafactory_resonance-{__version__}.tar.gz"
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory, unpacked: Path) -> LayeredEnv:
    """An environment with the unpacked source distribution installed."""
    env = make_layered_env(tmp_path_factory.mktemp("env") / "env")
    env.pip_install(unpacked)
    return env


@pytest.mark.slow
def test_a_source_distribution_holds_every_file(unpacked: Path) -> None:
    assert [name for name in tracked() if not (unpacked / name).is_file() and name not in NOT_SHIPPED] == []


@pytest.mark.slow
def test_tests_run_from_an_unpacked_source_distribution(env: LayeredEnv, unpacked: Path) -> None:
    shutil.rmtree(unpacked / "plugin")  # what is tested is what was installed
    tests = ["tests/losses/test_gold.py", "tests/forward/test_masks.py", "tests/examples/test_recipes.py"]
    command = [env.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    done = env.run(*command, cwd=unpacked)
    assert re.search(r"^(=+ )?\d+ passed", done.stdout, re.MULTILINE), done.stdout[-2000:]


@pytest.mark.slow
def test_the_wheel_is_typed(env: LayeredEnv) -> None:
    package = env.site_packages / "resonance"
    assert (package / "py.typed").is_file() and (package / "__init__.py").is_file()
    assert not list(env.site_packages.glob("tests")) and not (package / "tests").exists()
    metadata = next(env.site_packages.glob("llamafactory_resonance-*.dist-info/METADATA")).read_text(encoding="utf-8")
    assert f"\nVersion: {__version__}\n" in metadata and "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nKeywords: dpo," in metadata and "\nClassifier: Typing :: Typed\n" in metadata
