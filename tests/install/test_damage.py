# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Damaged installs: Python starts in silence, LlamaFactory loads as if this package were not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from layered import REPORT, LayeredEnv, copy_checkout, make_layered_env

STOCK = "import llamafactory.launcher; print(llamafactory.launcher.launch.__module__)"


@pytest.fixture
def editable(tmp_path: Path) -> tuple[LayeredEnv, Path]:
    env = make_layered_env(tmp_path / "env")
    source = copy_checkout(tmp_path / "checkout")
    env.pip_install("-e", source)
    assert env.python_c(REPORT) == "active"
    return env, source


def test_moved_checkout_is_silent(editable: tuple[LayeredEnv, Path]) -> None:
    env, source = editable
    source.rename(source.with_name("elsewhere"))
    assert env.python_c(REPORT) == "inactive"
    assert env.python_c("import torch; print('torch imports')") == "torch imports"


@pytest.mark.parametrize("text", ["def install(:", "raise OSError('disk')"], ids=["syntax", "raises"])
def test_broken_startup_module_is_silent(editable: tuple[LayeredEnv, Path], text: str) -> None:
    env, source = editable
    (source / "plugin" / "_resonance_startup.py").write_text(text)
    assert env.python_c("print('started')") == "started"


def test_broken_hooks_say_so_in_one_line(editable: tuple[LayeredEnv, Path]) -> None:
    env, source = editable
    (source / "plugin" / "resonance" / "hooks" / "llamafactory.py").write_text("import no_such_module")
    assert env.python_c("print('started')") == "started"
    done = env.run(env.python, "-c", STOCK)
    assert done.stdout.strip() == "llamafactory.launcher"
    lines = [line for line in done.stderr.splitlines() if "resonance" in line]
    assert len(lines) == 1 and "No module named 'no_such_module'" in lines[0]


def test_damaged_wheel_install_is_silent(tmp_path: Path) -> None:
    env = make_layered_env(tmp_path / "env")
    env.pip_install(copy_checkout(tmp_path / "checkout"))
    assert env.python_c(REPORT) == "active"
    (env.site_packages / "_resonance_startup.py").unlink()
    assert env.python_c(REPORT) == "inactive"
    assert env.python_c("import torch; print('torch imports')") == "torch imports"
