# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whose `torchrun` is it? And does a run of ours stop at a foreign one?"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from resonance.hooks import torchrun
from resonance.hooks.torchrun import check_launch, foreign_torchrun, recipe_keys, script_interpreter

SCRIPTS = sysconfig.get_path("scripts")


def write_script(folder: Path, first_lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "torchrun"
    script.write_text(f"{first_lines}\nprint('ranks')\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another environment's torchrun, first on PATH."""
    script = write_script(tmp_path / "other" / "bin", "#!/opt/other/bin/python3")
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return script


def test_own_torchrun_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", SCRIPTS)
    assert foreign_torchrun() is None


def test_foreign_one_is_named_with_its_interpreter_and_our_scripts(foreign: Path) -> None:
    problem = foreign_torchrun()
    assert problem is not None
    assert str(foreign) in problem and "/opt/other/bin/python3" in problem and SCRIPTS in problem


def test_none_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = foreign_torchrun()
    assert problem is not None and problem.startswith("there is no torchrun on PATH")
    assert str(Path(SCRIPTS, "torchrun")) in problem


def test_link_to_our_own_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torchrun").symlink_to(Path(SCRIPTS, "torchrun"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert foreign_torchrun() is None


def test_script_elsewhere_with_our_interpreter_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`pip install --user` puts scripts beside no interpreter at all."""
    write_script(tmp_path, f"#!{sys.executable}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert foreign_torchrun() is None


def test_environment_on_the_same_base_python_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = write_script(tmp_path / "bin", f"#!{tmp_path / 'bin' / 'python'}")
    (tmp_path / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", str(script.parent))
    assert str(script) in (foreign_torchrun() or "")


def test_shell_script_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_script(tmp_path, "#!/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "unknown interpreter" in (foreign_torchrun() or "")


def test_shim_of_the_manager_that_owns_this_python_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_script(tmp_path / "shims", "#!/usr/bin/env bash")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    assert foreign_torchrun() is not None
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "versions" / "3.11"))
    assert foreign_torchrun() is None


@pytest.mark.parametrize(
    ("lines", "interpreter"),
    [
        ("#!/env/bin/python3.11", "/env/bin/python3.11"),
        ("#!/env/bin/python -I", "/env/bin/python"),
        ("#!/bin/sh\n'''exec' \"/a long/env/bin/python\" \"$0\" \"$@\"\n' '''", "/a long/env/bin/python"),
        ("#!/usr/bin/env no-python-of-that-name", "no-python-of-that-name"),
        ("#!/usr/bin/env bash", None),
        ("no script", None),
    ],
)
def test_script_interpreter(tmp_path: Path, lines: str, interpreter: str | None) -> None:
    assert script_interpreter(write_script(tmp_path, lines)) == interpreter


def test_recipe_keys_of_files_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("stage: dpo\npref_loss: sigmoid\n")
    assert recipe_keys([str(path), "pref_loss=uni_dpo"]) == {"stage": "dpo", "pref_loss": "uni_dpo"}
    flags = ["--stage", "dpo", "--pref-loss=uni_dpo", "--do_train"]
    assert recipe_keys(flags) == {"stage": "dpo", "pref_loss": "uni_dpo", "do_train": ""}
    assert recipe_keys([str(tmp_path / "missing.yaml")]) == {}
    path.write_text("stage: [")
    assert recipe_keys([str(path)]) == {}


def test_launch_is_stopped_only_for_recipes_of_ours(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["llamafactory-cli", "train", "--pref_loss", "uni_dpo"]
    monkeypatch.setattr(torchrun, "starts_torchrun", lambda: True)
    with pytest.raises(RuntimeError, match=str(foreign)):
        check_launch(argv, lambda keys: keys["pref_loss"] == "uni_dpo")
    check_launch(argv, lambda keys: False)
    check_launch(["llamafactory-cli", "version"], lambda keys: True)
    monkeypatch.setattr(torchrun, "starts_torchrun", lambda: False)
    check_launch(argv, lambda keys: True)


@pytest.mark.parametrize(("loss", "stopped"), [("uni_dpo", True), ("sigmoid", False)])
def test_force_torchrun_with_a_foreign_torchrun(
    foreign: Path, tmp_path: Path, cli_env: dict[str, str], loss: str, stopped: bool
) -> None:
    """Ours stops and names it; a stock recipe is started as LlamaFactory would."""
    foreign.write_text("#!/bin/sh\necho FOREIGN RANKS\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"stage": "dpo", "pref_loss": loss, "do_train": True}))
    env = cli_env | {"FORCE_TORCHRUN": "1", "PATH": f"{foreign.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(Path(SCRIPTS, "llamafactory-cli")), "train", str(recipe)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ("FOREIGN RANKS" in done.stdout) is not stopped
    assert (done.returncode != 0) is stopped
    assert (str(foreign) in done.stderr) is stopped, done.stderr[-2000:]
