# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From recipe files to verdicts. LlamaFactory is imported once for all of them, and not at all if none can be read."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import recipe as recipes
from ...arguments.data import RATIO_STAGES
from ...arguments.places import dataset_problems
from ...arguments.reader import read_recipe
from ...importers.table import IMPORTERS
from ..quiet import quiet
from . import extras, facts, idle, launch, model, output, parsing, rows, steps, values
from .verdict import Verdict

_OFFLINE = "HF_HUB_OFFLINE"
_IMPORT = re.compile(r"resonance data import [^`\n]+")
_NAMED = re.compile(r"import (\S+).*?(?:--name (\S+)|$)")


@dataclass(frozen=True)
class Options:
    """What a recipe is to run on.

    Attributes:
        overrides: KEY=VALUEs for all recipes.
        gpus, nodes: how many of each; GPUs a node.
        gpu: name of the GPU, whose memory an estimate is compared with; None for no estimate.
        gpu_memory: the same in GiB.
    """

    overrides: Sequence[str] = ()
    gpus: int = 1
    nodes: int = 1
    gpu: str | None = None
    gpu_memory: float | None = None

    @property
    def devices(self) -> int:
        return self.gpus * self.nodes


def validate(paths: Sequence[Path], options: Options) -> list[Verdict]:
    """Everything that is wrong with recipes, one verdict each.

    Args:
        paths: of YAML or JSON files.
        options: what they are to run on.
    """
    found = []
    for path in paths:
        verdict = Verdict(str(path))
        try:
            given = read_recipe(path, options.overrides)
        except ValueError as error:
            verdict.errors.append(str(error))
        else:
            with quiet(), _offline():
                _judge(verdict, given, path, options)
            verdict.commands = launch.commands(given, str(path), options.overrides, options.gpus, options.nodes)
        found.append(verdict)
    return found


@contextmanager
def _offline() -> Iterator[None]:
    """Libraries of the hub that are imported within ask it for nothing: what is not here is told, not fetched."""
    before = os.environ.get(_OFFLINE)
    os.environ[_OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OFFLINE]
        else:
            os.environ[_OFFLINE] = before


def _judge(verdict: Verdict, given: dict[str, Any], path: Path, options: Options) -> None:
    from llamafactory.hparams import parser

    classes = parsing.classes_of(parser)
    verdict.add(recipes.problems(given, parser))
    verdict.add(values.value_problems(given, classes))
    wrong, notes = model.model_problems(given)
    verdict.notes += notes
    verdict.add(wrong)
    if given.get("stage", "sft") in RATIO_STAGES and given.get("stage") != "pt":
        verdict.add(dataset_problems(given))
    if not given.get("dataset") and given.get("do_train"):
        verdict.add(["dataset: is missing, and the recipe has `do_train: true`; name a set of dataset_info.json"])
    verdict.add(extras.package_problems(given) + extras.machine_problems(given))
    verdict.add(extras.zero_problems(given, _zero(given)))
    verdict.warnings += extras.package_warnings(given) + idle.idle_warnings(given)
    wrong, warnings, notes = output.output_findings(given)
    verdict.add(wrong)
    verdict.warnings += warnings
    verdict.notes += notes
    verdict.add(parsing.class_problems(given, classes, verdict.errors))
    looks = rows.look_at_sets(given, imports_of(path, str(given.get("dataset_dir", "data"))), verdict.errors)
    for look in looks:
        verdict.errors += look.errors
        verdict.warnings += look.warnings
        verdict.notes += look.notes
    if verdict.ok:
        _judge_whole(verdict, given, looks, path, options)


def _judge_whole(
    verdict: Verdict, given: dict[str, Any], looks: Sequence[rows.Look], path: Path, options: Options
) -> None:
    """What can be asked of a recipe whose keys are right each for itself."""
    try:
        verdict.warnings += parsing.run_checks(given)[1]
    except Exception as error:  # LlamaFactory's own, in the words of LlamaFactory
        verdict.add(parsing.messages(error, given))
        return
    if not any(given.get(key) for key in ("do_train", "do_eval", "do_predict")):
        verdict.warnings.append("do_train: this recipe neither trains nor evaluates; set `do_train: true`")
    counted = steps.steps_of(given, looks, options.devices)
    reads = facts.loss_values(given) if facts.reads_scores(given) else {}
    errors, warnings = steps.score_findings(reads, looks)
    verdict.errors += errors
    verdict.warnings += steps.step_warnings(given, counted) + warnings
    verdict.facts = facts.facts(given, counted, options.devices)
    if options.gpu is not None or options.gpu_memory is not None:
        _judge_memory(verdict, path, options)


def _judge_memory(verdict: Verdict, path: Path, options: Options) -> None:
    """Compare the estimate of the recipe with the memory of a GPU."""
    from ..estimate import entry as estimate
    from ..estimate.memory import GIB, RESERVE

    asked = estimate.Options(
        overrides=options.overrides,
        gpu=options.gpu,
        gpu_memory=options.gpu_memory,
        world_size=options.devices,
    )
    try:
        found = estimate.estimate_recipe(path, asked)
    except ValueError as error:
        verdict.warnings.append(f"memory is not estimated: {error}")
        return
    column = found.columns[-1]
    (size,) = column.largest
    verdict.facts.append(
        f"memory: about {column.memory.peak / GIB:.1f} GiB of {size:g} on a GPU, {RESERVE // GIB} more set aside "
        f"(`resonance estimate` has the parts)"
    )
    if column.largest[size] < found.setup.batch:
        verdict.warnings += found.advice[:1]


def _zero(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """`zero_optimization` of the recipe's DeepSpeed file, empty if there is none that can be read."""
    from ..estimate.recipe import read_deepspeed

    try:
        zero = read_deepspeed(given.get("deepspeed")).get("zero_optimization")
    except (ValueError, AttributeError):
        return {}  # `arguments/names.py` tells what is wrong with it
    return zero if isinstance(zero, dict) else {}


def imports_of(path: Path, folder: str) -> dict[str, str]:
    """Names of public sets -> the command that imports them: those of the recipe's header, then the importers' own.

    Args:
        path: of the recipe.
        folder: where it reads its sets.
    """
    out = shlex.quote(folder)
    found = {name: f"resonance data import {name} --out {out}" for name, each in IMPORTERS.items() if each.hub_id}
    for command in _IMPORT.findall(path.read_text(encoding="utf-8")):
        if named := _NAMED.search(command.strip()):
            found[named[2] or named[1]] = command.strip()
    return found
