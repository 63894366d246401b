# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`curves.png`: every panel of a run or of several on one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datafiles.text import printable, shorten
from ..datafiles.write import replacing
from .run import Run
from .series import Drawn, Series, is_smoothed, panels_of, running_mean, thinned

COLUMNS, NAME = 3, 40
MOST = 60  # panels of a picture; the page and the table have all
FILE = "curves.png"
# Colours that people with the common kinds of colour blindness tell apart (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
Dash = str | tuple[int, tuple[int, ...]]
# Of matplotlib, and of plotly: a panel of several runs may have a reward, its parts, and all of them held out.
DASHES: dict[Dash, str] = {
    "-": "solid", "--": "dash", ":": "dot", "-.": "dashdot", (0, (9, 3)): "longdash", (0, (9, 3, 2, 3)): "longdashdot",
    (0, (1, 4)): "2px,8px", (0, (6, 2, 1, 2, 1, 2)): "12px,4px,2px,4px,2px,4px",
}  # fmt: skip


def draw(path: Path, runs: Sequence[Run], title: str = "") -> None:
    """Draw the panels of which any run has a curve; evaluation has points.

    Raises:
        ValueError: nothing to draw was logged.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    main, rest = panels_of(runs)
    shown = (main + rest)[:MOST]
    if not shown:
        raise ValueError(f"{', '.join(run.name for run in runs)}: nothing to draw was logged")
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4.6 * columns, 2.7 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    left_out = len(main + rest) - len(shown)
    if title or left_out:
        more = f"; {left_out} more metrics are in trainer_state.json" if left_out else ""
        figure.suptitle(_plain(title) + more, fontsize=11)
    figure.supxlabel("step", fontsize=8)
    for number, drawn in enumerate(shown, 1):
        _panel(figure.add_subplot(rows, columns, number), drawn, [_plain(run.name) for run in runs])
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


def _panel(axes: Any, drawn: Drawn, names: Sequence[str]) -> None:
    axes.set_title(_plain(drawn.panel.title), fontsize=9)
    axes.set_ylabel(drawn.panel.unit, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    if drawn.panel.chance is not None:
        axes.axhline(drawn.panel.chance, color="grey", linewidth=0.8)
    for one in drawn.series:
        colour, dash, label = look(drawn, one, names)
        evaluated = one.split != "train"
        steps, values = thinned(one.steps, one.values)
        mean = is_smoothed(drawn.panel, one)
        marker = {"marker": "o", "markersize": 3} if evaluated or len(steps) == 1 else {}
        plain = {"alpha": 0.3, "linewidth": 0.8} if mean else {"label": _plain(label), "linewidth": 1.3}
        axes.plot(steps, values, linestyle=dash, color=colour, **marker, **plain)
        if mean:
            smooth = thinned(one.steps, running_mean(one.values) or [])
            axes.plot(*smooth, linestyle=dash, color=colour, linewidth=1.5, label=_plain(label))
    if len(drawn.series) > 1:
        axes.legend(fontsize=6, framealpha=0.6)


def look(drawn: Drawn, one: Series, names: Sequence[str]) -> tuple[str, Dash, str]:
    """Colour, dash and label of a curve: a colour a run, and of one run alone a colour a curve."""
    curves = list(dict.fromkeys((other.metric, other.split) for other in drawn.series))
    metrics = list(dict.fromkeys(other.metric for other in drawn.series))
    splits = list(dict.fromkeys(other.split for other in drawn.series))
    family = {metric.rpartition("/")[0] for metric in metrics}
    metric = one.metric.rpartition("/")[2] if len(metrics) > 1 and len(family) == 1 else one.metric
    parts = [metric] * (len(metrics) > 1 or len(splits) == 1) + [one.split] * (len(splits) > 1)
    label = ", ".join(parts)
    if len(names) == 1:
        dash: Dash = "-" if one.split == "train" else "--"
        return COLOURS[curves.index((one.metric, one.split)) % len(COLOURS)], dash, label
    dash = list(DASHES)[curves.index((one.metric, one.split)) % len(DASHES)]
    name = f"{names[one.run]}: {label}" if len(curves) > 1 else names[one.run]
    return COLOURS[one.run % len(COLOURS)], dash, name


def _plain(text: str) -> str:
    """A text that matplotlib takes for neither a formula nor a hidden label."""
    return shorten(printable(text), NAME).replace("$", r"\$").removeprefix("_")
