# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of reference log-probabilities on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ReferenceKeys:
    r"""Whether and where the log-probabilities of the reference model are kept."""

    precompute_ref_log_probs: bool = field(
        default=False,
        metadata={
            "help": (
                "Compute the reference model's log-probabilities of all rows once, keep them on disk, and train "
                "without a reference model."
            )
        },
    )
    ref_log_probs_dir: str | None = field(
        default=None,
        metadata={
            "help": ("Where they are kept; several runs may share a folder. Unset: `ref_log_probs` below output_dir.")
        },
    )
    precompute_only: bool = field(
        default=False,
        metadata={"help": "Stop when they are computed, without training: what `resonance precompute` does."},
    )


def reference_problems(values: Mapping[str, Any], needs_reference: bool) -> list[str]:
    """What is wrong with these keys of a recipe, as messages that start with the key."""
    from .places import output_problems

    asked, folder, only = (values[f] for f in ReferenceKeys.__dataclass_fields__)
    found = [
        f"{key}: {value!r} is not true or false"
        for key, value in (("precompute_ref_log_probs", asked), ("precompute_only", only))
        if not isinstance(value, bool)
    ]
    if folder is not None and not isinstance(folder, str):
        return [*found, f"ref_log_probs_dir: {folder!r} is not a path"]
    if not asked:
        given = {"ref_log_probs_dir": folder is not None, "precompute_only": only}
        return found + [f"{key}: needs `precompute_ref_log_probs: true`" for key, there in given.items() if there]
    if not needs_reference:
        found.append(
            f"precompute_ref_log_probs: pref_loss: {values['pref_loss']} has no reference model, so there is nothing "
            "to compute; remove the key"
        )
    if values.get("streaming"):
        found.append(
            "precompute_ref_log_probs: the rows of a stream are not known before the training; set `streaming: false`"
        )
    if values.get("ignore_pad_token_for_loss") is False:
        found.append(
            "precompute_ref_log_probs: with `ignore_pad_token_for_loss: false` a row's log-probability depends on the "
            "padding of its batch, so it cannot be kept"
        )
    return found + output_problems(folder, "ref_log_probs_dir")
