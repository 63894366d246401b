# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""MMPR, MMPR-v1.1 and MMPR-v1.2, arXiv 2411.10442: pairs about no image, one or several, in many files.

A row is ``image`` (a path, or a list of paths), ``question`` with or without ``<image>``, ``chosen``, ``rejected``, as
the card says. ``meta.json`` lists the files and the folder that the paths of each start from, as InternVL reads it;
give it, or the folder it is in, once ``annotations.zip`` and the joined ``images.zip`` are unpacked beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import references, text
from .manifest import ROOT
from .spec import Example, Importer, Options, question


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one pair."""
    root = row.get(ROOT)
    images = [f"{root}/{path}" if root else path for path in references(row, "image", "images")]
    yield Example(question(text(row, "question")), text(row, "chosen"), text(row, "rejected"), images=images)


IMPORTER = Importer(
    name="mmpr",
    summary="reasoning about images, the right answers and wrong ones: give meta.json or its folder",
    convert=convert,
    hub_id="OpenGVLab/MMPR-v1.2",
    terms="MIT; the images and questions have the terms of the sets they are from",
    files=("meta.json", "*.jsonl", "*"),
    manifest="meta.json",
    streams=False,
    note=lambda options: (
        "All rows are taken. The authors train on a part of each file (`repeat_time` of meta.json): "
        "some 400,000 pairs of three million."
    ),
)
