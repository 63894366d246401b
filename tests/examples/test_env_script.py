# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""scripts/env.sh with a stand-in for pip: when it installs, when it does not, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENV_SH = Path(__file__).resolve().parents[2] / "scripts" / "env.sh"
INPUTS = ("setup.py", "pyproject.toml", "constraints.txt")
# A "python" that makes a folder for `-m venv`, writes down `-m pip`, and is Python for everything else.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") shift 3; echo "$@" >> "{log}"; exit {pip_code} ;;
  *) exec "{real}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    for name in INPUTS:
        (root / name).write_text(name)
    install_python(tmp_path)
    return root


def install_python(folder: Path, pip_code: int = 0) -> None:
    path = folder / "bin" / "python3"
    path.parent.mkdir(exist_ok=True)
    path.write_text(PYTHON.format(log=folder / "pip.log", real=sys.executable, pip_code=pip_code))
    path.chmod(0o755)


def ensure(root: Path, extras: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = f'set -euo pipefail; source "{ENV_SH}"; ensure_venv "{root}" "{extras}"; echo "python=$PYTHON"'
    inherited = {name: value for name, value in os.environ.items() if name != "RESONANCE_PYTHON"}
    inherited["PATH"] = f"{root.parent / 'bin'}:/usr/bin:/bin"
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-c", command], env=inherited | env, capture_output=True, text=True)


def installs(root: Path) -> list[str]:
    log = root.parent / "pip.log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_fresh_checkout_gets_an_environment_once(checkout: Path) -> None:
    first, second = ensure(checkout), ensure(checkout)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    (install,) = installs(checkout)
    assert f"-c {checkout}/constraints.txt -e {checkout}" in install
    assert second.stdout == f"python={checkout}/.venv/bin/python\n"


def test_more_extras_are_added_and_fewer_change_nothing(checkout: Path) -> None:
    for extras in ("", "dev,deepspeed", "dev", ""):
        assert ensure(checkout, extras).returncode == 0
    plain, full = installs(checkout)
    assert plain.endswith(str(checkout)) and full.endswith(f"{checkout}[deepspeed,dev]")


@pytest.mark.parametrize("name", INPUTS)
def test_a_changed_input_installs_again(checkout: Path, name: str) -> None:
    ensure(checkout)
    (checkout / name).write_text("changed")
    assert ensure(checkout).returncode == 0
    assert len(installs(checkout)) == 2


def test_a_failed_install_fails_and_is_tried_again(checkout: Path) -> None:
    install_python(checkout.parent, pip_code=1)
    failed = ensure(checkout)
    assert failed.returncode != 0 and "python=" not in failed.stdout
    assert not (checkout / ".venv" / ".resonance-stamp").exists()
    shutil.rmtree(checkout / ".venv")
    install_python(checkout.parent)
    assert ensure(checkout).returncode == 0
    assert len(installs(checkout)) == 2


def test_no_suitable_python_is_named_with_a_cure(checkout: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python"):
        path = checkout.parent / "bin" / name
        path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1"\nexit 1\n')
        path.chmod(0o755)
    done = ensure(checkout)
    assert done.returncode != 0
    assert "no Python 3.11, 3.12 or 3.13" in done.stderr and "python3 is Python 3.9.1" in done.stderr
    assert "apt install" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_given_interpreter_is_used_as_it_is(checkout: Path) -> None:
    done = ensure(checkout, RESONANCE_PYTHON=sys.executable)
    assert done.stdout == f"python={sys.executable}\n"
    assert not (checkout / ".venv").exists() and installs(checkout) == []


def test_a_given_interpreter_that_is_none_is_named(checkout: Path) -> None:
    done = ensure(checkout, RESONANCE_PYTHON="/nowhere/python")
    assert done.returncode != 0 and "/nowhere/python" in done.stderr
