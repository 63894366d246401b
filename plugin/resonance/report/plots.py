# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Figures for the page, as plotly reads them: plain dicts. Every name in them is escaped, for plotly reads markup."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from ..datafiles.text import shorten
from .completions import writable
from .figure import COLOURS, DASHES, look
from .pairs import Pair, Places, is_number, with_lengths
from .run import Run
from .series import Drawn, Series, is_smoothed, running_mean, thinned

NAME = 40  # characters of a name that are shown
HEIGHT = 230  # pixels of a panel
DOTS = 4000  # of a scatter plot
BINS = 30
_AXIS = {"gridcolor": "#e8e8e8", "zeroline": False, "automargin": True, "tickfont": {"size": 10}}

Figure = dict[str, Any]


def plain(text: str, length: int = NAME) -> str:
    """A text that plotly shows letter for letter."""
    return escape(writable(shorten(" ".join(text.split()), length)), quote=False)


def curves(drawn: Drawn, runs: Sequence[Run]) -> Figure:
    """A panel: of several runs a colour each, of one run a colour for each curve; evaluation has points."""
    names = [run.name for run in runs]
    traces = [trace for one in drawn.series for trace in _curve(drawn, one, names)]
    if len(runs) > 1:
        traces += _legend(drawn, names)
    shapes = []
    if drawn.panel.chance is not None:
        at = {"xref": "paper", "x0": 0, "x1": 1, "y0": drawn.panel.chance, "y1": drawn.panel.chance}
        shapes = [{"type": "line", **at, "line": {"color": "#999", "width": 1}}]
    layout = _layout("step", drawn.panel.unit)
    return {"data": traces, "layout": {**layout, "shapes": shapes, "showlegend": _has_legend(drawn, runs)}}


def _has_legend(drawn: Drawn, runs: Sequence[Run]) -> bool:
    return len({(one.metric, one.split) for one in drawn.series}) > 1 or (len(runs) == 1 and len(drawn.series) > 1)


def _curve(drawn: Drawn, one: Series, names: Sequence[str]) -> list[Figure]:
    colour, dash, _ = look(drawn, one, names)
    label = plain(look(drawn, one, ["run"])[2])
    mean = running_mean(one.values) if is_smoothed(drawn.panel, one) else None
    pointed = one.split != "train" or len(one.steps) == 1
    hover = f"step %{{x}}: %{{y:.5g}}<extra>{_no_template(plain(names[one.run], 25))}</extra>"
    common = {
        "type": "scatter",
        "mode": "lines+markers" if pointed else "lines",
        "name": label,
        "showlegend": len(names) == 1,
        "marker": {"size": 5, "color": colour},
        "hovertemplate": hover,
    }
    line = {"color": colour, "dash": DASHES[dash], "width": 1.8}
    if mean is None:
        return [{**common, **_points(one.steps, one.values), "line": line}]
    behind = {"showlegend": False, "opacity": 0.3, "line": {**line, "width": 1}}
    smooth = {**_points(one.steps, mean), "line": line, "hovertemplate": hover.replace("<extra>", " (mean)<extra>")}
    return [{**common, **_points(one.steps, one.values), **behind}, {**common, **smooth}]


def _legend(drawn: Drawn, names: Sequence[str]) -> list[Figure]:
    """Which dash is which curve, in grey: the colours are runs."""
    dashes = {plain(look(drawn, one, ["run"])[2]): look(drawn, one, names)[1] for one in drawn.series}
    return [
        {"type": "scatter", "mode": "lines", "x": [None], "y": [None], "name": label, "showlegend": True,
         "line": {"color": "#555", "dash": DASHES[dash], "width": 1.8}}
        for label, dash in dashes.items()
    ]  # fmt: skip


def _points(steps: Sequence[float], values: Sequence[float]) -> Figure:
    x, y = thinned(steps, values)
    return {"x": x, "y": [value if math.isfinite(value) else None for value in y]}


