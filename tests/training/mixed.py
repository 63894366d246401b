# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A preference set whose rows differ: without a picture, with one, with two; short and long answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import DATA

PAIRS = json.loads((DATA / "pairs.json").read_text())
# Pictures of each row. Read in this order by two ranks, two rows each: only one of them has pictures, then only the
# other, then one row of one of them, then neither.
PICTURES = (0, 0, 1, 1, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)

NOT_COMPARED = ("runtime", "per_second", "total_flos")


def write_mixed(folder: Path, pictures: tuple[int, ...] = PICTURES) -> dict[str, Any]:
    """Write a set `mixed` with so many pictures a row; gives the recipe keys that train it in this order."""
    rows = []
    for number, count in enumerate(pictures):
        row = dict(PAIRS[number])
        row["instruction"] = "<image>" * count + f"Number {number}: what is it?" + " Say why." * (number % 3)
        row["images"] = [str(DATA / "images" / f"{number + extra}.png") for extra in range(count)]
        row["chosen"] += " It is what I see." * (number % 4)
        row["rejected"] += " Or perhaps it is not." * ((number + 1) % 3)
        rows.append(row)
    folder.mkdir(exist_ok=True)
    info = json.loads((DATA / "dataset_info.json").read_text())
    (folder / "mixed.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"mixed": {**info["pairs"], "file_name": "mixed.json"}}))
    return {
        "dataset_dir": str(folder),
        "media_dir": str(folder),
        "dataset": "mixed",
        "disable_shuffling": True,
        "preprocessing_num_workers": None,
    }


def on_off(run: Any) -> tuple[set[str], dict[str, str]]:
    """Which speed-ups a run said to use, and which not, and why; nothing for LlamaFactory's own."""
    found = re.findall(r"pref_speedups: on: (.*)", run.output)
    if not found:
        return set(), {}
    on, *rest = found[0].split("; ")
    names = {name.strip() for name in re.sub(r" \(.*?\)", "", on).rstrip(".").split(",")}
    off = next((part.removeprefix("off: ") for part in rest if part.startswith("off: ")), "")
    return names - {"nothing"}, dict(re.findall(r"(\w+) \((.*?)\)(?=, \w+ \(|\.?$)", off))


def same_numbers(ours: Any, theirs: Any, loss: float = 1e-5, rel: float = 1e-4, but: tuple[str, ...] = ()) -> None:
    """Every number of two runs' logs: losses to 1e-5, others to 1e-4 of themselves or 1e-5.

    `logits/chosen` and `logits/rejected` are means over other tokens here and there; an accuracy is undecided while
    the margins are rounding.
    """
    lines = ours.state["log_history"], theirs.state["log_history"]
    assert len(lines[0]) == len(lines[1]) and any("loss" in line for line in lines[0])
    for mine, other in zip(*lines, strict=True):
        for key in set(mine) & set(other):
            if key.endswith(NOT_COMPARED) or "logits/" in key or key.startswith(but):
                continue
            undecided = key.endswith("accuracies") and abs(other[key.replace("accuracies", "margins")]) < 1e-4
            if not undecided:
                close = (
                    {"abs": loss, "rel": 0} if key in ("loss", "eval_loss") else {"abs": max(loss, 1e-5), "rel": rel}
                )
                assert mine[key] == pytest.approx(other[key], **close), (other.get("step"), key)
