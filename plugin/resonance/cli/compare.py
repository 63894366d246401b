# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance compare`: runs side by side, from the trainer_state.json that each of them leaves."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from .table import print_table

STATE = "trainer_state.json"
# What a metric is, and which way is good. Evaluation has each with `eval_` before its name.
MEANING = {
    "loss": "what is minimised; of one loss only",
    "rewards/accuracies": "share of pairs whose chosen answer has the higher reward; 0.5 is chance; up",
    "rewards/margins": "reward of the chosen minus that of the rejected answer; up",
    "rewards/chosen": "reward of the chosen answers, beta times what the policy gained on the reference",
    "rewards/rejected": "the same of the rejected answers; below the chosen's",
    "logps/chosen": "log-prob of the chosen answers, sum or mean by the loss; should not fall far",
    "logps/rejected": "the same of the rejected answers",
    "grad_norm": "norm of the gradient before clipping",
    "learning_rate": "of the step",
    "w_qual": "Uni-DPO: weight of a pair by its scores",
    "w_perf": "Uni-DPO: weight of a pair by how well it is learned already; falls as it is",
    "nll": "Uni-DPO: negative log-prob a token of good chosen answers; down",
    "nll_coeffi": "Uni-DPO: share of pairs for which that term applies",
    "logits": "margin of the policy minus that of the reference, before beta; up",
    "pi_logratios": "log-prob of the chosen minus the rejected answer under the policy",
    "ref_logratios": "the same under the reference; constant for a row",
}
PANELS = {
    "loss": ("loss",),
    "accuracy": ("rewards/accuracies",),
    "margin": ("rewards/margins",),
    "log-probs": ("logps/chosen", "logps/rejected"),
    "weights": ("w_qual", "w_perf"),
    "gradient": ("grad_norm",),
}
_NO_METRIC = ("step", "epoch", "total_flos", "train_loss")


class Run(NamedTuple):
    """One run: its folder as it was given, and the lines that it logged."""

    name: str
    log: list[dict[str, Any]]

    @property
    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        values = {key: value for line in self.log for key, value in line.items() if isinstance(value, int | float)}
        return {key: value for key, value in values.items() if key not in _NO_METRIC and not _is_speed(key)}

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        points = [(line["step"], line[metric]) for line in self.log if metric in line and "step" in line]
        return [step for step, _ in points], [value for _, value in points]


def _is_speed(metric: str) -> bool:
    return metric.endswith(("_runtime", "_per_second"))


EXAMPLES = (
    "resonance compare saves/uni_dpo saves/dpo",
    "resonance compare saves/uni_dpo saves/dpo --plot both.png --csv both.csv",
    "resonance compare saves/uni_dpo --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="output_dir of a run, or one of its checkpoints")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the main curves of all runs into one picture"
    )
    parser.add_argument("--json", action="store_true", help="print one object: the last value of each metric by run")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write every value that was logged")


def run(args: argparse.Namespace) -> int:
    """Put runs side by side: the last value of each metric, one picture, one table of all values."""
    try:
        runs = [read_run(folder) for folder in dict.fromkeys(args.runs)]
        if args.json:
            print(json.dumps({run.name: run.last for run in runs}, indent=2))
        else:
            print_last(runs)
        told = sys.stderr if args.json else sys.stdout
        if args.csv is not None:
            write_csv(args.csv, runs)
            print(f"-> {args.csv}", file=told)
        if args.plot is not None:
            plot(args.plot, runs)
            print(f"-> {args.plot}", file=told)
    except (ValueError, OSError) as error:
        print(f"resonance compare: {error}\nNext: resonance compare --help", file=sys.stderr)
        return 2
    return 0


def read_run(folder: str) -> Run:
    """Read what a run logged.

    Raises:
        ValueError: there is no state of a run, or it cannot be read.
    """
    path = Path(folder, STATE)
    try:
        log = json.loads(path.read_text(encoding="utf-8"))["log_history"]
    except OSError as error:
        beside = [found.parent.name for found in Path(folder).parent.glob(f"*/{STATE}")]
        near = get_close_matches(Path(folder).name, beside, n=3, cutoff=0.3)
        meant = f"; runs beside it: {', '.join(near or sorted(beside)[:5])}" if beside else ""
        raise ValueError(f"{path}: {error.strerror or error}{meant}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no state of a run ({type(error).__name__}: {error})") from error
    return Run(folder, log)


def print_last(runs: list[Run]) -> None:
    """Print the last value of each metric, a column a run."""
    last = [run.last for run in runs]
    metrics = dict.fromkeys(metric for values in last for metric in values)
    known = list(MEANING)

    def place(metric: str) -> tuple[bool, int, str]:
        plain = metric.removeprefix("eval_")
        return metric != plain, known.index(plain) if plain in MEANING else len(known), metric

    rows = [
        (metric, *(f"{values[metric]:.4g}" if metric in values else "-" for values in last), _meaning(metric))
        for metric in sorted(metrics, key=place)
    ]
    print_table(("LAST VALUE OF", *(run.name for run in runs), "WHAT"), rows)


def _meaning(metric: str) -> str:
    return MEANING.get(metric.removeprefix("eval_"), "")


def write_csv(path: Path, runs: list[Run]) -> None:
    """Write a line for each that was logged."""
    names = list(dict.fromkeys(key for run in runs for line in run.log for key in line if key != "step"))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["run", "step", *names])
        writer.writeheader()
        writer.writerows({"run": run.name, **line} for run in runs for line in run.log)


def plot(path: Path, runs: list[Run]) -> None:
    """Draw the panels of which any run has a curve; evaluation is dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = {
        title: [name for metric in metrics for name in (metric, f"eval_{metric}")] for title, metrics in PANELS.items()
    }
    shown = {
        title: metrics for title, metrics in names.items() if any(run.curve(m)[0] for run in runs for m in metrics)
    }
    if not shown:
        raise ValueError(f"{', '.join(run.name for run in runs)}: nothing to draw was logged")
    figure = Figure(figsize=(6 * min(len(shown), 2), 3.2 * ((len(shown) + 1) // 2)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, metrics) in enumerate(shown.items(), 1):
        axes = figure.add_subplot((len(shown) + 1) // 2, min(len(shown), 2), number)
        axes.set_title(title)
        axes.set_xlabel("step")
        if title == "accuracy":
            axes.axhline(0.5, color="grey", linewidth=0.8, label="chance")
        for index, run in enumerate(runs):
            for metric in metrics:
                steps, values = run.curve(metric)
                dashed = metric.startswith("eval_")
                if steps:
                    label = f"{run.name}: {metric}" if len(runs) > 1 else metric
                    axes.plot(steps, values, "--o" if dashed else "-", markersize=3, color=f"C{index}", label=label)
        axes.legend(fontsize=6)
    figure.savefig(path, dpi=120)
