# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Shared pieces of the tests: a tiny model and data on disk, and runs through the real `llamafactory-cli`."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from forked import Parent

# before anything imports transformers or datasets
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# First, as in training: trl 0.24 beside transformers 5 believes that mergekit is installed, and this sets that right.
import llamafactory.extras.packages  # noqa: F401

GOLDEN = Path(__file__).parent / "golden"
MODEL = GOLDEN / "trajectory" / "model"
DATA = GOLDEN / "trajectory" / "data"
SCRIPTS = Path(sysconfig.get_path("scripts"))
SIDES = ("chosen", "rejected")
# What whoever runs the tests may have set; tests read the INFO lines of runs.
DROPPED = ("RESONANCE_", "WANDB_", "LLAMAFACTORY_VERBOSITY")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first: with several processes, what begins last must not be what takes longest."""
    long = {item.path for item in items if "training" in item.path.parts or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@dataclass
class Run:
    """A finished `llamafactory-cli train`."""

    returncode: int
    output: str
    output_dir: Path

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.output_dir / "trainer_state.json").read_text())

    def logged(self, *names: str) -> list[tuple[float, ...]]:
        """Values of `names` in every log line that has them all."""
        history = self.state["log_history"]
        return [tuple(entry[name] for name in names) for entry in history if all(name in entry for name in names)]


@pytest.fixture(autouse=True, scope="module")
def templates_are_left_as_they_were() -> Iterator[None]:
    """LlamaFactory has one object of each template in a process: what one test writes there is in all later ones."""
    from llamafactory.data.template import TEMPLATES

    def system() -> dict[str, str]:
        return {name: template.default_system for name, template in TEMPLATES.items()}

    before = system()
    yield
    assert system() == before


@pytest.fixture(scope="session")
def cli_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of child processes: offline, this environment's scripts first, caches of their own."""
    cache = tmp_path_factory.mktemp("cache")
    env = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return env | {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        # DeepSpeed builds an extension here; a build that was killed leaves a lock its next user waits for without end
        "TORCH_EXTENSIONS_DIR": str(cache / "torch_extensions"),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def base_recipe(output_dir: Path, **changes: Any) -> dict[str, Any]:
    """A small complete DPO recipe on the tiny Qwen2-VL; keyword arguments override or (None) remove keys."""
    base = {
        "model_name_or_path": str(MODEL),
        "dataset_dir": str(DATA),
        "media_dir": str(DATA),
        "output_dir": str(output_dir),
        "stage": "dpo",
        "do_train": True,
        "finetuning_type": "full",
        "freeze_vision_tower": False,
        "freeze_multi_modal_projector": False,
        "dataset": "pairs",
        "template": "qwen2_vl",
        "cutoff_len": 512,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4,
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "seed": 42,
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`base_recipe` with an output folder of this test."""
    return lambda **changes: base_recipe(**{"output_dir": tmp_path / "out", **changes})


@pytest.fixture(scope="session")
def parent(cli_env: dict[str, str]) -> Iterator[Callable[[dict[str, str]], Parent]]:
    """The process whose forks run with these variables beside those of `cli_env`; started at the first call."""
    started: dict[frozenset[tuple[str, str]], Parent] = {}

    def get(env: dict[str, str]) -> Parent:
        key = frozenset(env.items())
        if key not in started:
            started[key] = Parent(cli_env | env)
        return started[key]

    yield get
    for process in started.values():
        process.close()


@pytest.fixture(scope="session")
def run_script(cli_env: dict[str, str], parent: Callable[[dict[str, str]], Parent]) -> Callable[..., tuple[int, str]]:
    """Run a console script of this environment in `cwd`; return its exit code and output.

    In a fork that has its imports, unless `fork=False`; as is each rank under FORCE_TORCHRUN, without torchrun.
    """

    def run(
        *argv: str | Path, cwd: Path, timeout: int = 300, fork: bool = True, env: dict[str, str] | None = None
    ) -> tuple[int, str]:
        env, log = env or {}, cwd / "output.log"
        command = [str(SCRIPTS / argv[0]), *map(str, argv[1:])]
        if fork and "FORCE_TORCHRUN" in env:
            script = sysconfig.get_path("purelib") + "/llamafactory/launcher.py"  # what LlamaFactory has torchrun run
            process = parent(env).start([script, *command[2:]], cwd, log, int(env["NPROC_PER_NODE"]))
        elif fork:
            process = parent(env).start(command, cwd, log)
        else:
            with log.open("w") as stream:
                process = subprocess.Popen(
                    command, env=cli_env | env, cwd=cwd, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL
                )
        try:
            return process.wait(timeout), log.read_text()
        except BaseException:
            process.kill()
            process.wait()
            raise

    return run


def run_recipe(run_script: Callable[..., tuple[int, str]], recipe: dict[str, Any], cwd: Path, **how: Any) -> Run:
    (cwd / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    code, output = run_script("llamafactory-cli", "train", cwd / "recipe.yaml", cwd=cwd, **how)
    return Run(code, output, Path(recipe["output_dir"]))


@pytest.fixture(scope="session")
def train_many(
    tmp_path_factory: pytest.TempPathFactory, run_script: Callable[..., tuple[int, str]]
) -> Callable[[dict[str, dict[str, Any]]], dict[str, Run]]:
    """Run named recipes (changes to `base_recipe`); never fails, look at `returncode`."""

    def run(named: dict[str, dict[str, Any]]) -> dict[str, Run]:
        folder = tmp_path_factory.mktemp("many")
        done = {}
        for name, changes in named.items():
            (folder / name).mkdir()
            recipe = base_recipe(**{"output_dir": folder / name / "out", **changes})
            done[name] = run_recipe(run_script, recipe, folder / name)
        return done

    return run


@pytest.fixture
def train(tmp_path: Path, run_script: Callable[..., tuple[int, str]]) -> Callable[..., Run]:
    """Run a recipe through `llamafactory-cli train`; fails the test on a non-zero exit unless `check=False`."""

    def run(recipe: dict[str, Any], *, check: bool = True, timeout: int = 300, fork: bool = True, **env: str) -> Run:
        done = run_recipe(run_script, recipe, tmp_path, timeout=timeout, fork=fork, env=env)
        if check and done.returncode:
            pytest.fail(f"llamafactory-cli train exited {done.returncode}:\n{done.output[-6000:]}")
        return done

    return run


@pytest.fixture
def with_sft_set(tmp_path: Path) -> Path:
    """A data folder with the golden pairs, an `sft` set of their chosen answers and a `kto` set of both
    without pictures, on which LlamaFactory 0.9.5 calls Qwen2-VL without positions and fails."""
    folder = tmp_path / "data"
    folder.mkdir()
    info = json.loads((DATA / "dataset_info.json").read_text())
    info["pairs"]["file_name"] = str(DATA / "pairs.json")
    columns = {"prompt": "instruction", "response": "chosen", "images": "images"}
    info["sft"] = {"file_name": str(DATA / "pairs.json"), "columns": columns}
    pairs = json.loads((DATA / "pairs.json").read_text())
    judged = [
        {"instruction": "What is it?", "response": pair[side], "good": side == "chosen"}
        for pair in pairs
        for side in SIDES
    ]
    (folder / "kto.json").write_text(json.dumps(judged))
    tagged = {"prompt": "instruction", "response": "response", "kto_tag": "good"}
    info["kto"] = {"file_name": "kto.json", "columns": tagged}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder
