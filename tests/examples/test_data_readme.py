# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The layouts that data/README.md shows: each is written to a file and read by LlamaFactory's own loader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
BLOCKS = re.compile(r"<!-- example: (\w+) -->\n```json\n(.*?)```\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = {
    name: (json.loads(entry), json.loads(row))
    for name, entry, row in BLOCKS.findall((DATA / "README.md").read_text(encoding="utf-8"))
}


def test_the_public_sets_are_the_importers() -> None:
    from resonance.importers.table import IMPORTERS

    section = (DATA / "README.md").read_text(encoding="utf-8").split("## Public sets")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")
    ]
    assert {row[0].strip("`") for row in rows} == set(IMPORTERS)
    for name, source, stage, _, terms in rows:
        importer = IMPORTERS[name.strip("`")]
        assert stage.startswith(importer.stage)
        assert importer.hub_id is None or source == f"`{importer.hub_id}`"
        known = not importer.terms.startswith("not known")
        assert importer.terms.startswith(terms) if known else terms in ("", "see the set")


def write(path: Path, row: dict[str, Any]) -> None:
    if path.suffix == ".parquet":
        from datasets import Dataset

        Dataset.from_list([row]).to_parquet(path)
    else:
        path.write_text(json.dumps(row if path.suffix == ".jsonl" else [row]))


def align(folder: Path, entry: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """The aligned row: what LlamaFactory makes of `row` before it is turned into tokens."""
    from datasets import load_dataset
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list

    ((name, settings),) = entry.items()
    path = folder / settings["file_name"]
    write(path, row)
    (folder / "dataset_info.json").write_text(json.dumps(entry))
    (attributes,) = get_dataset_list([name], str(folder))
    kind = "parquet" if path.suffix == ".parquet" else "json"
    (loaded,) = load_dataset(kind, data_files=str(path), split="train", cache_dir=str(folder / "cache"))
    arguments = SimpleNamespace(media_dir=str(DATA))
    return get_dataset_converter(attributes.formatting, attributes, arguments)(loaded)


def test_the_readme_has_an_example_of_every_formatting_and_file_type() -> None:
    entries = [next(iter(entry.values())) for entry, _ in EXAMPLES.values()]
    assert set(EXAMPLES) == {"alpaca", "sharegpt", "openai", "sft"}
    assert {entry.get("formatting", "alpaca") for entry in entries} == {"alpaca", "sharegpt", "openai"}
    assert {Path(entry["file_name"]).suffix for entry in entries} == {".json", ".jsonl", ".parquet"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_column_an_entry_names_is_in_its_row(name: str) -> None:
    entry, row = EXAMPLES[name]
    ((_, settings),) = entry.items()
    assert set(settings["columns"].values()) == set(row)
    assert ("score_chosen" in settings["columns"]) == settings.get("ranking", False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_llamafactory_reads_the_example(name: str, tmp_path: Path) -> None:
    entry, row = EXAMPLES[name]
    aligned = align(tmp_path, entry, row)
    assert [turn["content"] for turn in aligned["_prompt"]] == ["<image>What digit is this?"]
    pair = ["The digit is 1.", "The digit is 3."]
    assert [turn["content"] for turn in aligned["_response"]] == (pair[:1] if name == "sft" else pair)
    assert aligned["_images"] == [str(DATA / "digits/pref/0001.png")]
    assert Path(aligned["_images"][0]).is_file()
    assert aligned["_system"] == ("detailed thinking off" if name == "openai" else "")
