# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`pip install .` and `pip install -e .`: live in every process, off by the switch, gone after `pip uninstall`."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from layered import CHECKOUT, REPORT, LayeredEnv, copy_checkout, make_layered_env

MODES = ("wheel", "editable")
STARTUP_FILES = ("resonance_startup.pth", "resonance_startup.start")
SPAWN = """
import multiprocessing, sys
def report(_):
    return type(sys.meta_path[0]).__module__
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(*pool.map(report, range(2)))
"""
RANK = """
import os, pathlib, sys
name = type(sys.meta_path[0]).__module__
pathlib.Path(sys.argv[-1], os.environ["RANK"]).write_text(name)
"""


@pytest.fixture(scope="module", params=MODES)
def env(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayeredEnv]:
    """An environment with the package installed in one of the two ways."""
    folder = tmp_path_factory.mktemp(request.param)
    env = make_layered_env(folder / "env")
    source = copy_checkout(folder / "checkout")
    env.pip_install(*(["-e"] if request.param == "editable" else []), source)
    yield env


def test_is_inactive_where_it_is_not_installed(tmp_path: Path) -> None:
    env = make_layered_env(tmp_path / "env")
    assert env.python_c(REPORT) == "inactive"
    assert "No module named 'resonance'" in env.run(env.python, "-c", "import resonance", check=False).stderr


@pytest.mark.parametrize("flags", [(), ("-I",), ("-E",), ("-s",), ("-I", "-X", "dev")], ids=" ".join)
def test_is_active_in_every_python(env: LayeredEnv, flags: tuple[str, ...]) -> None:
    assert env.python_c(REPORT, *flags) == "active"


OWN = "answer = 'my own'\n"


def test_a_users_own_module_of_the_name_is_theirs(env: LayeredEnv, tmp_path: Path) -> None:
    (tmp_path / "resonance.py").write_text(OWN)
    (tmp_path / "script.py").write_text("import resonance; print(resonance.answer)")
    assert env.run(env.python, tmp_path / "script.py").stdout.strip() == "my own"
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text("import resonance.losses; print(resonance.__version__)")
    assert env.run(env.python, "-P", elsewhere, cwd=tmp_path).stdout.strip()


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import os; os._exit(3)", "raise KeyboardInterrupt"])
def test_a_users_own_module_of_the_name_stops_no_python(env: LayeredEnv, tmp_path: Path, text: str) -> None:
    (tmp_path / "resonance.py").write_text(text)
    assert env.python_c("print('started')", PYTHONPATH=str(tmp_path)) == "started"
    code = "import llamafactory.launcher; print(llamafactory.launcher.launch.__module__)"
    done = env.run(env.python, "-c", code, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == "llamafactory.launcher"
    assert f"in this process it is {tmp_path / 'resonance.py'}; give that another name" in done.stderr


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("1", "inactive"),
        ("true", "inactive"),
        ("yes", "inactive"),
        ("", "active"),
        ("0", "active"),
        ("False", "active"),
    ],
)
def test_kill_switch(env: LayeredEnv, value: str, state: str) -> None:
    assert env.python_c(REPORT, RESONANCE_DISABLE=value) == state


def test_imports_nothing_heavy_at_start(env: LayeredEnv) -> None:
    bare = set(env.python_c("import sys; print(*sorted(sys.modules))", RESONANCE_DISABLE="1").split())
    live = set(env.python_c("import sys; print(*sorted(sys.modules))").split())
    assert live - bare == {"_resonance_startup"}


def test_is_active_in_child_processes(env: LayeredEnv, tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {REPORT!r}], check=True)"
    assert env.python_c(child) == "active"
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    assert env.run(env.python, script).stdout.split() == ["_resonance_startup"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["torchrun", "--nproc_per_node", "2", "--master_port", "0"],
        ["python", "-m", "deepspeed.launcher.runner", "--num_accelerators", "2", "--master_port", "29713"],
    ],
    ids=["torchrun", "deepspeed"],
)
def test_is_active_in_ranks(env: LayeredEnv, tmp_path: Path, launcher: list[str]) -> None:
    script, answers = tmp_path / "rank.py", tmp_path / "answers"
    script.write_text(RANK)
    answers.mkdir()
    env.run(str(env.root / "bin" / launcher[0]), *launcher[1:], script, answers)
    assert {path.name: path.read_text() for path in answers.iterdir()} == dict.fromkeys("01", "_resonance_startup")


@pytest.mark.slow
def test_is_active_in_ray_workers(env: LayeredEnv) -> None:
    env.run(env.python, "-m", "pip", "install", "--quiet", "ray==2.51.1")  # asked for by nobody else here
    code = (
        "import ray, sys; ray.init(num_cpus=1, include_dashboard=False)\n"
        "print(ray.get(ray.remote(lambda: type(sys.meta_path[0]).__module__).remote()))"
    )
    assert env.run(env.python, "-c", code).stdout.split()[-1] == "_resonance_startup"


def test_every_installed_file_is_recorded(env: LayeredEnv) -> None:
    (record,) = env.site_packages.glob("llamafactory_resonance-*.dist-info/RECORD")
    rows = {name: digest for name, digest, _ in csv.reader(record.read_text().splitlines())}
    for name in STARTUP_FILES:
        digest = hashlib.sha256((env.site_packages / name).read_bytes()).digest()
        assert rows[name] == "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert [name for name in rows if not (env.site_packages / name).exists()] == []


def test_recipes_come_along(env: LayeredEnv) -> None:
    folder = Path(env.python_c("from resonance.cli import recipes; print(recipes.examples_dir())"))
    assert folder.is_relative_to(env.root.parent)
    here, there = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        for root in (CHECKOUT / "examples", folder)
    )
    assert there == here
    assert "RECIPE" in env.run(env.root / "bin" / "resonance", "ls").stdout


def test_what_is_no_code_comes_along(env: LayeredEnv) -> None:
    """Templates, pages and tables of the package."""
    package = Path(env.python_c("import resonance; print(resonance.__file__)").strip()).parent
    ours = CHECKOUT / "plugin" / "resonance"
    files = [path.relative_to(ours) for path in ours.rglob("*.*") if path.suffix not in (".py", ".pyc", ".pyi")]
    assert len(files) >= 8 and [path for path in files if not (package / path).is_file()] == []


@pytest.mark.parametrize("mode", MODES)
def test_uninstall_leaves_nothing(tmp_path: Path, mode: str) -> None:
    env = make_layered_env(tmp_path / "env")
    before = env.files()
    env.pip_install(*(["-e"] if mode == "editable" else []), copy_checkout(tmp_path / "checkout"))
    assert env.files() > before
    env.pip_uninstall()
    assert env.files() == before
    assert env.python_c(REPORT) == "inactive"
