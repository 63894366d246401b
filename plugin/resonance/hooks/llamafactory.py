# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The only file that names LlamaFactory's internals: every name we rebind, and what the "always" ones become.

Room: `hooks/`. Imported by the start-up hook while LlamaFactory itself is being imported, so other rooms are imported
inside functions. `resonance doctor` prints this list.

How a recipe of ours runs: LlamaFactory parses it (our keys are in its own dataclass), dispatches to its own `run_dpo`,
and our wrapper around that function rebinds the "run" names below while it executes. A stock recipe passes through the
four wrappers of scope "always" untouched and never meets the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import SUPPORTED_LLAMAFACTORY, TESTED_LLAMAFACTORY
from .patch import Patch, Registry

_HERE = __name__


def _always(target: str, replacement: str, parameters: tuple[str, ...], **text: Any) -> Patch:
    return Patch(target, f"{_HERE}:{replacement}", "always", parameters, versions=TESTED_LLAMAFACTORY, **text)


def _run(target: str, replacement: str, parameters: tuple[str, ...], **text: Any) -> Patch:
    return Patch(target, replacement, "run", parameters, versions=TESTED_LLAMAFACTORY, **text)


_RUN_DPO = ("model_args", "data_args", "training_args", "finetuning_args", "callbacks")

PATCHES = (
    _always(
        "llamafactory.hparams.finetuning_args.FinetuningArguments",
        "finetuning_arguments",
        (),
        why="recipe keys of ours in LlamaFactory's strict parser and in `llamafactory-cli train -h`",
        remove_when="LlamaFactory lets a package add argument dataclasses",
    ),
    _always(
        "llamafactory.hparams.parser.get_train_args",
        "get_train_args",
        ("args",),
        why="all problems of a recipe at once, nearest name first; recipes of ours fail here if a patch is missing",
        remove_when="LlamaFactory's parser suggests names and checks Literal values of YAML recipes",
        any_version=True,
    ),
    _always(
        "llamafactory.train.dpo.workflow.run_dpo",
        "run_dpo",
        _RUN_DPO,
        why="recipes of ours run with the names below rebound; stock recipes go straight to LlamaFactory's function",
        remove_when="LlamaFactory has a registry of trainers",
    ),
    _always(
        "llamafactory.launcher.launch",
        "launch",
        (),
        why="the launcher takes `torchrun` from PATH; another environment's would start ranks without this package",
        remove_when="LlamaFactory launches `sys.executable -m torch.distributed.run`",
    ),
    _run(
        "llamafactory.data.parser.DatasetAttr",
        "resonance.rows.attributes:ScoredDatasetAttr",
        ("load_from", "dataset_name"),
        why="`score_chosen` and `score_rejected` in dataset_info.json's columns",
        remove_when="DatasetAttr.join reads every column it is given",
    ),
    _run(
        "llamafactory.data.converter.get_dataset_converter",
        "resonance.rows.convert:get_dataset_converter",
        ("name", "dataset_attr", "data_args"),
        why="converters drop every column they do not know; scores and the row's origin must travel",
        remove_when="converters can pass extra columns through",
    ),
    _run(
        "llamafactory.data.loader.load_dataset",
        "resonance.rows.load:load_dataset",
        ("path", "name", "data_dir", "data_files", "split", "cache_dir"),
        why="a row keeps its number in its file through sampling, and an unreadable file is explained with its rows",
        remove_when="LlamaFactory keeps the origin of a row",
    ),
    _run(
        "llamafactory.data.loader._load_single_dataset",
        "resonance.rows.load:load_single_dataset",
        ("dataset_attr", "model_args", "data_args", "training_args"),
        why="a local file streamed without data workers is split into zero shards and gives no rows",
        remove_when="LlamaFactory streams local files with at least one shard",
    ),
    _run(
        "llamafactory.data.loader.align_dataset",
        "resonance.rows.align:align_dataset",
        ("dataset", "dataset_attr", "data_args", "training_args"),
        why="rows are checked before step 1, with file and row in every message, and skips are counted",
        remove_when="LlamaFactory validates rows and names them",
    ),
    _run(
        "llamafactory.data.loader.PairwiseDatasetProcessor",
        "resonance.rows.tokenize:PreferenceDatasetProcessor",
        ("template", "tokenizer", "processor", "data_args"),
        why="the pairwise processor emits fixed keys; scores would be lost at tokenisation",
        remove_when="the pairwise processor passes extra columns through",
    ),
    _run(
        "llamafactory.train.dpo.workflow.PairwiseDataCollatorWithPadding",
        "resonance.rows.collate:PreferenceCollator",
        (),
        why="scores in the batch of the DPO stage only; the reward stage uses the same collator and must not get them",
        remove_when="the collator keeps extra fields under a key that the trainer removes",
    ),
    _run(
        "llamafactory.train.dpo.workflow.load_model",
        "resonance.training.weights:load_model",
        ("tokenizer", "model_args", "finetuning_args", "is_trainable", "add_valuehead"),
        why="a weight missing from the checkpoint is initialised at random with a log line only; we stop by name",
        remove_when="LlamaFactory or Transformers can refuse a checkpoint with missing weights",
    ),
    _run(
        "llamafactory.train.dpo.workflow.create_ref_model",
        "resonance.training.weights:create_ref_model",
        ("model_args", "finetuning_args", "add_valuehead"),
        why="the same check for the reference model",
        remove_when="as for load_model",
    ),
    _run(
        "llamafactory.train.dpo.workflow.plot_loss",
        "resonance.training.curves:plot_loss",
        ("save_dictionary", "keys"),
        why="`plot_loss: true` draws every preference metric that was logged, not three fixed keys",
        remove_when="plot_loss takes its keys from the recipe",
    ),
    _run(
        "llamafactory.train.dpo.trainer.CustomDPOTrainer",
        "resonance.training.preference:PreferenceTrainer",
        ("model", "ref_model", "finetuning_args", "processor", "disable_dropout"),
        why="losses of the table instead of trl's dpo_loss, which LlamaFactory calls without the loss type",
        remove_when="LlamaFactory's DPO trainer takes its loss from a registry",
    ),
)

