# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run whose numbers are not finite stops, and never saves weights that are not over ones that are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from llamafactory.extras import logging
from transformers import Trainer
from typing_extensions import override

from ..arguments.resume import newest_complete
from ..rows.collate import describe_rows
from ..rows.fields import ROW, SCORE_FIELDS, SOURCE, TAG

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

ROWS = "row_names"
"""In a batch: a `RowNames`. No model input."""

_KEPT = 1000  # batches between two log lines
_CAUSES = (
    "Likely causes: a `learning_rate` or `pref_beta` that is too high, a loss of your own that divides by 0 or takes "
    "the logarithm of it, fp16 where the model needs bf16, or a model that holds such numbers from the start."
)


@dataclass(frozen=True)
class RowNames:
    """Where the rows of a batch come from; an object that nobody moves to a device."""

    rows: list[dict[str, Any]]


@dataclass
class NamingCollator:
    """Any collator's batch, with the names of its rows, and their scores and tags if they have any, beside it."""

    collator: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate tokenized rows."""
        names = [{name: row[name] for name in (SOURCE, ROW, *SCORE_FIELDS, TAG) if name in row} for row in features]
        return {**self.collator(features), ROWS: RowNames(names)}


def non_finite(logs: Mapping[str, Any]) -> list[str]:
    """Names of the logged numbers that are NaN or infinite."""
    return [name for name, value in logs.items() if isinstance(value, float) and not math.isfinite(value)]


class FiniteTrainer(Trainer):
    """A Trainer that looks whether its numbers are finite.

    Attributes:
        stop_after: log lines in a row after which it stops; 0 for never.
        norm_counts: whether the norm of the gradient is looked at. Under fp16 it is infinite now and then: such a step
            is left out, and gradients are scaled less.
    """

    stop_after = 3
    norm_counts = True
    _in_a_row = 0
    _first = ""  # what is known of the first of them
    _losses: deque[tuple[RowNames | None, torch.Tensor]] | None = None

    def note(self, batch: Mapping[str, Any], loss: torch.Tensor) -> None:
        """Remember the loss of a batch until the next log line. Does not wait for the device."""
        if self._losses is None:
            self._losses = deque(maxlen=_KEPT)
        self._losses.append((batch.get(ROWS), loss.detach()))

    def look_at(self, logs: Mapping[str, Any]) -> None:
        """Look at a log line of the training, the same on all ranks.

        Raises:
            ValueError: the last `stop_after` of them had numbers that are not finite.
        """
        seen, self._losses = self._losses or (), None
        wrong = non_finite(logs)
        if not wrong:
            self._in_a_row = 0
            return
        step = self.state.global_step
        where = _rows_of(list(seen))
        line = f"Step {step}: not finite: {', '.join(wrong)}{f' (of {where})' if where else ''}."
        if not self._in_a_row:
            self._first = line
        self._in_a_row += 1
        logger.warning_rank0(f"{line} The run is not learning.")
        if self._in_a_row == self.stop_after:
            raise ValueError(
                f"The run stops, because {self._in_a_row} log lines in a row have numbers that are not finite. "
                f"{self._first} {_kept(self.args.output_dir)} {_CAUSES} `stop_after_nonfinite` in the recipe is the "
                "number of log lines, 0 for never."
            )

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As upstream, unless the weights are not finite.

        Raises:
            ValueError: they are not, on this rank or another.
        """
        wrong = sorted(set(gather_object(non_finite_weights(self.model))))
        if wrong:
            shown = ", ".join(wrong[:3]) + ", ..." * (len(wrong) > 3)
            raise ValueError(
                f"Step {self.state.global_step}: the model is not saved, because {len(wrong)} of its tensors hold NaN "
                f"or infinite numbers ({shown}). {self._first} {_kept(self.args.output_dir)} {_CAUSES}"
            )
        super().save_model(output_dir, _internal_call)


def non_finite_weights(model: torch.nn.Module) -> list[str]:
    """Names of parameters that train and are not finite, of those parts that this rank holds."""
    parts = {name: _held(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parts:
        return []
    sound = torch.stack([torch.isfinite(part).all() for part in parts.values()]).tolist()
    return [name for name, fine in zip(parts, sound, strict=True) if not fine]


def _held(parameter: Any) -> torch.Tensor:
    """The part of a parameter that this rank holds, under ZeRO-3 or FSDP."""
    part = getattr(parameter, "ds_tensor", parameter)
    return part.to_local() if hasattr(part, "to_local") else part.detach()


def _rows_of(seen: list[tuple[RowNames | None, torch.Tensor]]) -> str:
    """Rows of the batches, of all ranks, whose loss is not finite."""
    found: list[dict[str, Any]] = []
    if seen:
        sound = torch.isfinite(torch.stack([loss for _, loss in seen])).tolist()
        bad = [names for (names, _), fine in zip(seen, sound, strict=True) if not fine and names is not None]
        found = [row for names in bad[:2] for row in names.rows]
    found = gather_object(found)
    return describe_rows(found[:16]) if found else ""


def _kept(output_dir: str) -> str:
    newest = newest_complete(output_dir)
    return f"The newest checkpoint is {newest}." if newest else "There is no checkpoint."
