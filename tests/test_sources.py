# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/sources.md: every row has its tests, every test is there, and no argument of a document is missing."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from examples.test_source_settings import OPENVLTHINKER, PIPELINE
from resonance.cli.main import build_parser
from translate.guide import DOCUMENTED, RECOMMENDED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sources.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
# What has to be in the first column below a title, beside what a row says in words.
UNI_DPO = [f"--uni_dpo_{name}" for name in ("qual_eta", "tau_ref", "perf_gamma", "nll_lambda", "tau_good")]
UNI_DPO += ["--pref_loss", "--pref_beta", "--dpo_average_log_prob", "change_data_image_path.py"]
UNI_DPO += ["convert_jsonl_to_llamafactory.py", *(f"Qwen2_VL_2B_{loss}.sh" for loss in ("uni_dpo", "dpo", "simpo"))]
TRL = ["openbmb/RLAIF-V-Dataset", "flaviagiammarino/vqa-rad", "apply_chat_template", "thumbnail", "DPOTrainer"]
TRL += ["LoraConfig", "LlavaNextForConditionalGeneration", "generate", "wandb.init", "train_split", "RLHF-V"]
TRL += ["HuggingFaceM4/idefics2-8b"]
NEEDED = {
    "Uni-DPO": UNI_DPO,
    "The Resonance training guide": [f"--{name}" for name in (*DOCUMENTED, *RECOMMENDED)]
    + ["vlfeedback_paired", "rlhfv", "vlquery_json", "plain_dpo", "DialoGPT-medium", "Qwen-VL-Chat"],
    "The TRL and LLaVA guide": TRL,
    "OpenVLThinker": ["hf_hub_url", "role_tag", "content_tag", "user_tag", "assistant_tag", "file_name", "formatting"]
    + ["messages", "images", "image_max_pixels", "train_mm_proj_only", *re.findall(r"Qwen/[\w.-]+", OPENVLTHINKER)],
    "The Qwen3-VL-4B pipeline": [*yaml.safe_load(PIPELINE), "helehan/topic-overwrite", "scripts/prepare_dataset.py"]
    + [f"{number}." for number in range(1, 10)],
}


def tables() -> dict[str, list[list[str]]]:
    """Rows of each table, by its title."""
    found: dict[str, list[list[str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        assert rows[:2] == [["there", "here", "test"], ["---"] * 3]
        found[section.partition("\n")[0]] = rows[2:]
    return found


@cache
def names_in(file: str) -> set[str]:
    path = ROOT / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("title", NEEDED)
def test_every_row_has_its_tests_and_they_are_there(title: str) -> None:
    wrong = []
    for there, here, proof in tables()[title]:
        named = TEST.findall(proof)
        if not (there and here and named) or TEST.sub("", proof).strip(", "):
            wrong.append(f"{there}: a row needs three cells, and tests as `tests/FILE.py::test_NAME` in the last")
        wrong += [f"{there}: no {file}::{name}" for file, name in named if name not in names_in(file)]
    assert wrong == []


@pytest.mark.parametrize("title", NEEDED)
def test_nothing_of_a_document_is_missing(title: str) -> None:
    first = "\n".join(there for there, _, _ in tables()[title])
    assert [name for name in NEEDED[title] if not re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", first)] == []


@pytest.mark.parametrize("title", NEEDED)
def test_commands_are_taken(title: str) -> None:
    here = "\n".join(here for _, here, _ in tables()[title])
    for command in re.findall(r"`resonance ((?:data import|cp|import-args --file) [^`]+)`", here):
        build_parser().parse_args(shlex.split(command))


def test_no_table_is_left_out() -> None:
    assert list(tables()) == list(NEEDED)
    assert len({tuple(row) for rows in tables().values() for row in rows}) == sum(map(len, tables().values()))