registry = Registry("llamafactory", SUPPORTED_LLAMAFACTORY, PATCHES)


# -- what the "always" names become: each takes the original and falls through to it for recipes that are not ours ----


def finetuning_arguments(original: type) -> type:
    from ..arguments.preference import extend_finetuning_arguments

    return extend_finetuning_arguments(original)


def get_train_args(original: Callable[..., Any]) -> Callable[..., Any]:
    upstream = sys.modules[original.__module__]

    @wraps(original)
    def wrapper(args: dict[str, Any] | list[str] | None = None) -> Any:
        from ..arguments import recipe
        from ..arguments.preference import runs_on_resonance

        given = upstream.read_args(args)
        if isinstance(given, dict):
            if recipe.needs_resonance(given):
                registry.require()
            recipe.check(given, upstream)
        parsed = original(given)
        finetuning_args = parsed[3]
        if runs_on_resonance(vars(finetuning_args)):  # flags are known only now
            registry.require()
        if hasattr(finetuning_args, "pref_engine"):  # else our keys are not there, and the recipe is stock
            recipe.check_parsed(given, *parsed[1:4])
        return parsed

    return wrapper


def run_dpo(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapper(
        model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: Any = None
    ) -> Any:
        from ..arguments.preference import runs_on_resonance

        args = (model_args, data_args, training_args, finetuning_args, callbacks)
        if not runs_on_resonance(vars(finetuning_args)):
            return original(*args)

        with registry.rebound():
            from ..training.run import prepare, until_precomputed

            prepare(*args[:4])
            return until_precomputed(original, *args)

    return wrapper


def launch(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapper() -> Any:
        from ..arguments.recipe import needs_resonance
        from .torchrun import check_launch

        check_launch(sys.argv, needs_resonance)
        return original()

    return wrapper
