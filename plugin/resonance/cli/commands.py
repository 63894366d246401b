# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The commands by name, so that `--help` prints all of them and a start imports the one that was typed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

RECIPES, DATA, BEFORE, AFTER, SERVING = "recipes", "data", "before a run", "after a run", "serving, and this command"
GROUPS = (RECIPES, DATA, BEFORE, AFTER, SERVING)


class Command(NamedTuple):
    """One command.

    Attributes:
        module: its file below `cli/`, dotted. It has `EXAMPLES`, `add_arguments(parser)` and `run(args) -> int`.
        group: the heading that it stands under in `resonance --help`.
        summary: the first line of its `run`'s docstring; a test compares them.
    """

    module: str
    group: str
    summary: str

    def load(self) -> ModuleType:
        return import_module(f"{__package__}.{self.module}")


# A name of two words is a command of a group, which has a row of its own before.
COMMANDS = {
    "ls": Command(
        "ls", RECIPES, "List the recipes that come with the package: what they train, on how many GPUs, for what."
    ),
    "show": Command("show", RECIPES, "Print a recipe with its header, and what `ls` knows of it."),
    "cp": Command(
        "cp", RECIPES, "Copy a recipe to a file of yours, fill in what it is told, and print what to type next."
    ),
    "losses": Command("losses", RECIPES, "List the preference losses, or print what one of them computes and takes."),
    "import-args": Command(
        "import_args",
        RECIPES,
        "Turn an sft.py, dpo.py or ppo.py command of the Resonance guide into a recipe; exit 1 if it is not whole.",
    ),
    "data": Command("data", DATA, "Import, check, repair, register and look at data sets."),
    "data import": Command(
        "data.import_", DATA, "Turn a public data set into a LlamaFactory data file and register it."
    ),
    "data check": Command(
        "data.check", DATA, "Report every problem of data files, with row numbers, before training finds the first."
    ),
    "data fix-paths": Command(
        "data.fix_paths", DATA, "Move the media paths of a file to where the media are on this machine."
    ),
    "data register": Command(
        "data.register",
        DATA,
        "Add a data file to dataset_info.json: formatting, columns and tags are told from its rows.",
    ),
    "data list": Command(
        "data.list_",
        DATA,
        "List the data sets of dataset_info.json: is the file there, rows, formatting, pairs, scores.",
    ),
    "data show": Command(
        "data.show", DATA, "Show some rows: prompt, answers, scores, and the images as paths and sizes."
    ),
    "data score-stats": Command(
        "data.score_stats", DATA, "Count scores: range, quantiles, ties, margins, and what a tau_good would select."
    ),
    "data score-scale": Command(
        "data.score_scale", DATA, "Put scores on another scale, so that tau_good means the same for all sets."
    ),
    "data score-filter": Command(
        "data.score_filter", DATA, "Keep the pairs whose scores differ enough, and that nobody has flagged."
    ),
    "data unpair": Command(
        "data.unpair", DATA, "Make two rows of each pair, a good and a bad answer, for stage: kto, and register them."
    ),
    "data view": Command(
        "data.view",
        DATA,
        "Look at rows on a local page: pictures, a word diff of the answers, filters, and flags on bad rows.",
    ),
    "score": Command(
        "score",
        DATA,
        "Fill score_chosen and score_rejected of pairs by a judge: a function, a reward model or a server.",
    ),
    "doctor": Command(
        "doctor", BEFORE, "Examine this environment; exit 1 if something that a recipe needs is broken."
    ),
    "validate": Command(
        "validate",
        BEFORE,
        "Tell everything that is wrong with recipes before a model is loaded, and how to start them.",
    ),
    "estimate": Command(
        "estimate", BEFORE, "Estimate memory and FLOPs of a recipe, without and with the speed-ups; loads no weight."
    ),
    "precompute": Command(
        "precompute",
        BEFORE,
        "Compute the reference log-probabilities of a recipe's rows and stop, on all GPUs as a training would.",
    ),
    "rollout-check": Command(
        "rollout_check",
        BEFORE,
        "Compare the servers that generate for a recipe with it: prompts, images, log-probabilities, new weights.",
    ),
    "report": Command(
        "report",
        AFTER,
        "Draw a page about runs: remarks, curves, pairs, samples; index.html, curves.png and curves.csv.",
    ),
    "compare": Command(
        "compare", AFTER, "Put runs side by side: the last value of each metric, one picture, one table of all values."
    ),
    "eval-pairs": Command(
        "eval_pairs",
        AFTER,
        "Preference accuracy of policies or of a reward model: by file, by length, by difference of scores.",
    ),
    "eval-config": Command(
        "eval_config",
        AFTER,
        "Write a VLMEvalKit configuration for a model, and print the commands of VLMEvalKit and lmms-eval.",
    ),
    "export-check": Command(
        "export_check",
        AFTER,
        "Load a saved model as other programs do, and compare files, names, prompts and log-probabilities.",
    ),
    "serve-reward": Command(
        "serve_reward", SERVING, "Score completions over HTTP, for `rewards: [{url: ...}]`; docs/judges.md."
    ),
    "completion": Command("completion", SERVING, "Print the script by which a shell completes `resonance` commands."),
}


def inner(group: str) -> list[str]:
    """The second words of the commands of a group; none for a command that is no group."""
    return [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{group} ")]
