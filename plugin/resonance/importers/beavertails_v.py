# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""BeaverTails-V, arXiv 2503.17682: two answers to a question about an image, compared for help and for harm.

Columns ``image, question, category, response_1, response_2, more_helpful_response_id, safer_response_id`` and the
ratings ``response_1_helpful_rate, response_1_harmless_rate, ...``, as align-anything and public loaders read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import image, labels, number, preferred, text
from .spec import Example, Importer, Option, Options, one_of, question

PREFERRED = {"helpful": "more_helpful_response_id", "harmless": "safer_response_id"}


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair, with its ratings as scores where both answers have one."""
    by = options["by"]
    better = preferred(row, PREFERRED[by])
    sides = (better, 3 - better)
    chosen, rejected = (text(row, f"response_{side}") for side in sides)
    rates = [f"response_{side}_{by}_rate" for side in sides]
    scores = [number(row[rate], rate) for rate in rates if row.get(rate) is not None]
    yield Example(
        question(text(row, "question")),
        chosen,
        rejected,
        [image(row, "image")],
        scores=(scores[0], scores[1]) if len(scores) == 2 else None,
        extra=labels(row, "category"),
    )


IMPORTER = Importer(
    name="beavertails_v",
    summary="pairs of answers about an image, rated for help and for harm; the hub set has a folder for each category",
    convert=convert,
    hub_id="PKU-Alignment/BeaverTails-V",
    options=(Option("--by", "what is preferred: helpful (default), or harmless", "helpful", one_of(*PREFERRED)),),
    streams=False,
    note=lambda options: (
        f"Scores are the ratings for {options['by']}; the preferred answer need not have the higher one."
    ),
)
