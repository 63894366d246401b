# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contract with LlamaFactory: names that are rebound, overridden or imported exist, with the recorded signatures.

The fast tests look at the installed LlamaFactory. The slow ones run them, and real training, in a second environment:
beside the oldest supported LlamaFactory, and beside the next one where `RESONANCE_NEXT_LLAMAFACTORY` has what pip
installs it from: a folder, an archive or an address.
"""

from __future__ import annotations

import ast
import inspect
import os
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from layered import CHECKOUT, copy_checkout, make_layered_env
from resonance import TESTED_LLAMAFACTORY
from resonance.hooks.llamafactory import PATCHES
from resonance.hooks.patch import SCOPES, Patch, parameter_names
from resonance.hooks.routes import EVERY, ROUTES

OLDEST = ("llamafactory==0.9.4", "transformers==4.57.1", "peft==0.17.1", "huggingface_hub<1")
NEXT = os.environ.get("RESONANCE_NEXT_LLAMAFACTORY", "")
RATES: dict[str, tuple[str, ...]] = {"create_optimizer": (), "_get_learning_rate": ()}
RESUMED = {
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_load_best_model": (),
    "_save_rng_state": ("output_dir",),
}
RECORDED = {"_save_checkpoint": ("model", "trial")}  # of trainers of pairs
STOCK = ("CustomSeq2SeqTrainer", "CustomTrainer")
# What both trainers against a reference override.
REFERENCED: dict[str, tuple[str, ...]] = {
    "__init__": ("model", "ref_model", "finetuning_args", "processor"),
    "compute_loss": ("model", "inputs", "return_outputs"),
    "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
    "evaluation_loop": ("dataloader",),
    "save_model": ("output_dir", "_internal_call"),
    "_get_train_sampler": (),  # `*args`: not every version of the Trainer gives the data set
    "_get_eval_sampler": ("eval_dataset",),
    "evaluate": ("eval_dataset", "ignore_keys", "metric_key_prefix"),
    "log": ("logs",),
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_load_best_model": (),
    "_save_rng_state": ("output_dir",),
    **RATES,
}
# Methods that classes of ours override, with the parameters their callers give by position.
OVERRIDDEN = {
    "DatasetAttr": {"join": ("attr",)},
    "PairwiseDatasetProcessor": {
        "preprocess_dataset": ("examples",),
        "__getstate__": (),
        "_encode_data_example": ("prompt", "response", "system", "tools", "images", "videos", "audios"),
    },
    "SupervisedDatasetProcessor": {"preprocess_dataset": ("examples",), "__getstate__": ()},
    "SFTDataCollatorWith4DAttentionMask": {"__call__": ("features",)},
    "PairwiseDataCollatorWithPadding": {"__call__": ("features",), "__post_init__": ()},
    "PairwiseTrainer": {
        "__init__": ("finetuning_args", "processor"),
        "compute_loss": ("model", "inputs", "return_outputs"),
        "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
        "evaluation_loop": ("dataloader",),
        "save_model": ("output_dir", "_internal_call"),
        "_save": ("output_dir", "state_dict"),
        "_get_train_sampler": (),
        "_get_eval_sampler": ("eval_dataset",),
        "evaluate": ("eval_dataset", "ignore_keys", "metric_key_prefix"),
        "log": ("logs",),
        "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
        "_load_best_model": (),
        "_save_rng_state": ("output_dir",),
        **RECORDED,
        **RATES,
    },
    **{name: {**RATES, **RESUMED, "__init__": (), "log": ("logs",)} for name in STOCK},
    "CustomDPOTrainer": {**REFERENCED, **RECORDED, "get_batch_loss_metrics": ("model", "batch", "train_eval")},
    "CustomKTOTrainer": REFERENCED,
}
NOT_OF_A_RUN = ("selection", "v1", "ray", "chat", "board", "families")
CLASSES = [patch for patch in PATCHES if patch.name in OVERRIDDEN]


def original(patch: Patch) -> Any:
    """LlamaFactory's object; where it is rebound in this process, the signature is still the original's."""
    return getattr(import_module(patch.module), patch.name)


def classes(patch: Patch) -> tuple[type, ...]:
    """What stands in the place of a class; a function chooses between two trainers of a stage."""
    replacement = patch.load_replacement()
    if inspect.isclass(replacement):
        return (replacement,)
    from resonance.training.feedback import FeedbackTrainer, RatesKTOTrainer
    from resonance.training.reward_model import ResumedPairwiseTrainer, RewardTrainer

    return {"kto_trainer": (FeedbackTrainer, RatesKTOTrainer), "rm_trainer": (RewardTrainer, ResumedPairwiseTrainer)}[
        patch.scope
    ]


def overrides(patch: Patch) -> set[str]:
    """Methods that a replacement defines and the original has."""
    return {name for replacement in classes(patch) for name in overrides_of(replacement, patch)}


def overrides_of(replacement: type, patch: Patch) -> set[str]:
    ours = [kind for kind in replacement.__mro__ if kind.__module__.startswith("resonance.")]
    methods = {name for kind in ours for name, value in vars(kind).items() if inspect.isfunction(value)}
    if "__dataclass_fields__" in vars(replacement):
        methods -= {"__init__", "__repr__", "__eq__", "__hash__"}  # written by @dataclass
    return {name for name in methods if getattr(original(patch), name, None) is not None}


def test_this_version_is_a_tested_one() -> None:
    assert version("llamafactory") in TESTED_LLAMAFACTORY
    assert all(version("llamafactory") in patch.versions for patch in PATCHES)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.target)
def test_target_has_the_recorded_parameters(patch: Patch) -> None:
    found = parameter_names(original(patch))
    assert found[: len(patch.parameters)] == patch.parameters
    assert patch.why and patch.remove_when


@pytest.mark.parametrize("patch", [patch for patch in PATCHES if not patch.always], ids=lambda patch: patch.target)
def test_replacement_takes_what_callers_give(patch: Patch) -> None:
    ours = inspect.signature(patch.load_replacement())
    theirs = inspect.signature(original(patch))
    required = [p for p in theirs.parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    ours.bind(*[None] * len(required))
    ours.bind(**{p.name: None for p in required})


def test_every_scope_has_patches_and_a_run_that_needs_it() -> None:
    assert {patch.scope for patch in PATCHES} == set(SCOPES)
    # `selection` is added where rows are left out, `v1` only refuses our keys; a template is missed where it is named
    needed = {*EVERY, *(scope for route in ROUTES for scope in route.scopes), *NOT_OF_A_RUN}
    needed |= {"pt_trainer"}  # where parts have learning rates
    assert needed == set(SCOPES)


@pytest.mark.parametrize("patch", CLASSES, ids=lambda patch: patch.name)
def test_class_overrides_what_is_recorded(patch: Patch) -> None:
    assert all(issubclass(replacement, original(patch)) for replacement in classes(patch))
    assert overrides(patch) == set(OVERRIDDEN[patch.name])


@pytest.mark.parametrize(
    ("patch", "method"),
    [(patch, method) for patch in CLASSES for method in OVERRIDDEN[patch.name]],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_overridden_method_has_the_recorded_parameters(patch: Patch, method: str) -> None:
    expected = OVERRIDDEN[patch.name][method]
    assert parameter_names(getattr(original(patch), method))[: len(expected)] == expected
    ours = [replacement for replacement in classes(patch) if method in overrides_of(replacement, patch)]
    assert ours
    for replacement in ours:
        inspect.signature(getattr(replacement, method)).bind(None, *[None] * len(expected))


def imports_of_llamafactory() -> list[tuple[str, str, str]]:
    """(file, module, name) for each `from llamafactory... import name` in the package."""
    found = []
    for path in sorted((CHECKOUT / "plugin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and not node.level
                and (node.module or "").split(".")[0] == "llamafactory"
            ):
                found += [(str(path.relative_to(CHECKOUT)), str(node.module), alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize(("file", "module", "name"), imports_of_llamafactory())
def test_imported_name_exists(file: str, module: str, name: str) -> None:
    assert hasattr(import_module(module), name) or import_module(f"{module}.{name}"), file


FOLDERS = ["tests/hooks", "tests/arguments", "tests/rows"]
# What is tested is this checkout, and the start-up line takes the package beside its own module only.
HERE = {"PYTHONPATH": str(CHECKOUT / "plugin")}
OPTIONS = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]


@pytest.mark.slow
def test_oldest_supported_llamafactory(tmp_path: Path) -> None:
    env = make_layered_env(tmp_path / "env")
    env.run(env.python, "-m", "pip", "install", "--quiet", *OLDEST)
    env.pip_install("-e", copy_checkout(tmp_path / "checkout"))
    seen = "from importlib.metadata import version; print(version('llamafactory'), version('transformers'))"
    assert env.python_c(seen) == "0.9.4 4.57.1"
    doctor = env.run(env.root / "bin" / "resonance", "doctor", check=False)
    assert doctor.returncode == 0, doctor.stdout
    # Left out: LoRA over an unfrozen vision tower, which LlamaFactory 0.9.4 cannot set up, and resuming within an
    # epoch, where Transformers 4.57 draws other batches than before; both are so without this package too. And the
    # chat, which needs no token types there, and Ray, which has its own trainer there.
    trainings = [f"tests/training/test_{name}.py" for name in ("trajectory", "losses_end_to_end")]
    done = env.run(
        env.python,
        "-m",
        "pytest",
        *OPTIONS,
        "-k",
        "not lora and not chat_answers and not ray and not placement_group and not wandb",
        *FOLDERS,
        *trainings,
        cwd=CHECKOUT,
        **HERE,
    )
    assert " passed" in done.stdout and "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(not NEXT, reason="RESONANCE_NEXT_LLAMAFACTORY is not set")
def test_next_llamafactory(tmp_path: Path) -> None:
    env = make_layered_env(tmp_path / "env")
    env.run(env.python, "-m", "pip", "install", "--quiet", "--no-deps", NEXT)
    env.pip_install("-e", copy_checkout(tmp_path / "checkout"))
    doctor = env.run(env.root / "bin" / "resonance", "doctor", check=False)
    assert doctor.returncode == 0 and doctor.stdout.count("is newer than what Resonance was tested with") == 1

    # A stock recipe with a key of a back-end gets as far as LlamaFactory alone gets it.
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stage: sft\ntensor_model_parallel_size: 2\nmodel_name_or_path: m\noutput_dir: o\n")
    code = f"from llamafactory.train.tuner import run_exp; import sys; sys.argv = ['', {str(recipe)!r}]; run_exp()"
    ends = [
        env.run(env.python, "-c", code, check=False, USE_MEGATRON_BRIDGE="1", **switch).stderr.splitlines()[-1]
        for switch in ({}, {"RESONANCE_DISABLE": "1"})
    ]
    assert ends[0] == ends[1] and "no such key" not in ends[0]

    options = [*OPTIONS, "-k", "not this_version_is_a_tested_one"]
    trainings = [f"tests/training/test_{name}.py" for name in ("trajectory", "stock_stays_stock")]
    for tests in (FOLDERS, trainings):
        done = env.run(env.python, "-m", "pytest", *options, *tests, cwd=CHECKOUT, **HERE)
        assert " passed" in done.stdout
