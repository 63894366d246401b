# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which `torchrun` is this environment's, and which recipes are started by it."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from resonance.hooks import torchrun
from resonance.hooks.torchrun import own_torchrun, prepare_launch, script_folders

OURS = ["llamafactory-cli", "train", "--stage", "dpo", "--pref_loss", "uni_dpo"]
STOCK = ["llamafactory-cli", "train", "--stage", "dpo", "--pref_loss", "sigmoid"]


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> str:
    """Another environment's scripts, first on PATH."""
    monkeypatch.setenv("PATH", "/other/bin")
    return "/other/bin"


def write_script(folder: Path, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "torchrun"
    script.write_text("#!/bin/sh\n")
    script.chmod(mode)
    return script


def test_the_environments_own_is_found_and_put_first(path: str) -> None:
    own = Path(sysconfig.get_path("scripts"), "torchrun")
    assert own_torchrun() == own
    prepare_launch(OURS)
    assert os.environ["PATH"] == f"{own.parent}{os.pathsep}{path}"


@pytest.mark.parametrize("argv", [STOCK, ["llamafactory-cli", "train"]])
def test_path_stays_for_everything_else(path: str, argv: list[str]) -> None:
    prepare_launch(argv)
    assert os.environ["PATH"] == path


def test_scripts_of_a_user_install_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`pip install --user` puts them beside no interpreter at all."""
    folders = {None: str(tmp_path / "system"), sysconfig.get_preferred_scheme("user"): str(tmp_path / "user")}
    monkeypatch.setattr(torchrun.sysconfig, "get_path", lambda name, scheme=None: folders[scheme])
    monkeypatch.setattr(torchrun.sys, "executable", str(tmp_path / "bin" / "python"))
    assert own_torchrun() is None
    write_script(tmp_path / "system", mode=0o644)
    script = write_script(tmp_path / "user")
    assert own_torchrun() == script
    assert script_folders() == [str(tmp_path / name) for name in ("system", "bin", "user")]


def test_without_one_a_recipe_of_ours_stops_where_torchrun_would_be_started(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(torchrun, "own_torchrun", lambda: None)
    monkeypatch.setattr(torchrun, "starts_torchrun", lambda: False)
    prepare_launch(OURS)
    monkeypatch.setattr(torchrun, "starts_torchrun", lambda: True)
    prepare_launch(STOCK)
    assert os.environ["PATH"] == path
    with pytest.raises(RuntimeError) as caught:
        prepare_launch(OURS)
    assert sysconfig.get_path("scripts") in str(caught.value) and "pip install torch" in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "starts"),
    [({}, False), ({"FORCE_TORCHRUN": "1"}, True), ({"USE_MCA": "true"}, True), ({"FORCE_TORCHRUN": "0"}, False)],
)
def test_when_torchrun_is_started(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], starts: bool) -> None:
    monkeypatch.setattr("llamafactory.extras.misc.get_device_count", lambda: 1)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert torchrun.starts_torchrun() is starts
