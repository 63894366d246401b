# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/from: recipes, scripts, importers and arguments that the pages name are there, and their commands are taken."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from resonance.cli.main import build_parser, main
from resonance.cli.recipes import find_file
from resonance.importers.table import IMPORTERS
from resonance.translate.arguments import ARGUMENTS

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = sorted((ROOT / "docs" / "from").glob("*.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def commands(page: Path) -> list[list[str]]:
    """Those of `resonance` in the page's blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("resonance ")]


def test_one_page_a_source() -> None:
    assert [page.stem for page in PAGES] == [
        "openvlthinker",
        "qwen3_vl_pipeline",
        "resonance_guide",
        "trl_llava",
        "uni_dpo",
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"docs/from/{page.name}" in readme for page in PAGES)


@each_page
def test_its_commands_are_taken(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in commands(page):
        build_parser().parse_args(command)
        if command[0] == "cp":
            find_file(command[1], EXAMPLES)
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        if command[0] in ("cp", "import-args") and "--file" not in command:
            assert main(command) == 0


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "sources.md"], ids=lambda page: page.stem)
def test_what_it_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folders = "|".join(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    for folder, name in re.findall(rf"`(?:examples/)?({folders})/(\w+)", text):
        assert list((EXAMPLES / folder).glob(f"{name}.*")), f"{folder}/{name}"
    for name in re.findall(r"scripts/\w+\.(?:py|sh)", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"data import (\w+)", text):
        assert name in IMPORTERS
    if page.stem == "resonance_guide":
        launched = {"config_file", "num_processes", "file", "out"}
        assert set(re.findall(r"--([a-z]\w+)\b(?!-)", text)) <= set(ARGUMENTS) | launched
