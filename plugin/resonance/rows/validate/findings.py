# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with a row or a file, in training and in `resonance data check` alike. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..fields import BAD_LABEL

SHOWN = 10  # rows in a message

INVALID_TURNS = "invalid turns"
EMPTY_RESPONSE = "empty response"
EMPTY_PROMPT = "empty prompt"
IDENTICAL_PAIR = "identical pair"
SKIPPED_KINDS = (INVALID_TURNS, EMPTY_RESPONSE, EMPTY_PROMPT, IDENTICAL_PAIR)
"""Kinds of rows that teach nothing: they are left out; every other kind stops a run."""


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes:
        kind: by which findings are counted and cured.
        message: what was found, without the place.
        source: the file or the hub dataset.
        row: counted from 0; None for what concerns the whole source.
    """

    kind: str
    message: str
    source: str = ""
    row: int | None = None

    @property
    def skips(self) -> bool:
        """Whether the row is left out; otherwise the finding stops the run."""
        return self.kind in SKIPPED_KINDS

    def at(self, source: str, row: int | None) -> Finding:
        """Return the same finding with its place."""
        return self._replace(source=source, row=row)

    def __str__(self) -> str:
        """Return the place, then the message."""
        where = self.source if self.row is None else f"{self.source}, row {self.row}"
        return f"{where}: {self.message}"


IMAGE_IN_ANSWER = "image in answer"

_PATH = "Correct the path, or set `media_dir` to the folder that the paths start from."
CURES = {
    "bad score": "Give every row a finite number in its columns of scores, margin and weight, and no weight below 0 "
    "(a NaN in a JSON list reads as null), or choose a pref_loss that needs none and leave `sample_weights` out.",
    BAD_LABEL: "Give every row true or false in the column that the entry names as `kto_tag`; in a CSV file they are "
    "text, so save the file as JSON or parquet.",
    IMAGE_IN_ANSWER: "Take the placeholders out of the answers: KTO also reads an answer behind the prompt of another "
    "row, which has no such media.",
    "image missing": _PATH,
    "video missing": _PATH,
    "audio missing": _PATH,
    "video unreadable": "Give each video as the path of a file, or as a list of frames' paths.",
    "audio unreadable": "Give each audio as the path of a file.",
    "not a path": "Write the path of a file for each: training fetches and decodes nothing.",
    "no image": "The loss of this recipe compares images with corrupted ones: leave such rows out, take a `template` "
    "of a model that sees images, or choose another pref_loss.",
    "image unreadable": "Replace the image, or remove the row.",
    "placeholder count": "Write one placeholder per item; prompt + chosen and prompt + rejected count separately. "
    "`resonance data check NAME --fix OUT.json` writes a copy with them in rows that have none. If the media are in a "
    "column that the entry does not name, name it; a text-only `template` needs no placeholders.",
    "media token": "Take the token out of the text, or write it otherwise, as `<| image_pad |>`: a placeholder such "
    "as `<image>` stands for an image, the model's own token has none behind it.",
    "message not text": "Make every message's content plain text and put images into the `images` column.",
    "row unreadable": "Correct the row, or the `columns` and `tags` of its dataset_info.json entry.",
    "mixed column": "Give the column one type in every row.",
    "late column": "Move that row to the top of the file, or save the file as a JSON list, which is read whole.",
    "large number": "Write the number with a point or an exponent (1e30), or as text.",
    "dates": "Save the file as a JSON list, in which they stay text.",
    "not UTF-8": "Save the file as UTF-8, without a byte order mark.",
    "not JSON": "Correct the line; `python -m json.tool --json-lines FILE` shows the place in a .jsonl file.",
}


def explain(
    dataset: str, findings: Sequence[Finding], total: int | None = None, cures: Mapping[str, str] | None = None
) -> str:
    """Return one message about all findings of a dataset: counts by kind, the commonest first, then the first rows.

    Args:
        dataset: its name.
        findings: all of them.
        total: rows of the dataset, if they were counted.
        cures: what to do about kinds that are not in CURES.
    """
    cures = {**CURES, **(cures or {})}
    counts = Counter(finding.kind for finding in findings).most_common()
    rank = {kind: place for place, (kind, _) in enumerate(counts)}
    ordered = sorted(findings, key=lambda finding: rank[finding.kind])
    of_total = "" if total is None else f" in {len({(f.source, f.row) for f in findings})} of {total} rows"
    lines = [
        f"Dataset {dataset}: {len(findings)} problem{'s' * (len(findings) > 1)}{of_total} "
        f"({', '.join(f'{count} {kind}' for kind, count in counts)}). Rows count from 0.",
        *(f"  {finding}" for finding in ordered[:SHOWN]),
    ]
    if len(ordered) > SHOWN:
        lines.append(f"  ... and {len(ordered) - SHOWN} more.")
    lines += [f"To do ({kind}): {cures[kind]}" for kind, _ in counts]
    return "\n".join(lines)
