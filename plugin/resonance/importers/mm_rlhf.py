# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""MM-RLHF, arXiv 2502.10391: human rankings of answers about images and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from ..datafiles.columns import PLACEHOLDERS
from .columns import below, json_value, number, references, text, value
from .spec import Example, FrameFolder, Importer, MissingColumn, Option, Options, Skip, one_of, question

PICTURES = "MM-RLHF"  # the folder that the pictures' paths go through
TIE = "the two answers are ranked alike"
# Kept beside a pair. The annotators' reasons and stored log-probabilities are not: no training here reads them.
KEPT = ("ls_factor",)


def convert(row: dict[str, Any], options: Options) -> Iterable[Example | Skip]:
    """A row of `dpo_pairs.jsonl` is a pair, a row of `data.jsonl` ranks up to five answers."""
    if "models_output" in row:
        yield from _ranked_pairs(row, options)
    elif "chosen" not in row:
        raise MissingColumn("no column chosen or models_output", f"the row has {', '.join(map(str, row))}")
    elif row.get("is_tie"):
        raise Skip(TIE, "is_tie is set")
    else:
        extra = {name: number(row[name], name) for name in KEPT if row.get(name) is not None}
        turns, images, videos = _prompt(row, text(row, "prompt"), options)
        yield Example(turns, text(row, "chosen"), text(row, "rejected"), images, videos, extra=extra)


def _ranked_pairs(row: dict[str, Any], options: Options) -> Iterator[Example | Skip]:
    ranked = sorted(_ranked(row), key=lambda answer: answer[0])  # rank 1 is the best
    pairs = list(combinations(ranked, 2)) if options["pairs"] == "all" else [(ranked[0], ranked[-1])]
    turns, images, videos = _prompt(row, text(row, "question"), options)
    for (better, chosen), (worse, rejected) in pairs:
        if better == worse:
            yield Skip(TIE, f"both have rank {better:g}")
        else:
            extra = {"id": str(row.get("id", "")), "rank_chosen": better, "rank_rejected": worse}
            yield Example(list(turns), chosen, rejected, images, videos, extra=extra)


def _ranked(row: dict[str, Any]) -> list[tuple[float, str]]:
    """(rank, answer) of the answers that are there: two objects by model, or two lists, also as JSON text."""
    answers, ranks = (json_value(value(row, name), name) for name in ("models_output", "final_ranking"))
    if isinstance(answers, list) and isinstance(ranks, list) and len(answers) == len(ranks):
        answers, ranks = dict(enumerate(answers)), dict(enumerate(ranks))
    if not isinstance(answers, dict) or not isinstance(ranks, dict):
        found = f"{type(answers).__name__} and {type(ranks).__name__}, of which an answer's rank cannot be told"
        raise Skip("models_output and final_ranking do not fit together", found)
    ranked = [(number(ranks.get(name), "a rank"), answer) for name, answer in answers.items() if answer is not None]
    if len(ranked) < 2:
        raise Skip("fewer than two ranked answers", f"{len(ranked)} of {len(answers)}")
    return ranked


def _prompt(row: dict[str, Any], asked: str, options: Options) -> tuple[list[tuple[str, str]], list[Any], list[Any]]:
    images = [below(path, PICTURES) for path in references(row, "image")]
    videos = [FrameFolder(below(path, PICTURES), options["frames"]) for path in references(row, "video")]
    if not images and not videos:
        raise Skip("neither image nor video", f"the row has {', '.join(map(str, row))}")
    for kind, media in (("image", images), ("video", videos)):
        placeholder = PLACEHOLDERS[kind]
        # the set has one <image> for a video or for several pictures, too; the frame puts as many as are needed
        if asked.count(placeholder) != len(media):
            asked = asked.replace(placeholder, "").strip()
    return question(asked), images, videos


def _frames(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not 0 (all) or a number of frames")
    return int(text)


IMPORTER = Importer(
    name="mm_rlhf",
    summary="human-ranked answers about images and videos; dpo_pairs.jsonl, or data.jsonl with rankings",
    convert=convert,
    hub_id="yifanzhang114/MM-RLHF",
    options=(
        Option(
            "--pairs",
            "of data.jsonl's rankings: all pairs of different rank (default), or best_worst, one a question",
            "all",
            one_of("all", "best_worst"),
        ),
        Option("--frames", "frames of a video, evenly spaced (default 10, as its authors train; 0: all)", 10, _frames),
    ),
    note=lambda options: (
        "No scores: a rank among the answers to one question says nothing across questions. "
        "Ranks are kept as rank_chosen and rank_rejected (1 is the best)."
    ),
    hub_file=lambda options: "dpo_pairs.jsonl",
    files=("dpo_pairs.jsonl", "data.jsonl", "*"),
)
