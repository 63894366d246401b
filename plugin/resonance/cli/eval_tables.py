# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The tables of `resonance eval-pairs`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .table import print_table

_MEANS = ("chosen", "rejected", "margin")
# Columns of the table of policies: the key, the header, and what it is.
COLUMNS = {
    "accuracy_mean": ("acc/token", "share of pairs whose chosen answer has the higher mean log-prob a token"),
    "accuracy_sum": ("acc/sum", "the same by the sum over the answer, which favours short answers"),
    "accuracy_reference_mean": ("acc-ref/token", "the same by what the mean gained on the reference's"),
    "accuracy_reference_sum": ("acc-ref/sum", "the same by sums: the accuracy of DPO's implicit reward"),
    "margin_mean": ("margin/token", "mean difference of the mean log-probs a token, chosen - rejected, in nats"),
    "margin_reference": ("margin-ref/token", "the same above the reference's difference"),
}


def write_csv(path: Path, found: Iterable[Mapping[str, Any]]) -> None:
    """A line a model and group."""
    lines = [
        {"model": of["model"], "pairs of": group, **values} for of in found for group, values in of["pairs"].items()
    ]
    names = dict.fromkeys(name for line in lines for name in line)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(lines)


def print_rewards(found: Mapping[str, Mapping[str, float]]) -> None:
    print_table(
        ("pairs of", "pairs", "accuracy", *_MEANS),
        (
            (name, f"{of['pairs']:,}", f"{of['accuracy']:.1%}", *(f"{of[k]:.2f}" for k in _MEANS))
            for name, of in found.items()
        ),
    )


def print_policies(found: Sequence[Mapping[str, Any]]) -> None:
    """The groups, each with a line a model; what the columns are; the calibration."""
    every = list(dict.fromkeys(group for of in found for group in of["pairs"]))
    keys = [key for key in COLUMNS if any(key in of["pairs"]["all"] for of in found)]
    rows = []
    for group in every:
        for of in found:
            if (values := of["pairs"].get(group)) is None:  # a tokenizer that leaves this bin of lengths empty
                continue
            cells = (f"{values[key]:.1%}" if "acc" in key else f"{values[key]:+.3f}" for key in keys if key in values)
            shown = iter(cells)
            rows.append(
                (group, of["model"], f"{values['pairs']:,}", *(next(shown) if k in values else "-" for k in keys))
            )
    print_table(("pairs of", "model", "pairs", *(COLUMNS[key][0] for key in keys)), rows)
    print()
    print_table(("column", "what"), (COLUMNS[key] for key in keys))
    for of in found:
        print(f"\n{of['model']}: reference {of['reference'] or 'none (--ref MODEL)'}; template {of['template']}")
        if long := int(of["pairs"]["all"]["overlong"]):
            print(f"  {long:,} pairs are longer than cutoff_len {of['cutoff_len']} of its training; read whole")
        _print_calibration(of["calibration"])


def _print_calibration(found: Mapping[str, Any]) -> None:
    print(
        f"  calibration of p = sigmoid({found['beta']:g} * margin), margin: {found['margin']}; "
        f"confidence max(p, 1 - p); expected calibration error {found['error']:.3f}"
    )
    print_table(
        ("  confidence", "pairs", "mean", "ranked right"),
        (
            (f"  {of['from']:.1f}-{of['to']:.1f}", f"{of['pairs']:,}", f"{of['confidence']:.1%}", f"{of['right']:.1%}")
            for of in found["bins"]
        ),
    )
