# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A LlamaFactory in which one name is gone or takes something else: which recipes run, which stop, and how."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import make_dataclass
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from conftest import base_recipe
from resonance.hooks import routes
from resonance.hooks.llamafactory import PATCHES, registry
from resonance.hooks.patch import Patch
from resonance.hooks.registry import Registry

# Runs each recipe in a fork, in a LlamaFactory that was damaged in its own way, with its log beside it.
RUNS = """
import json, os, sys, traceback
import llamafactory.train.tuner, llamafactory.train.dpo.trainer
from llamafactory.data import loader
from llamafactory.train.dpo import workflow
for log, damage, recipe in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(stream, 1), os.dup2(stream, 2)
        try:
            exec(damage)
            llamafactory.train.tuner.run_exp(recipe)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""
NO_PLOT = "del workflow.plot_loss"
OTHER_PARAMETERS = """
before = loader._get_merged_dataset
loader._get_merged_dataset = lambda names, model, data, training, kind, **more: before(
    names, model, data, training, kind, **more
)
"""
SHORT = {"max_steps": 1, "num_train_epochs": None, "pref_loss": "uni_dpo"}
JOBS = {
    "no-plot": (NO_PLOT, SHORT),
    "parameters": (OTHER_PARAMETERS, SHORT),
    "parameters-ratio": (OTHER_PARAMETERS, {**SHORT, "data_ratio": 0.5}),
    "parameters-margin": (OTHER_PARAMETERS, {**SHORT, "pref_loss": "sigmoid", "score_margin": 1.0}),
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, cli_env: dict[str, str]) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("degrees")
    jobs = [
        (str(folder / f"{name}.log"), damage, base_recipe(folder / name, **changes))
        for name, (damage, changes) in JOBS.items()
    ]
    command = [sys.executable, "-c", RUNS, json.dumps(jobs, default=str)]
    subprocess.run(command, env=cli_env, cwd=folder, check=True, timeout=300)
    return {name: Path(log).read_text() for name, (log, *_) in zip(JOBS, jobs, strict=True)}


@pytest.mark.parametrize("name", ["no-plot", "parameters"])
def test_a_recipe_that_does_not_need_the_name_trains(logs: dict[str, str], name: str) -> None:
    assert "Traceback" not in logs[name] and "train_loss" in logs[name], logs[name][-4000:]


def test_the_run_without_the_plot_warns_once(logs: dict[str, str]) -> None:
    (warning,) = [line for line in logs["no-plot"].splitlines() if "plot_loss" in line]
    assert "WARNING" in warning and "llamafactory.train.dpo.workflow.plot_loss does not exist in" in warning
    assert "plot_loss" not in logs["parameters"]


@pytest.mark.parametrize("name", ["parameters-ratio", "parameters-margin"])
def test_a_recipe_that_relies_on_the_parameters_stops_with_path_and_both_signatures(
    logs: dict[str, str], name: str
) -> None:
    log = logs[name]
    assert "train_loss" not in log and "ImportError: this recipe needs Resonance" in log
    assert "llamafactory.data.loader._get_merged_dataset takes (names, model, data, training, kind, more) in" in log
    assert "where (dataset_names, model_args, data_args, training_args, stage, return_dict) was seen in" in log


@pytest.mark.parametrize(
    ("recipe", "scopes"),
    [
        ({"stage": "dpo", "pref_loss": "uni_dpo"}, "run_dpo align rows dpo_rows trainer"),
        (
            {"stage": "dpo", "pref_engine": "resonance", "data_ratio": 0.5},
            "run_dpo align rows dpo_rows trainer selection",
        ),
        ({"stage": "dpo", "overlong": "drop"}, "run_dpo align rows dpo_rows"),
        ({"stage": "rm", "score_margin": 1}, "run_rm align rows rm_rows selection"),
        ({"stage": "rm", "resume_from_checkpoint": "there"}, "run_rm rm_trainer"),
        ({"stage": "rm", "overlong": "drop", "resume_from_checkpoint": True}, "run_rm align rows rm_rows rm_trainer"),
        ({"stage": "rm"}, ""),
        ({"stage": "ppo"}, "run_ppo align rows ppo_rows"),
        ({"stage": "sft", "data_ratio": 0.5}, "run_sft align selection"),
        ({"data_ratio": 0.5}, "run_sft align selection"),
        ({"stage": "kto", "data_ratio": 0.5}, "run_kto align selection"),
        ({"stage": "dpo", "sample_weights": True}, "run_dpo align rows dpo_rows trainer selection"),
        ({"stage": "kto", "kto_engine": "resonance"}, "run_kto align rows kto_rows kto_models kto_trainer"),
        (
            {"stage": "kto", "overlong": "drop", "data_ratio": 0.5},
            "run_kto align rows kto_rows kto_models kto_trainer selection",
        ),
        ({"stage": "pt", "data_ratio": 0.5}, "run_pt align selection"),
        ({"stage": "sft", "image_root": "pictures"}, ""),
    ],
)
def test_scopes_of_a_recipe(recipe: dict, scopes: str) -> None:
    assert routes.scopes(recipe) == (*routes.EVERY, *scopes.split())


@pytest.mark.parametrize("stage", [None, "pt", "sft", "rm", "dpo", "kto"])
def test_a_stock_recipe_has_no_route(stage: str | None) -> None:
    assert routes.find({"stage": stage, "pref_loss": "sigmoid", "dataset": "pairs"} if stage else {}) is None


def test_a_recipe_of_one_stage_needs_no_name_of_another() -> None:
    kept = [patch for patch in PATCHES if ".rm." not in patch.target and ".kto." not in patch.target]
    lost = [patch for patch in PATCHES if patch not in kept]
    needed = routes.scopes({"stage": "dpo", "pref_loss": "uni_dpo", "data_ratio": 0.5})
    assert {patch.scope for patch in lost}.isdisjoint(needed)
    Registry("llamafactory", registry.supported, registry.tested, [p for p in kept if not p.always]).require(*needed)


def test_a_run_gets_our_names_and_callbacks_and_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.data import loader

    from resonance.hooks.always import run_stage
    from resonance.rows.align import align_dataset

    prepared, seen, before = [], {}, loader.align_dataset

    def run_sft(model_args, data_args, training_args, finetuning_args, generating_args, callbacks=None):
        seen.update(align=loader.align_dataset, callbacks=callbacks)
        return "done"

    route = routes.Route(
        "sft",
        lambda values: values["data_ratio"] < 1,
        ("align",),
        lambda *a: prepared.append(a),
        lambda c: [*c, "ours"],
    )
    monkeypatch.setattr(routes, "ROUTES", (route,))
    model, data, training, finetuning = (
        SimpleNamespace(),
        SimpleNamespace(data_ratio=0.5),
        SimpleNamespace(),
        SimpleNamespace(stage="sft"),
    )
    wrapped = run_stage(run_sft)
    assert wrapped(model, data, training, finetuning, "generating", ["theirs"]) == "done"
    assert seen == {"align": align_dataset, "callbacks": ["theirs", "ours"]} and loader.align_dataset is before
    assert prepared == [(model, data, training, finetuning)]
    data.data_ratio = 1.0
    assert wrapped(model, data, training, finetuning, "generating", callbacks=["theirs"]) == "done"
    assert seen == {"align": before, "callbacks": ["theirs"]} and len(prepared) == 1


@pytest.mark.parametrize(("loss", "warned"), [("uni_dpo", 1), ("sigmoid", 0)])
def test_a_newer_llamafactory_is_one_warning_of_our_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loss: str, warned: int
) -> None:
    from llamafactory.hparams import get_train_args

    seen: list[str] = []
    monkeypatch.setattr("resonance.hooks.always.logger.warning", seen.append)
    monkeypatch.setattr("resonance.hooks.registry.version", lambda name: "0.9.99")
    get_train_args(base_recipe(tmp_path, pref_loss=loss))
    assert len(seen) == warned and all("llamafactory 0.9.99 is newer than what Resonance was" in line for line in seen)


def renamed(function: FunctionType, before: str, after: str) -> FunctionType:
    """The function with a global that it reads under another name."""
    names = tuple(after if name == before else name for name in function.__code__.co_names)
    return FunctionType(function.__code__.replace(co_names=names), function.__globals__, argdefs=function.__defaults__)


@pytest.fixture
def without_read_args(monkeypatch: pytest.MonkeyPatch) -> Any:
    """LlamaFactory's parser, with `read_args` under another name; the wrapper of a fresh start around it."""
    from llamafactory.hparams import parser

    from resonance.hooks.always import get_train_args

    monkeypatch.setattr(parser, "read_arguments", parser.read_args, raising=False)
    monkeypatch.delattr(parser, "read_args")
    monkeypatch.setattr(parser, "_parse_args", renamed(parser._parse_args, "read_args", "read_arguments"))
    monkeypatch.setattr(parser, "get_train_args", get_train_args(inspect.unwrap(parser.get_train_args)))
    return parser


