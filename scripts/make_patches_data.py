# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Write patches of photographs, each with a question what it shows, as sets for SFT, preference and evaluation.

    python scripts/make_patches_data.py DATA_DIR

The photographs are those that scikit-image carries: brick, grass, coins and so on, one a class. Patches of 56x56
pixels of the left half of each are trained on, patches of its right half are held out. Questions, answers and scores
are those of scripts/make_digits_data.py with classes in place of digits. The output depends on SEED alone.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from make_digits_data import PROMPTS, Row, pair_row, prompt_row, sft_row, write_rows
from PIL import Image

SEED = 21
SIDE = 56
SIZES = {"sft": 240, "pref": 400, "heldout": 160}
CLASSES = {
    "brick": "brick.png", "grass": "grass.png", "gravel": "gravel.png", "coins": "coins.png", "cat": "chelsea.png",
    "coffee": "coffee.png", "woman": "astronaut.png", "rocket": "rocket.jpg", "tissue": "ihc.png", "moon": "moon.png",
}  # fmt: skip
QUESTIONS = dict(zip(PROMPTS, ("What is this?", "What is shown here?", "Name the thing."), strict=True))
WORDS = QUESTIONS | {"The digit is": "This is", "something like a": "something like"}
NAMES = list(CLASSES)


def retold(value: Any) -> Any:
    """A row about a digit or a part of it, as one about the class of that number. Paths of images stay."""
    if isinstance(value, dict):
        return {key: part if key == "images" else retold(part) for key, part in value.items()}
    if isinstance(value, list):
        return [retold(part) for part in value]
    if not isinstance(value, str):
        return value
    for old, new in WORDS.items():
        value = value.replace(old, new)
    return re.sub(r"\d", lambda digit: NAMES[int(digit[0])], value)


def patch(photograph: Image.Image, held_out: bool, rng: random.Random) -> Image.Image:
    """A square of a photograph: of its left half, or, held out, of its right one."""
    half = photograph.width // 2
    left = rng.randrange(half - SIDE) + half * held_out
    top = rng.randrange(photograph.height - SIDE)
    return photograph.crop((left, top, left + SIDE, top + SIDE))


def write_set(out: Path, name: str, photographs: list[Image.Image], rng: random.Random) -> None:
    """Write the patches of a set, its rows, and, if these are pairs, the questions alone for rewards."""
    (out / "patches" / name).mkdir(parents=True, exist_ok=True)
    make_row: Callable[[random.Random, int, str], Row] = sft_row if name == "sft" else pair_row
    rows, prompts = [], []
    for number in range(SIZES[name]):
        truth = number % len(NAMES)
        image = f"patches/{name}/{number:04d}.png"
        patch(photographs[truth], name == "heldout", rng).save(out / image)
        row = retold(make_row(rng, truth, image))
        rows.append(row)
        if "chosen" in row:
            prompts.append(prompt_row(row, truth) | {"answer": NAMES[truth]})
    write_rows(out / f"patches_{name}.json", rows)
    if prompts:
        write_rows(out / f"patches_{name}_prompts.json", prompts)


def write_entries(out: Path) -> None:
    """Write dataset_info.json: the digits' entries with other files."""
    known = json.loads((Path(__file__).parents[1] / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    entries = {}
    for file in sorted(out.glob("patches_*.json")):
        entry = known[file.stem.replace("patches", "digits")]
        entries[file.stem] = entry | {"file_name": file.name}
    (out / "dataset_info.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    import skimage

    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    out, rng = Path(argv[0]), random.Random(SEED)
    folder = Path(skimage.__file__).parent / "data"
    photographs = [Image.open(folder / file).convert("RGB") for file in CLASSES.values()]
    for name in SIZES:
        write_set(out, name, photographs, rng)
    write_entries(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
