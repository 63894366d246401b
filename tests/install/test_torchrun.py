# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Several processes, with another environment's `torchrun` first on PATH: whose ranks are started?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conftest import DATA
from layered import LayeredEnv, copy_checkout, make_layered_env

OWN, FOREIGN = "OWN RANKS", "FOREIGN RANKS"


def write_torchrun(folder: Path, text: str, first_line: str = "#!/bin/sh") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "torchrun"
    script.write_text(f"{first_line}\necho {text}\n")
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayeredEnv]:
    """An environment whose own torchrun only reports that it was started."""
    folder = tmp_path_factory.mktemp("an environment")  # with a space, as some have
    env = make_layered_env(folder / "env", scripts=("llamafactory-cli",))
    env.pip_install("-e", copy_checkout(folder / "checkout"))
    write_torchrun(env.root / "bin", OWN)
    yield env


def started(env: LayeredEnv, folder: Path, path: Path, loss: str) -> str:
    """Output of `FORCE_TORCHRUN=1 llamafactory-cli train` with `path` first on PATH, called by its full name."""
    recipe = folder / "recipe.yaml"
    data = {"dataset": "pairs", "dataset_dir": str(DATA), "output_dir": str(folder / "out")}
    recipe.write_text(yaml.safe_dump({"stage": "dpo", "pref_loss": loss, "do_train": True, **data}))
    command = (env.python, str(env.root / "bin" / "llamafactory-cli"), "train", recipe)
    done = env.run(
        *command,
        cwd=folder,
        check=False,
        PATH=f"{path}{os.pathsep}/usr/bin:/bin",
        FORCE_TORCHRUN="1",
        NPROC_PER_NODE="2",
    )
    return done.stdout + done.stderr


@pytest.mark.slow
# conda puts another environment's folder on PATH, pyenv and asdf a script that selects a Python, of theirs
@pytest.mark.parametrize("layout", ["conda/envs/other/bin", ".pyenv/shims"])
def test_ranks_of_our_recipes_are_of_this_environment(env: LayeredEnv, tmp_path: Path, layout: str) -> None:
    foreign = write_torchrun(tmp_path / layout, FOREIGN, "#!/usr/bin/env sh").parent
    assert OWN in started(env, tmp_path, foreign, "uni_dpo")
    assert FOREIGN in started(env, tmp_path, foreign, "sigmoid"), "a stock recipe is LlamaFactory's alone"


def test_an_environment_without_torchrun_is_named(env: LayeredEnv, tmp_path: Path) -> None:
    foreign = write_torchrun(tmp_path / "other" / "bin", FOREIGN).parent
    own = env.root / "bin" / "torchrun"
    own.rename(own.with_name("hidden"))
    try:
        output = started(env, tmp_path, foreign, "uni_dpo")
    finally:
        own.with_name("hidden").rename(own)
    assert FOREIGN not in output and OWN not in output
    assert f"has no `torchrun` in {own.parent}" in output and "-m pip install torch" in output
