# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""VQA-RAD, doi 10.1038/sdata.2018.251: questions on radiology images, with right answers only."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from . import columns
from .spec import Example, Importer, Option, Options, Skip, question

OPPOSITE = {"yes": "no", "no": "yes"}


def convert(row: dict[str, Any], options: Options) -> Iterator[Example]:
    """``image, question, answer``: a supervised row; with ``synthetic_pairs`` a pair with a wrong answer by rule."""
    asked, answer = columns.text(row, "question"), columns.text(row, "answer")
    images = [columns.image(row, "image", "image_path")]
    if options["synthetic_pairs"]:
        wrong = _wrong(asked, answer, options["answers"], options["seed"])
        yield Example(question(asked), answer, wrong, images, extra={"synthetic": True})
    else:
        yield Example([*question(asked), ("assistant", answer)], images=images)


def survey(rows: Iterable[dict[str, Any]], options: Options) -> dict[str, Any]:
    """The different answers to each kind of question."""
    answers: dict[str, dict[str, None]] = {}
    if options["synthetic_pairs"]:
        for row in rows:
            asked, answer = row.get("question"), row.get("answer")
            if isinstance(asked, str) and isinstance(answer, str) and _plain(answer) not in ("", *OPPOSITE):
                answers.setdefault(_kind(asked), {})[answer.strip()] = None
    return {"answers": {kind: list(different) for kind, different in answers.items()}}


def _wrong(asked: str, answer: str, answers: dict[str, list[str]], seed: int) -> str:
    """The opposite of yes or no; otherwise the answer to another question of the same kind, drawn by the seed."""
    if opposite := OPPOSITE.get(_plain(answer)):
        return opposite.capitalize() if answer.strip()[0].isupper() else opposite
    same_kind = answers.get(_kind(asked), [])
    others = [other for other in same_kind if _plain(other) != _plain(answer)]
    if not others:
        raise Skip("no wrong answer to be had", f"no other answer to a question that starts with {_kind(asked)!r}")
    return random.Random(f"{seed}\n{asked}\n{answer}").choice(others)


def _kind(asked: str) -> str:
    return (asked.lower().split() or [""])[0].strip("\"'?,.")


def _plain(answer: str) -> str:
    return answer.strip().rstrip(".").lower()


def note(options: Options) -> str:
    same = "Train and test rows share images, so test scores flatter a model trained on this set."
    if not options["synthetic_pairs"]:
        return same
    return (
        "The rejected answers are SYNTHETIC: yes and no are exchanged, other answers are taken from other questions "
        f"of the same kind, and some may be right by chance. Column `synthetic` says so. {same}"
    )


IMPORTER = Importer(
    name="vqa_rad",
    summary="1,793 questions about radiology images with answers, for supervised fine-tuning",
    convert=convert,
    stage="sft",
    hub_id="flaviagiammarino/vqa-rad",
    terms="CC0 1.0",
    options=(
        Option("--synthetic-pairs", "make preference pairs, with wrong answers that are synthetic: made by rule"),
        Option("--seed", "of the wrong answers that are drawn (default 0)", 0, int),
    ),
    survey=survey,
    note=note,
)
