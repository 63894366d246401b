# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Write the demo data under data/: handwritten digits as pictures, with sets for each stage, and held-out ones.

    python scripts/make_digits_data.py [DATA_DIR]

The pictures are real: the UCI "Optical Recognition of Handwritten Digits" test set that scikit-learn carries (8x8, 17
grey levels, CC BY 4.0). Each is enlarged by pixel repetition to 56x56, a 2x2 grid of Qwen2-VL's 28-pixel tokens.
No picture is in two sets, but for pairs of reward models. The output depends on SEED alone, to the byte.

A score is what the rubric of `Answer.score` says: 3 for the right digit, plus 2, 1 or 0 for the wording, so that every
right answer scores at least 3, every wrong one at most 2, and Uni-DPO's `uni_dpo_tau_good: 2.5` lies between them.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_digits

Row = dict[str, Any]
SEED = 20
ZOOM = 7
SIZES = {"sft": 240, "pref": 400, "heldout": 160}  # the other 997 pictures are the RL set's
PROMPTS = ("What digit is this?", "Which digit is written here?", "Read the handwritten digit.")
WORDINGS = {
    "sentence": ("The digit is {}.", 2.0),
    "bare": ("{}", 1.0),
    "hedged": ("Hmm, maybe it is something like a {}, but who knows?", 0.0),
}
RIGHT_DIGIT_POINTS = 3.0
RM_DIGITS = 5  # pairs of a reward model that differ in the digit alone, a picture
# What separates the two answers of a pair, and how often: most pairs can only be told apart by looking at the picture.
PAIR_KINDS = {"digit": 0.7, "digit_and_wording": 0.1, "wording": 0.1, "wording_both_wrong": 0.1}


@dataclass(frozen=True)
class Answer:
    """What is said about a picture of `truth`: which digit, in which of WORDINGS."""

    digit: int
    wording: str
    truth: int

    @property
    def text(self) -> str:
        return WORDINGS[self.wording][0].format(self.digit)

    @property
    def score(self) -> float:
        """0 to 5: 3 points for the right digit, up to 2 for the wording."""
        return RIGHT_DIGIT_POINTS * (self.digit == self.truth) + WORDINGS[self.wording][1]


def wrong_digit(truth: int, rng: random.Random) -> int:
    return rng.choice([digit for digit in range(10) if digit != truth])


def make_pair(truth: int, kind: str, rng: random.Random) -> tuple[Answer, Answer]:
    """Return (chosen, rejected) for a picture of `truth`; the chosen one always has the higher score."""
    better, worse = rng.choice([("sentence", "bare"), ("sentence", "hedged"), ("bare", "hedged")])
    wording = rng.choice(("sentence", "sentence", "bare"))
    wrong = wrong_digit(truth, rng)
    if kind == "digit":
        return Answer(truth, wording, truth), Answer(wrong, wording, truth)
    if kind == "digit_and_wording":
        return Answer(truth, better, truth), Answer(wrong, worse, truth)
    if kind == "wording":
        return Answer(truth, better, truth), Answer(truth, worse, truth)
    return Answer(wrong, better, truth), Answer(wrong, worse, truth)


def sft_row(rng: random.Random, truth: int, image: str) -> Row:
    prompt = rng.choice(PROMPTS)
    answer = Answer(truth, rng.choice(("sentence", "sentence", "bare", "hedged")), truth)
    messages = [{"role": "user", "content": f"<image>{prompt}"}, {"role": "assistant", "content": answer.text}]
    return {"messages": messages, "images": [image]}


def pair_row(rng: random.Random, truth: int, image: str) -> Row:
    prompt = rng.choice(PROMPTS)
    kind = rng.choices(list(PAIR_KINDS), weights=list(PAIR_KINDS.values()))[0]
    return scored(prompt, *make_pair(truth, kind, rng), image)


