# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Raw row -> aligned row. Wraps whichever converter LlamaFactory picks: each gains the columns we carry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llamafactory.data.converter import DatasetConverter
from llamafactory.data.converter import get_dataset_converter as llamafactory_dataset_converter

from .fields import CARRIED, ROW, SOURCE, own_value
from .plan import RowPlan, get_plan
from .prompts import PromptConverter, prompt_converter

LONGEST = 300  # characters of a line that a converter logs


def cut_line(record: logging.LogRecord) -> bool:
    """Cut what a converter logs: it quotes whole messages and media, which may be megabytes of base64 text."""
    line = record.getMessage()
    if len(line) > LONGEST:
        record.msg, record.args = f"{line[:LONGEST]}... (+{len(line) - LONGEST})", ()
    return True


@dataclass(frozen=True)
class ScoredConverter:
    """Convert one example and keep where it came from and the columns that the run needs.

    The plan is a field because cached datasets are keyed by this object's state, not by its code.

    Args:
        inner: LlamaFactory's converter, or a third party's.
        raw_names: what the columns of CARRIED are called in the data, in that order.
        plan: what the run needs.
    """

    inner: Callable[[dict[str, Any]], dict[str, Any]]
    raw_names: tuple[Any, ...]
    plan: RowPlan

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the aligned row.

        Raises:
            ValueError: if the inner converter fails; names source and row.
        """
        try:
            output = self.convert(example)
        except Exception as error:
            where = f"{example.get(SOURCE)}, row {example.get(ROW)}"
            raise ValueError(f"{where}: cannot be converted ({type(error).__name__}: {error}).") from error

        output[SOURCE] = example[SOURCE]
        output[ROW] = example[ROW]
        for column, raw_name in zip(CARRIED, self.raw_names, strict=True):
            if column in self.plan.carried:
                raw = own_value(
                    example[raw_name], example[SOURCE]
                )  # the caller reports what is wrong with it, all at once
                output[column.aligned] = column.stand_in if column.problem(raw) else column.value(raw)
        return output

    def convert(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return what LlamaFactory's converter makes of an example; raises what it raises."""
        return self.inner(example)


def get_dataset_converter(name: str, dataset_attr: Any, data_args: Any) -> ScoredConverter | PromptConverter:
    """Return LlamaFactory's converter of this formatting, wrapped."""
    logging.getLogger(DatasetConverter.__module__).addFilter(cut_line)
    inner, plan = llamafactory_dataset_converter(name, dataset_attr, data_args), get_plan(data_args)
    if plan.kind == "prompts":
        return prompt_converter(inner, dataset_attr)
    return ScoredConverter(inner, tuple(getattr(dataset_attr, column.name, None) for column in CARRIED), plan)
