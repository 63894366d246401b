# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/from, docs/own_data.md: what a page has its reader type, from an empty folder to a model that answers.

The commands are typed as they stand on the page. Declared beforehand, and nothing else is another than the reader's:

- data: a folder that is named as the set on the hub holds two of its rows; folders go before the hub.
- model: a folder that is named as the model on the hub holds a tiny one with random weights.
- recipe: `small` takes out of it what needs a GPU, several processes or an account, and all steps but the first.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from conftest import DATA
from examples.test_recipe_steps import NOT_HERE, PICTURE, family, write_model
from importers import cases_messages, cases_rated
from importers.case import write
from resonance.cli.main import main

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
TRAIN = re.compile(r"((?:FORCE_TORCHRUN|NPROC_PER_NODE)=\d+ )*llamafactory-cli train (\S+\.yaml)")


class Page(NamedTuple):
    """What stands in for downloads.

    Attributes:
        hub_set: name of the set of pairs or answers.
        case: of tests/importers, whose rows are in it.
        models: their names.
        prompts: name of a set for reinforcement learning.
    """

    hub_set: str
    case: str
    models: tuple[str, ...]
    prompts: str = ""


PAGES = {
    "uni_dpo": Page(
        "psp-dada/Uni-DPO", "uni_dpo, multimodal, with paths of two other machines", ("Qwen/Qwen2-VL-2B",)
    ),
    "resonance_guide": Page(
        "MMInstruction/VLFeedback", "vlfeedback, parquet: each prompt's widest pair", ("Qwen/Qwen2-VL-2B-Instruct",)
    ),
    "trl_llava": Page(
        "openbmb/RLAIF-V-Dataset", "rlaif_v", ("llava-hf/llava-v1.6-mistral-7b-hf", "HuggingFaceTB/SmolVLM-Instruct")
    ),
    "openvlthinker": Page(
        "ydeng9/OpenVLThinker-sft-iter3", "openvlthinker", ("Qwen/Qwen2.5-VL-7B-Instruct",), "ydeng9/medium_grpo_only"
    ),
    "qwen3_vl_pipeline": Page("helehan/topic-overwrite", "topic_overwrite", ("Qwen/Qwen3-VL-4B-Instruct",)),
}


def lay_out(page: Page, folder: Path) -> None:
    """What the reader downloads, and a photograph."""
    case = next(c for c in (*cases_rated.CASES, *cases_messages.CASES) if c.id.startswith(page.case))
    case.lay_out(folder / page.hub_set)
    if (images := folder / page.hub_set / "MM-RLHF").is_dir():  # these are in archives of another set
        images.rename(folder / "MM-RLHF")
    if page.prompts:
        pictures = [picture.read_bytes() for picture in sorted((DATA / "images").iterdir())[:2]]
        rows = [{"problem": "<image>How many?", "answer": "1", "images": [{"bytes": each}]} for each in pictures]
        write(folder / page.prompts / "rows.parquet", rows)
    for model in page.models:
        write_model(family({"model_name_or_path": model}), folder / model)
    shutil.copy(PICTURE, folder / "photo.jpg")


def small(recipe: Path) -> Path:
    """Make a recipe one step on a CPU; its output folder."""
    keys: dict[str, Any] = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    left = {key: value for key, value in keys.items() if key not in NOT_HERE}
    left |= {"max_steps": 1, "gradient_accumulation_steps": 1, "logging_steps": 1, "plot_loss": False}
    if keys["stage"] == "ppo":
        left |= {"max_new_tokens": 4, "per_device_train_batch_size": 2, "num_generations": 2, "ppo_buffer_size": 1}
    recipe.write_text(yaml.safe_dump(left | {"use_cpu": True, "report_to": "none"}))
    return recipe.parent / keys["output_dir"]


def typed(page: str) -> list[tuple[str, str]]:
    """Commands of the shell, and programs, in their order."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = []
    for kind, block in BLOCK.findall(text):
        found += [(kind, line) for line in (block.replace("\\\n", " ").splitlines() if kind == "bash" else [block])]
    return found


def follow(page: str, folder: Path, run_script: Callable[..., tuple[int, str]]) -> None:
    """Type what a page says, in a folder."""
    trained, answered = list[Path](), False
    for kind, text in typed(page):
        if kind == "python":
            (folder / "ask.py").write_text(text)
            code, output = run_script(folder / "ask.py", cwd=folder)
            assert code == 0 and trained, output[-3000:]
            answered = True
            assert output.rpartition("all params: ")[2].partition("\n")[2].strip(), "no answer behind the log"
        elif match := TRAIN.fullmatch(text):
            trained.append(small(folder / match[2]))
            code, output = run_script("llamafactory-cli", "train", match[2], cwd=folder)
            assert code == 0, output[-3000:]
            assert list(trained[-1].glob("*model.safetensors"))
            assert '"step": 1,' in (trained[-1] / "trainer_state.json").read_text()
        else:
            command, *arguments = shlex.split(text)
            assert command == "resonance" and main(arguments) == 0, text
    assert answered


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_from_an_empty_folder_to_an_answer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_script: Callable[..., tuple[int, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(PAGES[name], tmp_path)
    follow(f"from/{name}", tmp_path, run_script)


@pytest.mark.slow
def test_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_script: Callable[..., tuple[int, str]]) -> None:
    """The page's row, eight times with other pictures and scores, and a folder in place of the model."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    row = json.loads(page.partition("```json\n")[2].partition("```")[0])
    rows = [row | {"images": [f"pictures/{n:04}.jpg"], "score_chosen": 3.0 + n / 4} for n in range(8)]
    write(tmp_path / "pairs" / "my_pairs.json", rows)
    for row in rows:
        picture = tmp_path / "pairs" / row["images"][0]
        picture.parent.mkdir(exist_ok=True)
        shutil.copy(PICTURE, picture)
    model = "Qwen/Qwen2.5-VL-7B-Instruct"
    write_model(family({"model_name_or_path": model}), tmp_path / model)
    shutil.copy(PICTURE, tmp_path / "photo.jpg")
    follow("own_data", tmp_path, run_script)


def test_every_page_is_followed() -> None:
    assert set(PAGES) == {path.stem for path in (ROOT / "docs" / "from").glob("*.md")}
    assert all([kind for kind, _ in typed(f"from/{name}")][-1] == "python" for name in PAGES)