def scored(prompt: str, chosen: Answer, rejected: Answer, image: str) -> Row:
    return {
        "instruction": f"<image>{prompt}",
        "chosen": chosen.text,
        "rejected": rejected.text,
        "score_chosen": chosen.score,
        "score_rejected": rejected.score,
        "images": [image],
    }


def reward_rows(rng: random.Random, truth: int, image: str) -> list[Row]:
    """Pairs for a reward model: the right digit against RM_DIGITS others, and one pair of another kind."""
    wrong = rng.sample([digit for digit in range(10) if digit != truth], RM_DIGITS)
    kinds = {kind: share for kind, share in PAIR_KINDS.items() if kind != "digit"}
    pairs = [make_pair(truth, rng.choices(list(kinds), weights=list(kinds.values()))[0], rng)]
    for digit in wrong:
        wording = rng.choice(("sentence", "sentence", "bare"))
        pairs.append((Answer(truth, wording, truth), Answer(digit, wording, truth)))
    return [scored(rng.choice(PROMPTS), chosen, rejected, image) for chosen, rejected in pairs]


def rl_row(rng: random.Random, truth: int, image: str) -> Row:
    return {"prompt": f"<image>{rng.choice(PROMPTS)}", "answer": str(truth), "images": [image]}


def prompt_row(pair: Row, truth: int) -> Row:
    """The question of a pair, for rewards."""
    return {"prompt": pair["instruction"], "answer": str(truth), "images": pair["images"]}


def write_picture(pixels: Any, path: Path) -> None:
    """Write an 8x8 array of grey levels 0..16 as a PNG, dark ink on white, ZOOM times larger."""
    picture = Image.fromarray((255 - pixels * 255 // 16).astype("uint8"))
    side = ZOOM * pixels.shape[0]
    picture.resize((side, side), Image.Resampling.NEAREST).save(path, compress_level=9)


def write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    print(f"{path}: {len(rows)} rows")


def write_set(out: Path, name: str, indices: list[int], make_row: Callable[[int, str], Row]) -> None:
    """Write the pictures of a set, and its rows in the order of their indices in scikit-learn's copy.

    Pairs are written once more as prompts, which rewards can be computed for.
    """
    digits = load_digits()
    (out / "digits" / name).mkdir(parents=True, exist_ok=True)
    rows, truths = [], [int(digits.target[index]) for index in sorted(indices)]
    for index, truth in zip(sorted(indices), truths, strict=True):
        image = f"digits/{name}/{index:04d}.png"
        write_picture(digits.images[index].astype("int64"), out / image)
        rows.append(make_row(truth, image))
    write_rows(out / f"digits_{name}.json", rows)
    if "chosen" in rows[0]:
        prompts = [prompt_row(row, truth) for row, truth in zip(rows, truths, strict=True)]
        write_rows(out / f"digits_{name}_prompts.json", prompts)


def write_reward_sets(out: Path, rng: random.Random) -> None:
    """Pairs for a reward model on the pictures of `sft` and `pref`, and others to test it on `heldout`."""
    target = load_digits().target
    for file, sets in {"digits_rm": ("sft", "pref"), "digits_rm_heldout": ("heldout",)}.items():
        pictures = [path for name in sets for path in sorted((out / "digits" / name).glob("*.png"))]
        rows = [reward_rows(rng, int(target[int(p.stem)]), p.relative_to(out).as_posix()) for p in pictures]
        write_rows(out / f"{file}.json", [row for part in rows for row in part])


def main(argv: list[str]) -> int:
    out = Path(argv[0]) if argv else Path(__file__).resolve().parent.parent / "data"
    count = len(load_digits().target)
    rng = random.Random(SEED)
    order = rng.sample(range(count), sum(SIZES.values()))
    rest = sorted(set(range(count)) - set(order))
    for name, size in SIZES.items():
        write_set(out, name, [order.pop() for _ in range(size)], partial(sft_row if name == "sft" else pair_row, rng))
    write_set(out, "rl", rest, partial(rl_row, rng))
    write_reward_sets(out, random.Random(SEED + 1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
