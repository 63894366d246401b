# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The documents: the site builds, links lead somewhere, and every block is run, or says why not.

A comment before a block, or at the top of a page for all of its blocks without one, says what becomes of it:

    <!-- run -->                 run here, in an empty folder; Python only
    <!-- test: tests/PATH -->    run by that test
    <!-- not run: WHY -->

All of them are checked besides: commands are taken by the parser, keys of recipes exist, JSON and Python can be read.
Blocks of `text` are output.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from resonance.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "README.md", ROOT / "examples" / "README.md"]
)
BLOCK = re.compile(
    r"(?:<!-- (?P<marker>[^\n]*) -->\n\n?)?^(?P<indent> *)```(?P<kind>[\w-]*)\n(?P<text>.*?)^ *```", re.M | re.S
)
OF_PAGE = re.compile(r"\A<!-- (?P<marker>(?:not run|test)[^\n]*) -->\n")
MARKER = re.compile(r"run|test: (?P<path>tests/\S+)|not run: .{8,}|example: \w+")
LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)]*))?\)")
PROGRAMS = {
    "bash", "cat", "cd", "curl", "echo", "export", "git", "hf", "kill", "llamafactory-cli", "lmms-eval", "mkdir",
    "mkdocs", "pip", "python", "python3", "ray", "source", "torchrun", "vllm", "wandb",
}  # fmt: skip


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str
    marker: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    of_page = match["marker"] if (match := OF_PAGE.match(text)) else ""
    found = []
    for match in BLOCK.finditer(text):
        code = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
        line = text.count("\n", 0, match.start("kind")) + 1
        found.append(Block(page, line, match["kind"], code, match["marker"] or of_page))
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
each = pytest.mark.parametrize("block", BLOCKS, ids=str)


@each
def test_a_block_is_run_or_says_why_not(block: Block, tmp_path: Path) -> None:
    if block.kind != "text":
        match = MARKER.fullmatch(block.marker)
        assert match, f"{block}: needs a comment before it; found {block.marker!r}\n{__doc__}"
        if match["path"]:
            assert (ROOT / match["path"].partition("::")[0]).is_file(), f"{block}: {match['path']} is not there"
    check = globals().get(f"check_{block.kind or 'none'}")
    assert check, f"{block}: give the block a language that is checked: bash, json, python, text or yaml"
    check(block, tmp_path)


def check_text(block: Block, folder: Path) -> None:
    assert block.text.strip()


def check_python(block: Block, folder: Path) -> None:
    ast.parse(block.text)
    if block.marker == "run":
        (folder / "block.py").write_text(block.text)
        done = subprocess.run([sys.executable, "block.py"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        expected = re.findall(r"print\(.*\)  # (.*)$", block.text, re.M)
        assert done.stdout.splitlines() == expected


def check_json(block: Block, folder: Path) -> None:
    text = block.text.strip()
    json.loads(text if text[0] in "{[" else "{" + text + "}")


def check_jsonl(block: Block, folder: Path) -> None:
    assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())


def check_yaml(block: Block, folder: Path) -> None:
    loaded = yaml.safe_load(block.text)
    if isinstance(loaded, dict):
        unknown = set(loaded) - keys()
        assert not unknown, f"{block}: {', '.join(unknown)}: no such key"


def check_bash(block: Block, folder: Path) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if not words:
            continue
        if words[0] == "resonance":
            if "--help" not in words and "-h" not in words:
                build_parser().parse_args(words[1:])
        elif words[0] in ("bash", "python") and len(words) > 1 and words[1].startswith(("scripts/", ".ci/")):
            assert (ROOT / words[1]).is_file(), f"{block}: {words[1]} is not there"
        else:
            assert words[0] in PROGRAMS or words[0].startswith(".venv/bin/"), f"{block}: {words[0]} is not known"
        for word in words:
            if word.startswith("examples/") and word.endswith((".yaml", ".json")):
                assert (ROOT / word).is_file(), f"{block}: {word} is not there"


@cache
def keys() -> frozenset[str]:
    """All keys of recipes, LlamaFactory's and ours."""
    from dataclasses import fields

    from llamafactory.hparams.parser import _INFER_ARGS, _TRAIN_ARGS

    return frozenset(field.name for group in (*_TRAIN_ARGS, *_INFER_ARGS) for field in fields(group))


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as they are made of their text."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    plain = (re.sub(r"\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT / "docs" / "zh").as_posix() for path in ROOT.glob("docs/zh/**/*.md"))
)
def test_a_translation_has_the_headings_and_blocks_of_its_original(page: str) -> None:
    original, translated = ROOT / "docs" / page, ROOT / "docs" / "zh" / page
    levels = [re.findall(r"^(#+) ", path.read_text(encoding="utf-8"), re.M) for path in (original, translated)]
    assert levels[0] == levels[1]
    assert [block.text for block in blocks(original) if block.kind != "text"] == [
        block.text for block in blocks(translated) if block.kind != "text"
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for match in LINK.finditer(text):
        target = (page.parent / match["path"]).resolve() if match["path"] else page
        assert target.exists(), f"{match['path']} is not there"
        if match["anchor"] and target.suffix == ".md":
            assert match["anchor"] in anchors(target), f"{match['path']}#{match['anchor']} is not there"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # an announcement of the theme's makers
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    assert "<title>Coming from Uni-DPO" in (tmp_path / "from" / "uni_dpo.html").read_text(encoding="utf-8")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    outside = re.findall(r"(?:src|href)=\"(https?://(?!squidfunk|github)[^\"]*)", page)
    assert not outside, outside


def test_the_formulas_are_those_of_the_code() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "losses_page.py"))
    assert page["PAGE"].read_text(encoding="utf-8") == page["page"](), "python scripts/losses_page.py"


@pytest.mark.parametrize("page", ["docs/troubleshooting.md", "docs/zh/troubleshooting.md"])
def test_messages_are_those_of_the_code(page: str) -> None:
    """What a heading quotes stands in LlamaFactory, its libraries or this package."""
    quoted = re.findall(r"^### `([^`]*)`", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert len(quoted) >= 10
    missing = [words for words in quoted if plain(words) not in sources()]
    assert not missing


def plain(text: str) -> str:
    return re.sub(r"[`\"'\s\\{}%]|\bf(?=\")", "", text).lower()


@cache
def sources() -> str:
    import llamafactory
    import transformers
    import trl

    folders = (ROOT / "plugin", Path(llamafactory.__file__).parent, Path(trl.__file__).parent / "trainer")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    files += Path(transformers.__file__).parent.glob("models/qwen2_vl/*.py")
    # a message in the code may be in pieces
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    return plain(re.sub(r"\"\s*f?\"", "", text))
