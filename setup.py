# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Build script. Besides the package it puts three things into the wheel that setuptools has no key for:

- `resonance_startup.pth` and `resonance_startup.start` at the root of the wheel (= site-packages): the lines by which
  every Python process of the environment gets the import hook, in regular and in editable installs;
- `resonance/examples/`: the recipes, which live at the top of the checkout.
"""

import base64
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent

# Guarded, because an error in a .pth line is printed by every Python process of the environment: after a checkout
# moved away, or with a damaged install, Python starts as if this package were not there.
# Named in lower case, because .pth files run in sorted order and `__editable__*.pth` has to come first.
STARTUP_FILES = {
    "resonance_startup.pth": (
        'import os; exec("try:\\n'
        " if os.environ.get('RESONANCE_DISABLE', '').strip().lower() in ('', '0', 'false'):\\n"
        '  import resonance.startup\\n  resonance.startup.install()\\nexcept Exception: pass")\n'
    ),
    # Python 3.15 and later (PEP 829); older ones ignore the file.
    "resonance_startup.start": "resonance.startup:install\n",
}


def version() -> str:
    """The version, read from the source: importing the package to build it would need its dependencies."""
    text = (ROOT / "plugin" / "resonance" / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[0]


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


setup(
    name="llamafactory-resonance",
    version=version(),
    description="Preference losses with scores (Uni-DPO) for vision-language models, inside LlamaFactory.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    author="the Resonance authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    package_dir={"": "plugin"},
    packages=find_packages("plugin"),
    package_data={"resonance.checks.data": ["*.j2"]},
    python_requires=">=3.11",
    install_requires=[
        "llamafactory>=0.9.4,<0.10",
        # LlamaFactory imports torchaudio, torchaudio ends at 2.11, and it does not load beside a newer torch. Ranges,
        # not pins, because people bring the build of torch that fits their driver; torchvision names its torch itself.
        "torch>=2.4,<2.12",
        "torchaudio>=2.4,<2.12",
        "torchvision>=0.19",
    ],
    extras_require={
        "deepspeed": ["deepspeed==0.18.4"],
        "dev": [
            "mypy==2.4.1",
            "pre-commit==4.7.0",
            "pytest==9.2.0",
            "pytest-xdist==3.8.0",
            "ruff==0.17.5",
            "scikit-learn==1.9.1",
            "setuptools==80.9.0",  # tests/install builds wheels with it, offline
        ],
    },
    entry_points={"console_scripts": ["resonance = resonance.cli.main:entry"]},
    cmdclass={"build_py": BuildPy, "editable_wheel": EditableWheel},
    zip_safe=False,
)
