# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tokenized rows -> batch. LlamaFactory makes the 2B model inputs; carried columns lie beside them, shape (B,)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from llamafactory.data.collator import MultiModalDataCollatorForSeq2Seq, PairwiseDataCollatorWithPadding

from .fields import CARRIED, IMAGE_SIZES, ROW, SOURCE
from .images import SHOWN, Shown, reading_once
from .overlong.shrink_image import resized
from .validate.rules import unreadable
from .vision.header import stored


class LaysOut(Protocol):
    """Lays out batches for the models that will read them (`forward.planner.Planner`)."""

    key: str

    @property
    def ready(self) -> bool:
        """Whether it is known who will read them."""

    def __call__(self, batch: Mapping[str, Any], shown: Mapping[str, Any] | None) -> Any:
        """An object that travels in the batch as `key`."""


@dataclass
class PreferenceCollator(PairwiseDataCollatorWithPadding):
    """Collate pairs. Carried columns, if any, are no model inputs: the trainer takes them out before a forward.

    With `lay_out`, which a trainer may set, a batch holds the pixels of each distinct image once, and its layout.
    With `longer`, too, the ids and labels of each sequence are what it makes of them. With `corrupt` the 2B rows are
    followed by the chosen ones again, beside the images that it makes of theirs.
    """

    lay_out: LaysOut | None = None
    longer: Callable[[list[int], list[int]], tuple[list[int], list[int]]] | None = None
    corrupt: Callable[[dict[str, Any]], list[Any]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        template = copy.copy(vars(self)["template"])  # tokenization goes on with the original
        template.mm_plugin = reading_once(template.mm_plugin, self._lays_out)
        self.template = template

    def _lays_out(self) -> bool:
        return self.lay_out is not None and self.lay_out.ready

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return LlamaFactory's batch and, if the rows carry any, the columns of CARRIED as float32 tensors (B,).

        Raises:
            ValueError: if only some rows carry a column, or a row's media cannot be decoded; names the rows.
        """
        carried = stack_carried(features)
        sides = 2 if self.corrupt is None else 3
        counts = {
            kind: [len(feature.get(f"{kind}s") or []) for feature in features] * sides for kind in ("image", "video")
        }
        try:
            batch = self._inputs([at_counted_size(self._lengthened(feature)) for feature in features])
        except Exception as error:
            rows = describe_rows(features)
            raise ValueError(
                f"Cannot build a batch from {rows} ({type(error).__name__}: {error}).{undecodable(features)}"
            ) from error
        shown = batch.pop(SHOWN, None)
        if self.lay_out is not None and self.lay_out.ready:
            batch[self.lay_out.key] = self.lay_out(batch, None if shown is None else shown_by_row(shown, counts))
        batch.update(carried)
        return batch

    def _inputs(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """The model inputs of 2B rows, or of 3B with `corrupt`."""
        if self.corrupt is None:
            return super().__call__(features)
        shown = [(side, feature, feature["images"]) for side in ("chosen", "rejected") for feature in features]
        shown += [("chosen", feature, self.corrupt(feature)) for feature in features]
        parts, beside = ("input_ids", "attention_mask", "labels"), ("videos", "audios")
        rows = [
            {part: feature[f"{side}_{part}"] for part in parts}
            | {"images": images, **{name: feature[name] for name in beside}}
            for side, feature, images in shown
        ]
        return MultiModalDataCollatorForSeq2Seq.__call__(self, rows)

    def _lengthened(self, feature: dict[str, Any]) -> dict[str, Any]:
        if self.longer is None:
            return feature
        changed = dict(feature)
        for side in ("chosen", "rejected"):
            ids, labels = self.longer(feature[f"{side}_input_ids"], feature[f"{side}_labels"])
            changed |= {f"{side}_input_ids": ids, f"{side}_labels": labels}
            changed[f"{side}_attention_mask"] = [1] * len(ids)
        return changed


def shown_by_row(shown: Mapping[str, Shown], counts: Mapping[str, list[int]]) -> dict[str, Any]:
    """By kind, the images of each row of the batch, and the rows of pixels of each image.

    Args:
        shown: of `images.SHOWN`.
        counts: images of each row. LlamaFactory gives the first row one if no row has any.
    """
    found = {}
    for kind, images in shown.items():
        each = counts[kind] if sum(counts[kind]) else [len(images.order), *counts[kind][1:]]
        found[kind] = images.by_row(each), images.lengths
    return found


def at_counted_size(feature: dict[str, Any]) -> dict[str, Any]:
    """Give a row's images the sizes that its tokens were counted with; see `overlong: shrink_image`."""
    if not feature.get(IMAGE_SIZES):
        return feature
    sizes = json.loads(feature[IMAGE_SIZES])
    images = [resized(image, size) for image, size in zip(feature["images"], sizes, strict=True)]
    return {**feature, "images": images}


def stack_carried(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return the columns that tokenized rows carry as float32 tensors (B,); none if no row carries any.

    Raises:
        ValueError: if only some rows carry a group of columns; names the others.
    """
    stacked: dict[str, torch.Tensor] = {}
    for group in dict.fromkeys(column.group for column in CARRIED):
        names = [column.name for column in CARRIED if column.group == group]
        missing = [row for row in features if any(row.get(name) is None for name in names)]
        if len(missing) == len(features):
            continue
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(features)} rows of a batch carry no {group}: {describe_rows(missing)}. "
                f"Data tokenized with and without {group} were mixed; delete the `tokenized_path` folder and tokenize "
                "again."
            )
        stacked |= {name: torch.tensor([row[name] for row in features], dtype=torch.float32) for name in names}
    return stacked


def undecodable(features: list[dict[str, Any]]) -> str:
    """Name the images of rows, aligned or tokenized, that cannot be decoded, with what to do; empty if all can be."""
    told = []
    for feature in features:
        for image in feature.get("images") or feature.get("_images") or []:
            try:
                resized(image, (1, 1))
            except Exception as error:  # whatever a decoder makes of broken bytes
                source = stored(image)
                found = unreadable(source if isinstance(source, str | bytes) else b"", error).message
                told.append(f"\n  {describe_rows([feature])}: {found}")
    cure = "\nReplace these images or remove the rows; `resonance data check NAME --decode` finds all of them."
    return "".join(dict.fromkeys(told)) + cure if told else ""


def describe_rows(features: list[dict[str, Any]]) -> str:
    """Name the rows of a batch: ``data/pairs.json rows 3, 8``."""
    rows: dict[str, list[str]] = {}
    for feature in features:
        rows.setdefault(str(feature.get(SOURCE, "unnamed source")), []).append(str(feature.get(ROW, "?")))
    return "; ".join(
        f"{source} row{'s' * (len(numbers) > 1)} {', '.join(numbers)}" for source, numbers in rows.items()
    )
