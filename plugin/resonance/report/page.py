# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The page: one HTML file that needs no other, and nothing from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datafiles.write import replacing
from . import pairs, plots
from .completions import environment, images_of, shown
from .figure import COLOURS
from .plots import Figure
from .remark import Remark
from .remarks import Material
from .remarks_preference import accuracies_of
from .run import Run
from .series import POINTS, Drawn, panels_of, single_values
from .tables import differences, last_values

TEMPLATE, FILE = "report.html.j2", "index.html"
ABOUT = ("stage", "pref_loss", "ppo_variant", "dataset", "model_name_or_path")  # of the recipe, in the page's head
PROMPTS = 4  # of a rollout that are shown with their completions


@dataclass
class Graph:
    """A graph of the page: where it stands among the figures, and what is written over and under it."""

    number: int
    title: str
    note: str


@dataclass
class Section:
    """What one run left beside its log, as the page shows it."""

    name: str
    graphs: list[Graph] = field(default_factory=list)
    pairs: dict[str, Any] = field(default_factory=dict)
    rollouts: list[Any] = field(default_factory=list)
    has_pictures: bool = False
    has_pairs: bool = False


@dataclass
class Report:
    """What a report is made of.

    Attributes:
        runs: their logs.
        material: what they left beside these, one a run.
        remarks: about each of them.
    """

    runs: list[Run]
    material: list[Material]
    remarks: list[list[Remark]]


def write_page(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    from plotly.offline import get_plotlyjs

    figures: list[Figure] = []
    main, rest = panels_of(report.runs)
    graphs, others = (_graphs(panels, report.runs, figures) for panels in (main, rest))
    sections = [_section(run, material, figures) for run, material in zip(report.runs, report.material, strict=True)]
    page = environment(images_of).get_template(TEMPLATE).stream(
        runs=[_head(run, place) for place, run in enumerate(report.runs)],
        remarks=list(zip([run.name for run in report.runs], report.remarks, strict=True)),
        graphs=graphs,
        others=others,
        last=last_values(report.runs),
        single=[(run.name, single_values(run)) for run in report.runs],
        differences=differences(report.runs),
        recipes=[(run.name, run.recipe) for run in report.runs if run.recipe],
        sections=sections,
        thinned=max((len(one.steps) for drawn in main + rest for one in drawn.series), default=0) > POINTS,
        points=POINTS,
        figures=plots.as_json(figures),
        plotly=get_plotlyjs(),
    )  # fmt: skip
    with replacing(path) as file:
        page.dump(file)


def _head(run: Run, place: int) -> dict[str, Any]:
    steps = [line["step"] for line in run.log if "step" in line]
    told = run.recipe or run.settings  # a record has defaults of other stages, too
    about = {key: told[key] for key in ABOUT if isinstance(told.get(key), str)}
    return {
        "name": run.name,
        "folder": run.folder,
        "colour": COLOURS[place % len(COLOURS)],
        "steps": f"{max(steps, default=0):g}",
        "lines": len(run.log),
        "source": run.source,
        "about": about,
    }


def _graphs(panels: Sequence[Drawn], runs: Sequence[Run], figures: list[Figure]) -> list[Graph]:
    return [
        _graph(figures, drawn.panel.title, drawn.panel.note, plots.curves(drawn, runs)) for drawn in panels
    ]  # fmt: skip


def _graph(figures: list[Figure], title: str, note: str, figure: Figure) -> Graph:
    figures.append(figure)
    return Graph(len(figures) - 1, title, note)


def _section(run: Run, material: Material, figures: list[Figure]) -> Section:
    section = Section(run.name, has_pairs=bool(accuracies_of(run)))  # KTO has margins alone
    if material.places:
        section.graphs += _pair_graphs(material.places, figures)
        wrong = pairs.still_wrong(material.places)
        section.pairs = {
            "split": material.places.split,
            "steps": material.places.steps,
            "count": len(material.places.last),
            "moved": pairs.moved_most(material.places),
            "wrong": wrong[: pairs.LISTED],
            "wrongs": len(wrong),
        }
    if material.rollouts:
        section.graphs += _rollout_graphs(material.rollouts, figures)
        section.rollouts = [shown(rollout, PROMPTS) for rollout in material.rollouts]
        section.has_pictures = any(images_of(record) for rollout in material.rollouts for record in rollout)
    return section


def _pair_graphs(places: pairs.Places, figures: list[Figure]) -> list[Graph]:
    found = []
    if plane := plots.plane(places):
        note = (
            "Each dot is a pair: by its scores, and by its reward margin first (grey) and last. Up and right is good."
        )
        found.append(_graph(figures, "Pairs: score margin and reward margin", note, plane))
    if lengths := plots.against_length(places):
        note = "Each dot is a pair, at the end. A slope means that length is learned."
        found.append(_graph(figures, "Pairs: reward margin and length", note, lengths))
    if weights := plots.histograms(places):
        note = "At the end. Pairs with a weight near 0 are not learned from any more."
        found.append(_graph(figures, "Pairs: weights", note, weights))
    return found


def _rollout_graphs(rollouts: Sequence[list[dict[str, Any]]], figures: list[Figure]) -> list[Graph]:
    notes = {
        "reward": "Of the completions of the first rollout (grey) and of the last. Further right is better.",
        "advantage": "What completions are reinforced by, first (grey) and last. All 0: nothing is learned.",
        "tokens": "How long they are, first (grey) and last.",
    }
    found = []
    for key, note in notes.items():
        groups = {
            f"rollout {rollout[0]['rollout']}": [record[key] for record in rollout if record.get(key) is not None]
            for rollout in rollouts
        }
        if any(groups.values()):
            found.append(_graph(figures, f"Completions: {key}", note, plots.spread(key, groups)))
    return found
