# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Project, group and name of a run reach wandb, and nothing of them stays in the environment."""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Run, base_recipe
from resonance.arguments import recipe, roads, tracking
from resonance.hooks import always, routes
from resonance.training import record
from training import policies

OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
GIVEN = {"project_name": "digits", "group_name": "ablation"}


def test_set_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.delenv("WANDB_RUN_GROUP", raising=False)
    with pytest.raises(KeyError), tracking.named(GIVEN):
        assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_RUN_GROUP"]) == ("digits", "ablation")
        raise KeyError
    assert os.environ["WANDB_PROJECT"] == "mine" and "WANDB_RUN_GROUP" not in os.environ
    with tracking.named({"project_name": None, "group_name": None}):
        assert os.environ["WANDB_PROJECT"] == "mine"
        os.environ["WANDB_PROJECT"] = "llamafactory"  # as LlamaFactory does in a stock run, which stays as it is
    assert os.environ["WANDB_PROJECT"] == "llamafactory"


def test_a_warning_without_wandb() -> None:
    assert tracking.unread(GIVEN, ["wandb", "tensorboard"]) == []
    assert tracking.unread({}, []) == []
    (line,) = tracking.unread({"group_name": "a"}, ["tensorboard"])
    assert line.startswith("group_name: no effect: only wandb reads it; set `report_to: wandb`")


def test_a_parsed_recipe_warns_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    from llamafactory.hparams import get_train_args, read_args

    logger = logging.getLogger("llamafactory")
    logger.addHandler(caplog.handler)
    try:
        get_train_args(read_args({**base_recipe(tmp_path / "out"), **GIVEN}))
    finally:
        logger.removeHandler(caplog.handler)
    (message,) = [record.message for record in caplog.records if "no effect" in record.message]
    assert message.startswith("project_name, group_name: no effect: only wandb reads it; set `report_to: wandb`")


def test_where_nothing_of_ours_runs_they_are_refused() -> None:
    assert recipe.needs_resonance(GIVEN)
    assert [line.split(":")[0] for line in roads.v1_problems(GIVEN)] == ["project_name", "group_name"]
    found = roads.road_problems({"stage": "sft", "use_hyper_parallel": True, **GIVEN}, ())
    assert [line.split(":")[0] for line in found] == ["project_name", "group_name"]


def test_the_patch_that_sets_them_is_required_in_every_stage() -> None:
    for stage in ("pt", "sft", "rm", "dpo", "kto", "ppo"):
        assert f"run_{stage}" in routes.scopes({"stage": stage, **GIVEN})
    assert routes.scopes({"stage": "sft"}) == routes.EVERY


def test_a_run_goes_on_under_another_name() -> None:
    assert set(tracking.KEYS) <= record._FREE


def records(path: Path) -> Iterator[bytes]:
    """What wandb's file holds: LevelDB's log format, behind seven bytes of its own."""
    data, place, part = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield part
            part = b""


def read_back(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The run and the last metrics of an offline run."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("*.wandb")
    last = time.monotonic() + 60
    while True:  # a process of its own writes the file, on a busy machine after `finish` has returned
        run, metrics, kinds = None, dict[str, Any](), set()
        for data in records(path):
            entry = wandb_internal_pb2.Record()
            entry.ParseFromString(data)
            kinds.add(kind := entry.WhichOneof("record_type"))
            if kind == "run":
                run = entry.run
            if kind == "history":
                metrics |= {item.key or "/".join(item.nested_key): item.value_json for item in entry.history.item}
        if "exit" in kinds or time.monotonic() > last:
            assert {"run", "history", "exit"} <= kinds, kinds
            return run, metrics
        time.sleep(0.2)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where offline runs in the folder of this test are written."""
    monkeypatch.chdir(tmp_path)
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "wandb"


def test_wandb_gets_them_in_a_stage_without_a_route(offline: Path, tmp_path: Path) -> None:
    """Transformers' own callback in the run function of a stock recipe."""
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.integrations import WandbCallback

    def run_sft(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
        callback, state, control = WandbCallback(), TrainerState(global_step=1), TrainerControl()
        callback.on_train_begin(training_args, state, control)
        callback.on_log(training_args, state, control, logs={"loss": 0.5, "rewards/margins": 1.5})
        callback._wandb.finish()

    args = TrainingArguments(str(tmp_path / "out"), run_name="first try", report_to="wandb", use_cpu=True)
    always.run_stage(run_sft)(SimpleNamespace(), SimpleNamespace(), args, SimpleNamespace(stage="sft", **GIVEN))
    run, metrics = read_back(offline)
    assert (run.project, run.run_group, run.display_name) == ("digits", "ablation", "first try")
    assert (metrics["train/loss"], metrics["train/rewards/margins"]) == ("0.5", "1.5")


WHOLE = {  # changes to `base_recipe`, and metrics of ours
    "dpo": ({"pref_loss": "uni_dpo"}, {"train/rewards/margins", "train/w_qual"}),
    "ppo": ({}, {"train/reward", "train/kl", "train/completions/mean_length"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", WHOLE)
def test_wandb_gets_them_in_a_whole_run(
    stage: str, offline: Path, train: Callable[..., Run], recipe: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    changes, ours = WHOLE[stage]
    if stage == "ppo":
        changes = policies.policy_recipe(policies.write_policy(tmp_path))
    train(recipe(**{**changes, "run_name": "first try", "report_to": "wandb", "max_steps": 2, **GIVEN}), **OFFLINE)
    run, metrics = read_back(offline)
    assert (run.project, run.run_group, run.display_name) == ("digits", "ablation", "first try")
    assert {"train/loss", "train/learning_rate"} | ours <= set(metrics)
