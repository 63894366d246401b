# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the wheel needs beside the metadata in pyproject.toml, and setuptools has no key for.

- `resonance_startup.pth` and `resonance_startup.start` at the root of the wheel (= site-packages): the lines by which
  every Python process of the environment gets the import hook, in regular and in editable installs;
- `resonance/examples/`: the recipes, which live at the top of the checkout.
"""

import base64
import hashlib
import shutil
import zipfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent

# Guarded, because an error in a .pth line is printed by every Python process of the environment: after a checkout
# moved away, or with a damaged install, Python starts as if this package were not there.
# Switched off it loads nothing, but for a command that trains: whose recipe may ask for what is then not there.
# Named in lower case, because .pth files run in sorted order and `__editable__*.pth` has to come first.
# The module has a name of its own, because PYTHONPATH may hold anything under the name `resonance`.
STARTUP_FILES = {
    "resonance_startup.pth": (
        'import os, sys; exec("try:\\n'
        " if os.environ.get('RESONANCE_DISABLE', '').strip().lower() in ('', '0', 'false') "
        "or 'train' in sys.orig_argv:\\n"
        '  import _resonance_startup\\n  _resonance_startup.install()\\nexcept Exception: pass")\n'
    ),
    # Python 3.15 and later (PEP 829); older ones ignore the file.
    "resonance_startup.start": "_resonance_startup:install\n",
}


class BuildPy(build_py):
    """Regular wheel: whatever lies in build_lib lands in site-packages."""

    def extra_files(self) -> dict[Path, bytes]:
        if self.editable_mode:  # nothing is copied there: the checkout itself is on sys.path
            return {}
        files = {Path(self.build_lib, name): text.encode() for name, text in STARTUP_FILES.items()}
        for recipe in sorted((ROOT / "examples").rglob("*")):
            if recipe.is_file() and "__pycache__" not in recipe.parts:
                files[Path(self.build_lib, "resonance", recipe.relative_to(ROOT))] = recipe.read_bytes()
        return files

    def run(self) -> None:
        if not self.editable_mode:  # a file deleted from the checkout must not survive in a build directory used again
            shutil.rmtree(Path(self.build_lib, "resonance"), ignore_errors=True)
        super().run()
        for path, content in self.extra_files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *map(str, self.extra_files())]


class EditableWheel(editable_wheel):
    """Editable wheel (PEP 660): setuptools copies nothing into it, so the finished archive is rewritten."""

    def run(self) -> None:
        super().run()
        for wheel in Path(self.dist_dir).glob("llamafactory_resonance-*editable*.whl"):
            add_to_wheel(wheel, {name: text.encode() for name, text in STARTUP_FILES.items()})


def add_to_wheel(path: Path, files: dict[str, bytes]) -> None:
    """Adds files at the root of a wheel, and writes RECORD anew so that all of them are uninstalled."""
    with zipfile.ZipFile(path) as wheel:
        content = {item.filename: wheel.read(item) for item in wheel.infolist()} | files
    record = next(name for name in content if name.endswith(".dist-info/RECORD"))
    content[record] = "".join(record_row(name, data) for name, data in content.items() if name != record).encode()
    content[record] += f"{record},,\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in content.items():
            wheel.writestr(name, data)


def record_row(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


setup(cmdclass={"build_py": BuildPy, "editable_wheel": EditableWheel})
