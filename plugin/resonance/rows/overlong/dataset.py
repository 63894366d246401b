# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What tokenizing found too long, judged for a whole dataset: it stops the run, is left out, or is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import datasets
from llamafactory.data.loader import _get_preprocessed_dataset as llamafactory_get_preprocessed_dataset
from llamafactory.extras import logging

from ..fields import OVERLONG, ROW, SOURCE
from ..validate.dataset import forget_cache
from ..validate.findings import SHOWN, SKIP_FILE, summarize
from .policy import Overlong
from .report import Place, Report, make_report

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def get_preprocessed_dataset(dataset: Any, data_args: Any, training_args: Any, *args: Any, **kwargs: Any) -> Any:
    """Tokenize like LlamaFactory, then judge what was found too long.

    Raises:
        ValueError: listing every row that is too long and may not be dropped, shrunk or cut; or if no row is left.
    """
    tokenized = llamafactory_get_preprocessed_dataset(dataset, data_args, training_args, *args, **kwargs)
    if isinstance(tokenized, datasets.IterableDataset):
        return tokenized.filter(StreamSettler(make_report(training_args))).remove_columns([OVERLONG])
    if tokenized is None or OVERLONG not in tokenized.column_names:  # another stage's
        return tokenized
    return settle(tokenized, make_report(training_args))


def settle(tokenized: Any, report: Report) -> Any:
    """Judge a map-style dataset; see get_preprocessed_dataset."""
    marked = {i: Overlong.loads(text) for i, text in enumerate(tokenized.with_format(None)[OVERLONG]) if text}
    settled = tokenized.remove_columns(OVERLONG)
    if not marked:
        return settled
    origins = tokenized.select_columns([SOURCE, ROW])
    found = [((origins[i][SOURCE], origins[i][ROW]), overlong) for i, overlong in marked.items()]
    name = ", ".join(dict.fromkeys(source for (source, _), _ in found))

    stoppers = [(place, overlong) for place, overlong in found if overlong.stops]
    if stoppers:
        forget_cache(tokenized)  # a user who then makes an image smaller would get the old length
        raise ValueError(report.stop(name, stoppers, len(tokenized)))
    if found[0][1].policy != "drop":
        logger.warning_rank0(report.shorten(name, found, len(tokenized)))
        return settled
    told = summarize(name, report.skip(found), len(tokenized), report.path(SKIP_FILE))
    if len(marked) == len(tokenized):
        limits = dict.fromkeys(f"`{key}`" for overlong in marked.values() for key in overlong.over)
        raise ValueError(f"{told} No row is left. Raise {' and '.join(limits)}.")
    logger.warning_rank0(told)
    return settled.select([i for i in range(len(tokenized)) if i not in marked])


@dataclass
class StreamSettler:
    """Judge one tokenized row of a stream: whether it goes on.

    Args:
        report: lists rows.
        told: rows that were mentioned in the log.
    """

    report: Report
    told: set[Place] = field(default_factory=set)

    def __call__(self, row: dict[str, Any]) -> bool:
        """Return False for a row that is left out.

        Raises:
            ValueError: if it is too long and may not be dropped, shrunk or cut; names source and row.
        """
        if not row[OVERLONG]:
            return True
        place, overlong = (row[SOURCE], row[ROW]), Overlong.loads(row[OVERLONG])
        found = [(place, overlong)]
        if overlong.stops:
            raise ValueError(self.report.stop(row[SOURCE], found))
        if overlong.policy == "drop":
            self.report.skip(found)
            size, listed = overlong.found.total, self.report.path(SKIP_FILE)
            line = f"{row[SOURCE]}, row {row[ROW]}: skipped, too long ({size} tokens); listed in {listed}."
        else:
            line = self.report.shorten(row[SOURCE], found)
        if self.report.logs and place not in self.told and len(self.told) < SHOWN:
            self.told.add(place)
            last = " Further such rows are only listed." * (len(self.told) == SHOWN)
            logger.warning(line + last)
        return overlong.policy != "drop"
