# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`plot_loss: true` for runs of ours: LlamaFactory's own pictures, and `curves.png` with every metric on one page."""

from __future__ import annotations

import shlex
from pathlib import Path

from llamafactory.extras import logging
from llamafactory.extras.ploting import plot_loss as llamafactory_plot_loss
from matplotlib import pyplot as plt

from ..report.figure import FILE, draw
from ..report.run import read_run

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def plot_loss(save_dictionary: str, keys: list[str] | None = None) -> None:
    """LlamaFactory's curves for those of `keys` that were logged, and one page of all."""
    run = read_run(save_dictionary)
    for name in keys or ["loss"]:
        if run.curve(name)[0]:
            llamafactory_plot_loss(save_dictionary, keys=[name])
            plt.close("all")  # upstream leaves every figure open
    if run.metrics:
        draw(Path(save_dictionary, FILE), [run])
        logger.info_rank0(f"All curves on one page: {Path(save_dictionary, FILE)}; as a page with remarks: "
                          f"resonance report {shlex.quote(save_dictionary)}")  # fmt: skip
