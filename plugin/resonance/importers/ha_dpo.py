# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""HA-DPO, arXiv 2311.16839: descriptions of Visual Genome's images, right ones and ones with faults.

``desc_data.json`` is an object, ``{"IMAGE ID": {"chosen": [texts], "rejected": [texts]}}``, without questions: the
authors draw one of four for each pair. ``pope_data.json`` is a list of ``{image_id, question, chosen, reject,
correct}``, of which the rows that are `correct` are not used. Both as the authors' `train_dpo.py` reads them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from .columns import text, value
from .spec import Either, Example, Importer, Misshaped, Option, Options, Skip, one_of, question

ID = "image_id"
QUESTIONS = (
    "Describe this image in detail.",
    "Take a look at this image and describe what you notice.",
    "Please provide a detailed description of the picture.",
    "Could you describe the contents of this image for me?",
)


def convert(row: dict[str, Any], options: Options) -> Iterator[Example | Skip]:
    """A description's lists of answers, one pair of them or all; or a question with two answers."""
    number = str(value(row, ID))
    images = [Either(tuple(f"{folder}{number}.jpg" for folder in ("VG_100K/", "VG_100K_2/", "")))]
    if "reject" in row:
        if row.get("correct"):
            yield Skip("the model answered right", number, listed=False)
        else:
            asked, chosen, rejected = text(row, "question"), text(row, "chosen"), text(row, "reject")
            yield Example(question(asked), chosen, rejected, images, extra={ID: number})
        return
    better, worse = _answers(row, "chosen"), _answers(row, "rejected")
    draw = random.Random(f"{options['seed']}\n{number}")
    pairs = list(product(better, worse)) if options["pairs"] == "all" else [(draw.choice(better), draw.choice(worse))]
    for chosen, rejected in pairs:
        yield Example(question(draw.choice(QUESTIONS)), chosen, rejected, list(images), extra={ID: number})


def _answers(row: dict[str, Any], name: str) -> list[str]:
    answers = value(row, name)
    if not isinstance(answers, list) or not answers:
        raise Misshaped(f"{name} is no list of answers", repr(answers)[:60])
    return answers


IMPORTER = Importer(
    name="ha_dpo",
    summary="descriptions of Visual Genome's images and ones with faults; desc_data.json, or pope_data.json",
    convert=convert,
    hub_id="juliozhao/hadpo-data",
    options=(
        Option(
            "--pairs",
            "of an image's answers: one, drawn by the seed, as its authors train (default), or all",
            "one",
            one_of("one", "all"),
        ),
        Option("--seed", "of the questions, and of the pairs that are drawn (default 0)", 0, int),
    ),
    files=("desc_data.json", "pope_data.json"),
    keyed=ID,
    streams=False,
    note=lambda options: (
        "Descriptions have no question of their own: one of the authors' four is drawn for each pair."
    ),
)