@pytest.mark.parametrize("way", ["mapping", "file", "flags"])
def test_a_parser_whose_reader_has_another_name_parses_every_recipe(
    without_read_args: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    path = tmp_path / "recipe.yaml"
    for loss in ("sigmoid", "uni_dpo"):
        recipe = base_recipe(tmp_path / "out", pref_loss=loss)
        path.write_text(yaml.safe_dump(json.loads(json.dumps(recipe, default=str))))
        flags = [f"--{key}={value}" for key, value in recipe.items()]
        monkeypatch.setattr(sys, "argv", ["train", *([str(path), "pref_beta=0.25"] if way == "file" else flags)])
        *_, finetuning_args, _ = without_read_args.get_train_args(recipe if way == "mapping" else None)
        assert finetuning_args.pref_loss == loss and (way != "file" or finetuning_args.pref_beta == 0.25)


@pytest.mark.parametrize("flags", [False, True])
def test_where_our_arguments_are_missing_a_stock_recipe_is_llamafactorys_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: bool
) -> None:
    """Whatever its parser takes and returns."""
    from resonance.hooks.always import get_train_args

    target = "llamafactory.hparams.finetuning_args.FinetuningArguments"
    monkeypatch.setitem(registry._errors, target, "llamafactory 0.10.0 is outside the supported range")
    calls: list[Any] = []

    def parse(args: Any = None) -> str:
        calls.append(args)
        return "parsed"

    wrapped = get_train_args(parse)
    stock, ours = (["--pref_loss", loss, "--stage=dpo"] if flags else base_recipe(tmp_path, pref_loss=loss, new_key=1)
                   for loss in ("sigmoid", "uni_dpo"))  # fmt: skip
    assert wrapped(stock) == "parsed" and calls == [stock] and calls[0] is stock
    with pytest.raises(ImportError, match="cannot be applied to .*\n  - llamafactory 0.10.0 is outside the supported"):
        wrapped(ours)
    assert len(calls) == 1