def plane(found: Places) -> Figure | None:
    """Score margin and reward margin of each pair, where it was first and where it is last; None without scores."""
    scored = {name: pair for name, pair in found.last.items() if is_number(pair.get("score_margin"))}
    if not scored:
        return None
    moments = [("last", list(scored.values()), COLOURS[0])]
    if earlier := [found.first[name] for name, pair in scored.items() if pair is not found.first[name]]:
        moments.insert(0, ("first", earlier, "#aaaaaa"))
    traces = [
        _dots([pair["score_margin"] for pair in pairs], [pair["reward_margin"] for pair in pairs], pairs, when, colour)
        for when, pairs, colour in moments
    ]
    return {"data": traces, "layout": {**_layout("score margin", "reward margin"), **_crossed()}}


def against_length(found: Places) -> Figure | None:
    """Reward margin at the end and how many tokens the chosen answer has more; None without lengths."""
    pairs = with_lengths(found.last.values())
    longer = [pair["len_chosen"] - pair["len_rejected"] for pair in pairs]
    dots = _dots(longer, [pair["reward_margin"] for pair in pairs], pairs, "last", COLOURS[1])
    layout = {**_layout("tokens that the chosen answer has more", "reward margin"), **_crossed(), "showlegend": False}
    return {"data": [dots], "layout": layout} if pairs else None


def histograms(found: Places) -> Figure | None:
    """Weights of the pairs at the end; None without weights."""
    traces = []
    for number, name in enumerate(("w_qual", "w_perf")):
        values = [pair[name] for pair in found.last.values() if is_number(pair.get(name))]
        if values:
            traces.append({"type": "histogram", "x": values, "name": name, "nbinsx": BINS, "opacity": 0.6,
                           "marker": {"color": COLOURS[number]}})  # fmt: skip
    return {"data": traces, "layout": {**_layout("weight", "pairs"), "barmode": "overlay"}} if traces else None


def spread(label: str, groups: dict[str, list[float]]) -> Figure:
    """Histograms over one another, such as the rewards of the first and the last rollout."""
    colours = ["#aaaaaa", COLOURS[0]] if len(groups) > 1 else [COLOURS[0]]
    traces = [
        {"type": "histogram", "x": [value for value in values if is_number(value)], "name": plain(name),
         "nbinsx": BINS, "opacity": 0.65, "marker": {"color": colour}}
        for (name, values), colour in zip(groups.items(), colours, strict=True)
    ]  # fmt: skip
    return {"data": traces, "layout": {**_layout(plain(label), "completions"), "barmode": "overlay"}}


def _dots(x: Sequence[float], y: Sequence[float], pairs: Sequence[Pair], when: str, colour: str) -> Figure:
    every = math.ceil(len(pairs) / DOTS) if pairs else 1
    texts = [
        f"{plain(str(pair.get('dataset')))}, row {plain(str(pair.get('row')))}, step {pair['step']:g}"
        for pair in pairs
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": when,
        "x": list(x[::every]),
        "y": list(y[::every]),
        "text": texts[::every],
        "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
        "marker": {"size": 5, "color": colour, "opacity": 0.55},
    }


def _layout(x: str, y: str) -> Figure:
    return {
        "height": HEIGHT,
        "margin": {"l": 46, "r": 8, "t": 8, "b": 34},
        "xaxis": {**_AXIS, "title": {"text": x, "font": {"size": 10}, "standoff": 4}},
        "yaxis": {**_AXIS, "title": {"text": y, "font": {"size": 10}, "standoff": 4}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 10}},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "font": {"color": "#222"},
        "showlegend": True,
    }


def _crossed() -> Figure:
    """Lines through the origin."""
    line = {"type": "line", "line": {"color": "#999", "width": 1}}
    return {
        "shapes": [
            {**line, "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0},
            {**line, "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0},
        ]
    }


def _no_template(text: str) -> str:
    """Plotly fills in what stands between ``%{`` and ``}``."""
    return text.replace("%{", "% {")


def as_json(figures: Sequence[Figure]) -> str:
    """JSON that can stand in a page: nothing in it ends a script or begins markup."""
    text = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
