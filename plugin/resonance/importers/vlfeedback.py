# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""VLFeedback, arXiv 2410.09421: four answers to a prompt, rated by GPT-4V."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import columns
from .spec import Example, Importer, Option, Options, Skip, question

WIDEST = -1.0
SAME = 1e-6  # means of whole numbers over a few aspects differ by more, or not at all


@dataclass
class Answer:
    text: str
    score: float | None  # None: not rated in numbers
    model: str
    ratings: str


def convert(row: dict[str, Any], options: Options) -> Iterator[Example | Skip]:
    """The pairs of a prompt's answers: the widest (``score_margin`` -1), or all whose scores are so far apart.

    An answer's score is the mean of its ratings over all aspects.
    """
    prompt, image = columns.text(row, "prompt"), columns.image(row, "image", "img_path")
    pairs: list[tuple[float, Answer, Answer]] = []
    ties = 0
    for one, other in itertools.combinations(_answers(row), 2):
        if one.score is None or other.score is None:
            yield Skip("a rating is not a number", f"{one.model}: {one.ratings}; {other.model}: {other.ratings}")
        elif abs(one.score - other.score) < SAME:
            ties += 1
        else:
            better, worse = sorted((one, other), key=lambda answer: -(answer.score or 0.0))
            pairs.append((abs(one.score - other.score), better, worse))
    margin = options["score_margin"]
    least = max((gap for gap, _, _ in pairs), default=0.0) if margin == WIDEST else margin
    kept = [(better, worse) for gap, better, worse in pairs if gap > least - SAME]
    for better, worse in kept:
        yield Example(
            question(prompt),
            better.text,
            worse.text,
            [image],
            scores=(better.score or 0.0, worse.score or 0.0),
            extra=columns.labels(row, "id") | {"model_chosen": better.model, "model_rejected": worse.model},
        )
    if ties:
        yield Skip("a pair with equal scores", count=ties, listed=False)
    if len(pairs) > len(kept):
        why = "the prompt's widest" if margin == WIDEST else f"--score-margin {margin:g}"
        yield Skip(f"a pair narrower than {why}", count=len(pairs) - len(kept), listed=False)


def _answers(row: dict[str, Any]) -> list[Answer]:
    """The completions, which are a list of objects, or an object of lists."""
    given = columns.value(row, "completions")
    if isinstance(given, dict):
        kinds = str({name: type(column).__name__ for name, column in given.items()})
        if (given := columns.structs(given)) is None:
            raise Skip("completions are not lists of one length", kinds)
    if not isinstance(given, list) or not all(isinstance(answer, dict) for answer in given):
        raise Skip("completions are not answers", type(given).__name__)
    if len(given) < 2:
        raise Skip("fewer than two completions", f"{len(given)}")
    return [_answer(answer) for answer in given]


def _answer(given: dict[str, Any]) -> Answer:
    aspects = columns.json_object(given.get("annotations") or {}, "annotations")
    ratings = {name: aspect.get("Rating") if isinstance(aspect, dict) else aspect for name, aspect in aspects.items()}
    shown = ", ".join(f"{name} {rating!r}" for name, rating in ratings.items())
    try:
        numbers = [columns.number(rating, "a rating") for rating in ratings.values()]
    except Skip:
        numbers = []
    score = sum(numbers) / len(numbers) if numbers else None
    return Answer(columns.text(given, "response"), score, str(given.get("model", "")), shown)


def margin(text: str) -> float:
    found = float(text)
    if not (found == WIDEST or 0 <= found < float("inf")):
        raise ValueError(f"{text} is neither -1 nor a number from 0")
    return found


IMPORTER = Importer(
    name="vlfeedback",
    summary="80,258 prompts about one image, four answers each, rated by GPT-4V: scored pairs",
    convert=convert,
    hub_id="MMInstruction/VLFeedback",
    options=(
        Option(
            "--score-margin",
            "pairs whose scores differ by at least this, 0 for all that differ; -1 (default): each prompt's widest",
            WIDEST,
            margin,
        ),
    ),
    files=("*.parquet", "*.jsonl", "*.json", "*"),
)