def test_a_recipe_that_cannot_be_read_is_explained_by_llamafactory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from llamafactory.hparams import get_train_args

    monkeypatch.setattr(sys, "argv", ["train", str(tmp_path / "absent.yaml")])
    with pytest.raises(FileNotFoundError, match="absent.yaml"):
        get_train_args()


def anything(*args: Any, **kwargs: Any) -> str:
    return "ran"


@pytest.mark.parametrize(
    ("replacement", "original"),
    [
        ("finetuning_arguments", make_dataclass("FinetuningArguments", [])),
        ("data_arguments", make_dataclass("DataArguments", [])),
        ("run_stage", anything),  # what another package may leave in place of a function
    ],
)
def test_what_cannot_be_wrapped_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], replacement: str, original: Any
) -> None:
    module = ModuleType("stub_upstream")
    module.name = original
    monkeypatch.setitem(sys.modules, "stub_upstream", module)
    declared = {"parameters": (), "why": "a test", "versions": (), "remove_when": "never", "always": True}
    patch = Patch("stub_upstream.name", f"resonance.hooks.always:{replacement}", "arguments", **declared)
    fresh = Registry("llamafactory", registry.supported, registry.tested, [patch])
    fresh.apply(module)
    assert module.name is original and "could not replace stub_upstream.name" in capsys.readouterr().err
    assert not fresh.holds("arguments")
