# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pieces of the row tests: tiny pair files with real PNGs, LlamaFactory's own get_dataset with names rebound."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resonance.hooks.llamafactory import PATCHES
from resonance.rows.plan import Kind

MODEL = Path(__file__).parents[1] / "golden" / "trajectory" / "model"
COLOURS = ("red", "green", "blue", "yellow", "black", "white")

REBOUND = {
    patch.target: patch.replacement
    for patch in PATCHES
    if patch.scope in ("align", "selection", "rows", "ppo_rows", "kto_rows", "sft_rows")
    and patch.target.startswith("llamafactory.data.")
}

ENTRIES: dict[str, dict[str, Any]] = {
    "alpaca": {
        "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"},
    },
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"},
    },
    "openai": {
        "formatting": "openai",
        "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
}


def pair(i: int, formatting: str = "alpaca") -> dict[str, Any]:
    """Row i: an image of one colour, the right answer, a wrong one, and scores that name the row."""
    question, chosen, rejected = "<image>Which colour?", f"It is {COLOURS[i % 6]}.", f"It is {COLOURS[(i + 1) % 6]}."
    if formatting == "alpaca":
        row: dict[str, Any] = {"instruction": question, "chosen": chosen, "rejected": rejected}
    else:
        role, content = ("from", "value") if formatting == "sharegpt" else ("role", "content")
        user, assistant = ("human", "gpt") if formatting == "sharegpt" else ("user", "assistant")
        row = {
            "conversations" if formatting == "sharegpt" else "messages": [{role: user, content: question}],
            "chosen": {role: assistant, content: chosen},
            "rejected": {role: assistant, content: rejected},
        }
    return {**row, "images": [f"images/{i}.png"], "score_chosen": 3 + i / 10, "score_rejected": 1 + i / 10}


@dataclass
class Data:
    """A dataset_dir being filled by a test."""

    folder: Path

    def write(self, rows: list[dict[str, Any]], file: str = "pairs.json", name: str = "pairs", **entry: Any) -> Path:
        """Write rows to a .json, .jsonl or .parquet file and register it; `scores=False` declares no score columns."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            import datasets

            datasets.Dataset.from_list(rows).to_parquet(str(path))
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.write_text(json.dumps(rows))
        self.register(name, entry.pop("file_name", file), **entry)
        return path

    def register(self, name: str, file: str, formatting: str = "alpaca", scores: bool = True, **entry: Any) -> None:
        """Add an entry to dataset_info.json."""
        info_path = self.folder / "dataset_info.json"
        info = json.loads(info_path.read_text()) if info_path.exists() else {}
        info[name] = {"file_name": file, "ranking": True, **json.loads(json.dumps(ENTRIES[formatting])), **entry}
        if scores:
            info[name]["columns"] |= {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}
        info_path.write_text(json.dumps(info))

    def images(self, count: int) -> None:
        """Draw `count` PNGs of 32 x 32 pixels."""
        from PIL import Image

        (self.folder / "images").mkdir(exist_ok=True)
        for i in range(count):
            Image.new("RGB", (32, 32), COLOURS[i % 6]).save(self.folder / "images" / f"{i}.png")


@pytest.fixture
def make_pair() -> Callable[..., dict[str, Any]]:
    return pair


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """An empty dataset_dir with six images."""
    (tmp_path / "data").mkdir()
    made = Data(tmp_path / "data")
    made.images(6)
    return made


@pytest.fixture(scope="session")
def tokenizer_module() -> dict[str, Any]:
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    base = {"stage": "dpo", "output_dir": "unused", "dataset": "none", "template": "qwen2_vl", "use_cpu": True}
    return load_tokenizer(get_train_args({**base, "model_name_or_path": str(MODEL)})[0])


@pytest.fixture
def rebound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebind LlamaFactory's names as a run of ours does."""
    for target, replacement in REBOUND.items():
        module, _, name = replacement.partition(":")
        monkeypatch.setattr(target, getattr(importlib.import_module(module), name))


@pytest.fixture
def load(
    rebound: None, data: Data, tmp_path: Path, tokenizer_module: dict[str, Any]
) -> Callable[..., SimpleNamespace]:
    """Call LlamaFactory's get_dataset; returns train_dataset, eval_dataset, template and the parsed arguments."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args

    from resonance.rows.tokenized_path import get_dataset
    from resonance.training.run import prepare_rows

    def run(
        needs_scores: bool = True, stage: str = "dpo", needs: tuple[str, ...] = (), **changes: Any
    ) -> SimpleNamespace:
        kinds: dict[str, tuple[Kind, str]] = {
            "ppo": ("prompts", "ppo"), "kto": ("feedback", "kto"), "sft": ("answers", "sft")
        }  # fmt: skip
        kind, processed_as = kinds.get(stage, ("pairs", "rm"))
        recipe = {
            "stage": stage,
            "do_train": True,
            "model_name_or_path": str(MODEL),
            "cache_dir": str(tmp_path / "cache"),
            "dataset_dir": str(data.folder),
            "dataset": "pairs",
            "template": "qwen2_vl",
            "cutoff_len": 256,
            "output_dir": str(tmp_path / "out"),
            "report_to": "none",
            "use_cpu": True,
            **changes,
        }
        if recipe.get("streaming"):
            recipe |= {"max_steps": 1, "buffer_size": 1}
        model_args, data_args, training_args, _, _ = get_train_args(recipe)
        more = {f"needs_{group}": True for group in needs}
        prepare_rows(data_args, training_args, needs_scores=needs_scores and kind == "pairs", kind=kind, **more)
        template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], data_args)
        loaded = get_dataset(template, model_args, data_args, training_args, stage=processed_as, **tokenizer_module)
        return SimpleNamespace(
            train=loaded.get("train_dataset"),
            eval=loaded.get("eval_dataset"),
            template=template,
            data_args=data_args,
            training_args=training_args,
            skipped=tmp_path / "out" / "skipped_rows.jsonl",
        )

    return run


@pytest.fixture
def warnings_of_rows() -> Iterator[list[str]]:
    """Messages that the rows room logs at WARNING."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Collect(logging.WARNING)
    logger = logging.getLogger("llamafactory.resonance.rows")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
