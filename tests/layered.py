# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Virtual environments layered on the one that runs the tests: made in a second, with everything but this package.

The base's packages are reached through a folder of links that leaves this package out. A plain path to the base's
site-packages would do for imports, but would bring the metadata of the package under test along, and with it its entry
points.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = ("plugin", "examples", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md")
OF_THIS_PACKAGE = ("resonance", "llamafactory_resonance", "__editable__")
# Prints what a process of the environment knows of the hook.
REPORT = (
    "import sys; finder = type(sys.meta_path[0]); "
    "print('active' if (finder.__module__, finder.__name__) == ('_resonance_startup', 'Finder') else 'inactive')"
)


@dataclass(frozen=True)
class LayeredEnv:
    """One environment; commands run with its scripts first on PATH, and without this package's variables."""

    root: Path

    @property
    def python(self) -> str:
        return str(self.root / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        return self.root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    def run(self, *args: str | Path, check: bool = True, cwd: Path | None = None, **env: str) -> CompletedText:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RESONANCE_", "PYTHON", "COV_"))}
        clean |= {"PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(self.root)}
        done = subprocess.run(
            [str(arg) for arg in args],
            env=clean | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **env},
            cwd=cwd or self.root,
            capture_output=True,
            text=True,
            timeout=900,
        )
        if check and done.returncode:
            raise AssertionError(f"{args} exited {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done

    def python_c(self, code: str, *flags: str, **env: str) -> str:
        """Output, standard and error together, of a `python -c`."""
        done = self.run(self.python, *flags, "-c", code, **env)
        return (done.stdout + done.stderr).strip()

    def pip_install(self, *args: str | Path) -> None:
        """Installs from local sources without dependencies; offline where the base's setuptools can build wheels."""
        builds_wheels = tuple(map(int, version("setuptools").split(".")[:2])) >= (77, 0)
        isolation = ["--no-build-isolation"] if builds_wheels else []
        self.run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", *isolation, *args)

    def pip_uninstall(self) -> None:
        self.run(self.python, "-m", "pip", "uninstall", "--quiet", "--yes", "llamafactory-resonance")

    def files(self) -> set[str]:
        """Every file of the environment but compiled ones, below `lib` and `bin`."""
        folders = (self.site_packages, self.root / "bin")
        found = (path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts)
        return {str(path.relative_to(self.root)) for path in found}


CompletedText = subprocess.CompletedProcess[str]


def make_layered_env(root: Path, scripts: Iterable[str] = ("torchrun", "llamafactory-cli")) -> LayeredEnv:
    """Makes an environment that imports whatever the running one does, except this package.

    Args:
        root: folder to make.
        scripts: console scripts of the base to have here too, run by the new environment's Python.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(root)
    env = LayeredEnv(root)
    view = root / "base"
    view.mkdir()
    for folder in dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")):
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(OF_THIS_PACKAGE) and entry.suffix != ".pth":
                (view / entry.name).symlink_to(entry)
    (env.site_packages / "zz_base.pth").write_text(f"{view}\n")
    for name in scripts:
        text = Path(sysconfig.get_path("scripts"), name).read_text()
        script = root / "bin" / name
        script.write_text(f"#!{env.python}\n{text.partition(chr(10))[2]}")
        script.chmod(0o755)
    return env


def copy_checkout(dest: Path) -> Path:
    """Copies what a build needs, so that tests that build at the same time do not meet in one build folder."""
    dest.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, dest / name, ignore=ignore)
        elif source.exists():
            shutil.copy(source, dest / name)
    return dest
