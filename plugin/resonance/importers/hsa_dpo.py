# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""HSA-DPO, arXiv 2404.14233: answers with faults and their corrections, with how severe the faults are.

A row of ``hsa_dpo_preference_llava1dot5.jsonl`` is ``{id, question, chosen, rejected, chosen_score, rejected_score}``,
the image ``ID.jpg`` of ``hsa_dpo_imgs.tar.gz``, as the authors' README and `train_dpo.py` say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import labels, number, references, text, value
from .spec import Example, Importer, Options, question


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair; the two numbers are kept under a name that says what they are."""
    turns, chosen, rejected = question(text(row, "question")), text(row, "chosen"), text(row, "rejected")
    images = references(row, "image") or [f"{value(row, 'id')}.jpg"]
    severities = {
        f"severity_{side}": number(row[f"{side}_score"], f"{side}_score")
        for side in ("chosen", "rejected")
        if row.get(f"{side}_score") is not None
    }
    yield Example(turns, chosen, rejected, images, extra=labels(row, "id") | severities)


IMPORTER = Importer(
    name="hsa_dpo",
    summary="answers of LLaVA with faults, and their corrections; --image-root: hsa_dpo_imgs.tar.gz",
    convert=convert,
    hub_id="WenyiXiao/HSA-DPO",
    hub_file=lambda options: "hsa_dpo_preference_llava1dot5.jsonl",
    files=("hsa_dpo_preference*.jsonl", "*.jsonl"),
    note=lambda options: (
        "No scores: chosen_score and rejected_score say how severe the faults are, so more is worse. They are kept as "
        "severity_chosen and severity_rejected; no loss here reads them."
    ),
)
