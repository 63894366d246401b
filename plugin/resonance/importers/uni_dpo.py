# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Uni-DPO, arXiv 2506.10054: scored pairs about pictures, text and mathematics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .chatml import chatml_turns
from .columns import below, number, references, text, value
from .dialogue import read_pair
from .spec import Example, Importer, MissingColumn, Option, Options, one_of, question

PICTURES = "MM-RLHF"  # the folder that the pictures' paths go through


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one scored pair."""
    kind = kind_of(row) if options["kind"] == "auto" else options["kind"]
    better, worse = (_score(row, name) for name in ("score_chosen", "score_rejected"))
    yield CONVERT[kind](row, (better, worse))


def _score(row: dict[str, Any], name: str) -> float:
    return number(row[name] if name in row else value(row, name), name)  # null is no number, rather than no column


def kind_of(row: dict[str, Any]) -> str:
    """Tell the kind of a row from its columns.

    Raises:
        MissingColumn: if it is none of the three.
    """
    if isinstance(row.get("instruction"), str):
        return "multimodal"
    if isinstance(row.get("chosen"), list | dict):
        return "textual"
    if isinstance(row.get("prompt"), str):
        return "math"
    raise MissingColumn("no row of Uni-DPO", f"the row has {', '.join(map(str, row))}")


def _multimodal(row: dict[str, Any], scores: tuple[float, float]) -> Example:
    images = [below(path, PICTURES) for path in references(row, "images")]
    turns = question(text(row, "instruction"))
    return Example(turns, text(row, "chosen"), text(row, "rejected"), images=images, scores=scores)


def _textual(row: dict[str, Any], scores: tuple[float, float]) -> Example:
    pair = read_pair(row.get("prompt"), value(row, "chosen"), value(row, "rejected"))
    return Example(pair.prompt.turns, pair.chosen, pair.rejected, scores=scores)


def _math(row: dict[str, Any], scores: tuple[float, float]) -> Example:
    return Example(chatml_turns(text(row, "prompt")), text(row, "chosen"), text(row, "rejected"), scores=scores)


HUB_FILES = {
    "auto": "Multimodal/uni_dpo_image_only_mcq_short_long_50k.json",
    "multimodal": "Multimodal/uni_dpo_image_only_mcq_short_long_50k.json",
    "textual": "Textual/{}/train.jsonl",
    "math": "Math/Train_Qwen_2_5_math_7B.jsonl",
}
# Of the textual kind: whose answers to UltraFeedback, and who judged them.
SUBSETS = (
    "UltraFeedback-GPT-4o",
    "UltraFeedback-Qwen2_5_72B",
    "Llama-3-8B-Instruct-UltraFeedback-GPT-4o",
    "Llama-3-8B-Instruct-UltraFeedback-ArmoRM",
    "Llama-3-8B-Instruct-UltraFeedback-ArmoRM-GPT-4o",
    "Gemma-2-9B-IT-UltraFeedback-GPT-4o",
)
CONVERT = {"multimodal": _multimodal, "textual": _textual, "math": _math}

IMPORTER = Importer(
    name="uni_dpo",
    summary="scored pairs of three kinds: 50,555 about MM-RLHF's images; text; mathematics with ChatML prompts",
    convert=convert,
    hub_id="psp-dada/Uni-DPO",
    terms="Apache-2.0",
    options=(
        Option(
            "--kind",
            "multimodal, textual or math; default: told from each row's columns, and multimodal from the hub",
            "auto",
            one_of("auto", *CONVERT),
        ),
        Option(
            "--subset",
            f"with --kind textual, from the hub: {', '.join(SUBSETS)}; default: the first",
            SUBSETS[0],
            one_of(*SUBSETS),
        ),
    ),
    hub_file=lambda options: HUB_FILES[options["kind"]].format(options["subset"]),
    note=lambda options: (
        "Score scales differ between its files: mathematics 0-10, the others are not documented. "
        "Look with `resonance data score-stats` before choosing uni_dpo_tau_good."
    ),
)
