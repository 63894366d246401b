# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All remarks about a run, the worst first. Each is made by a pure function that names the threshold it goes by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from . import completions, pairs
from .completions import Record
from .pairs import Pair, Places
from .pictures import evaluated_on_training_pictures
from .remark import ORDER, Remark
from .remarks_policy import OF_POLICIES, from_symptoms, one_answer_for_all
from .remarks_preference import OF_PREFERENCES
from .remarks_training import OF_TRAINING
from .run import Run

TIED = 0.6  # correlation of reward margin and difference of lengths


class Material:
    """What a run left beside its log.

    Args:
        run: whose files are read.
    """

    def __init__(self, run: Run) -> None:
        path = run.file(pairs.FILE)
        self.places: Places | None = pairs.places(pairs.read(path)) if path.is_file() else None
        self.rollouts = first_and_last(run.file(completions.FILE))


def first_and_last(path: Path) -> list[list[Record]]:
    """The completions of the first and of the last whole rollout of a file: two lists, one, or none."""
    kept: list[list[Record]] = []
    if path.is_file():
        for _, group in groupby(completions.read(path), lambda record: record["rollout"]):
            kept[1:] = [list(group)]
    return kept


def remarks_of(run: Run, material: Material) -> list[Remark]:
    """All remarks about a run, the worst first."""
    found = [remark for make in (*OF_TRAINING, *OF_PREFERENCES, *OF_POLICIES) if (remark := make(run))]
    found += from_symptoms(run)
    found += _of_material(material)
    found += [remark] if (remark := evaluated_on_training_pictures(run)) else []
    return sorted(found, key=lambda remark: ORDER.index(remark.severity))


def _of_material(material: Material) -> Iterator[Remark]:
    if material.places and (remark := tied_to_length(pairs.with_lengths(material.places.last.values()))):
        yield remark
    if len(material.rollouts) == 2 and (remark := one_answer_for_all(*material.rollouts)):
        yield remark


def tied_to_length(last: Sequence[Pair]) -> Remark | None:
    """Reward margin and difference of lengths correlate by TIED or more, or by -TIED or less."""
    correlation = pairs.length_correlation(last)
    if correlation is None or abs(correlation) < TIED:
        return None
    which = "longer" if correlation > 0 else "shorter"
    return Remark(
        "warning",
        "The margin is tied to length",
        f"correlation of reward margin and length difference {correlation:.2f}, over {len(last)} pairs at step "
        f"{max(pair['step'] for pair in last)}",
        f"The model may be learning that the {which} answer is the better one, whatever it says.",
        "Balance lengths in the data; if the loss reads sums of log-probs, take means (dpo_average_log_prob: true).",
    )
