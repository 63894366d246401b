# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run goes on from what its own recipe left, whole; from anything else only if it is asked to."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import yaml
from llamafactory.hparams import get_train_args
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from conftest import DATA, MODEL
from resonance.arguments.resume import RECIPE_FILE, RUN_FILE
from resonance.training.context import RunArguments, RunIsOver, running
from resonance.training.continuing import check_continuation
from resonance.training.empty import StepWatch
from resonance.training.record import RunRecord, run_record
from resonance.training.resume import BaselineCallback

WHOLE = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")


@pytest.fixture
def given(recipe, tmp_path):
    shutil.copytree(DATA, tmp_path / "data")
    changes = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "dataset_dir": str(tmp_path / "data")}
    return recipe(**changes, output_dir=str(tmp_path / "out"))


def parsed(given, **changes):
    changed = {key: value for key, value in {**given, **changes}.items() if value is not None}
    return RunArguments(*get_train_args(changed)[:4])


@pytest.fixture
def out(given, tmp_path):
    """The output folder of a run that was killed after step 4."""
    folder = tmp_path / "out"
    leave(given, folder / "checkpoint-4")
    return folder


def leave(given, checkpoint, files=WHOLE):
    checkpoint.mkdir(parents=True)
    for name in files:
        (checkpoint / name).write_bytes(b"")
    (checkpoint / "trainer_state.json").write_text('{"global_step": 4, "max_steps": 8}')
    (checkpoint / RUN_FILE).write_text(json.dumps(run_record(parsed({**given, "output_dir": "elsewhere"}))))


def refused(args, ours=True):
    with pytest.raises(ValueError) as caught:
        check_continuation(*args, ours=ours)
    return str(caught.value)


def test_the_same_recipe_goes_on_with_other_keys_of_how_and_how_long(given, out):
    free = {"num_train_epochs": 9, "logging_steps": 7, "pref_speedups": "off", "plot_loss": True, "media_dir": None}
    args = parsed(given, **free)
    assert args.training.resume_from_checkpoint == str(out / "checkpoint-4")
    check_continuation(*args, ours=True)
    halves = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    check_continuation(*parsed(given, **halves), ours=True)


def test_completions_may_come_from_servers_at_another_address(recipe, tmp_path):
    rewards = [{"name": "length", "max_length": 4}]
    how = {"stage": "ppo", "ppo_variant": "reinforce_plus_plus", "rewards": rewards, "dataset": "prompts"}
    given = recipe(**how, rollout_backend="vllm", rollout_url="http://10.0.0.1:1", dataset_dir=str(tmp_path))
    (tmp_path / "prompts.json").write_text('[{"instruction": "Which?", "output": ""}]')
    (tmp_path / "dataset_info.json").write_text('{"prompts": {"file_name": "prompts.json"}}')
    leave(given, tmp_path / "out" / "checkpoint-4")
    moved = {"rollout_url": ["http://10.0.0.2:2"], "rollout_wait": 5, "rollout_logp_limit": 0.5}
    check_continuation(*parsed(given, **moved), ours=True)
    assert "rollout_backend: 'vllm', now 'local'" in refused(parsed(given, rollout_backend=None, rollout_url=None))


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("pref_loss", "bco_pair", "pref_loss: 'uni_dpo', now 'bco_pair'"),
        ("pref_beta", 0.1, "pref_beta: 2.0, now 0.1"),
        ("uni_dpo_tau_good", 4.0, "uni_dpo_tau_good: 2.5, now 4.0"),
        ("learning_rate", 1e-3, "learning_rate: 0.0002, now 0.001"),
        ("template", "qwen", "template: 'qwen2_vl', now 'qwen'"),
        ("data_ratio", 0.5, "data_ratio: 1.0, now 0.5"),
        ("finetuning_type", "freeze", "finetuning_type: 'full', now 'freeze'"),
        ("gradient_accumulation_steps", 2, "rows an optimizer step: 4, now 8"),
        ("ref_model", str(MODEL), "ref_model: None, now"),
        ("seed", 7, "seed: 42, now 7"),
    ],
)
def test_another_recipe_is_refused_with_what_differs(given, out, key, value, line):
    text = refused(parsed(given, **{key: value}))
    assert text.startswith(f"This run cannot go on from {out / 'checkpoint-4'}:") and f"  - {line}" in text
    assert RECIPE_FILE in text and "`allow_changed_recipe: true`" in text
    check_continuation(*parsed(given, **{key: value}, allow_changed_recipe=True), ours=True)


def test_all_differences_at_once_also_for_a_loss_of_llamafactory(given, out):
    """Its own trainer would go on from our checkpoint without a word."""
    text = refused(parsed(given, pref_loss="sigmoid", pref_beta=0.1), ours=False)
    assert "pref_loss: 'uni_dpo', now 'sigmoid'" in text and "pref_beta: 2.0, now 0.1" in text


def test_data_and_model_are_known_by_their_content(given, out, tmp_path):
    pairs = tmp_path / "data" / "pairs.json"
    pairs.write_text(pairs.read_text().replace("red", "blue"))
    assert "dataset: pairs: its rows or its entry have changed" in refused(parsed(given))
    shutil.copy(DATA / "pairs.json", pairs)
    moved = tmp_path / "moved"
    shutil.copytree(MODEL, moved)
    check_continuation(*parsed(given, model_name_or_path=str(moved)), ours=True)
    weights = load_file(moved / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, moved / "model.safetensors", {"format": "pt"})
    assert "model_name_or_path: {'name'" in refused(parsed(given, model_name_or_path=str(moved)))


def test_swapped_score_columns_are_other_data(given, out, tmp_path):
    path = tmp_path / "data" / "dataset_info.json"
    info = json.loads(path.read_text())
    columns = info["pairs"]["columns"]
    columns["score_chosen"], columns["score_rejected"] = columns["score_rejected"], columns["score_chosen"]
    path.write_text(json.dumps(info))
    assert "its entry have changed" in refused(parsed(given))


def test_a_checkpoint_without_the_state_of_the_optimizer_is_refused(given, out):
    leave(given, out / "checkpoint-6", files=["model.safetensors"])
    text = refused(parsed(given))
    assert "checkpoint-6" in text and "it has no optimizer.pt, scheduler.pt, rng_state.pth" in text
    assert f"`resume_from_checkpoint: {out / 'checkpoint-4'}` has all" in text
    check_continuation(*parsed(given, resume_from_checkpoint=str(out / "checkpoint-4")), ours=True)


def test_an_adapter_has_to_be_there(recipe, tmp_path):
    lora = recipe(pref_loss="uni_dpo", finetuning_type="lora", output_dir=str(tmp_path / "out"))
    leave(lora, tmp_path / "out" / "checkpoint-4")
    assert "it has no adapter_model.safetensors" in refused(parsed(lora))
    (tmp_path / "out" / "checkpoint-4" / "adapter_model.safetensors").write_bytes(b"")
    check_continuation(*parsed(lora), ours=True)


def test_a_folder_of_another_program_is_refused_and_left_to_its_own(given, out):
    (out / "checkpoint-4" / RUN_FILE).unlink()
    assert "its recipe is not known" in refused(parsed(given))
    check_continuation(*parsed(given, pref_loss="sigmoid"), ours=False)
    check_continuation(*parsed(given, allow_changed_recipe=True), ours=True)


def test_a_kill_before_the_record_was_in_the_checkpoint(given, out):
    (out / "checkpoint-4" / RUN_FILE).rename(out / RUN_FILE)
    check_continuation(*parsed(given), ours=True)
    assert "seed: 42, now 7" in refused(parsed(given, seed=7))


def test_nobody_starts_anew_beside_checkpoints(given, out):
    text = refused(parsed(given, overwrite_output_dir=True))
    assert "has 1 checkpoints of an earlier run (checkpoint-4)" in text and "Remove the key to go on" in text
    (out / "checkpoint-4" / "trainer_state.json").unlink()  # no run would go on from it
    check_continuation(*parsed(given, overwrite_output_dir=True), ours=True)


def test_what_a_run_leaves_can_be_trained_again(given, tmp_path):
    given = {**given, "hf_hub_token": "hf_secret"}
    args = parsed(given)
    state = TrainerState(global_step=3, is_world_process_zero=True)
    record, where = RunRecord(), SimpleNamespace(output_dir=str(tmp_path / "out"), should_save=True)
    with running(args):
        record.on_train_begin(where, state, None)
        record.on_save(where, state, None)
    for folder in (tmp_path / "out", tmp_path / "out" / "checkpoint-3"):
        text = (folder / RECIPE_FILE).read_text()
        assert "hf_secret" not in text and "llamafactory-cli train" in text
        again = yaml.safe_load(text)
        assert again == {key: value for key, value in given.items() if key != "hf_hub_token"}
        made = json.loads((folder / RUN_FILE).read_text())
        assert made == json.loads(json.dumps(run_record(parsed(again)))) and made["versions"]["transformers"]


def test_flags_are_recorded_as_values(given):
    flags = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    args = RunArguments(*get_train_args(flags)[:4])
    assert args.finetuning.given_recipe == given


def test_a_finished_run_ends_before_it_writes(tmp_path):
    where, state = SimpleNamespace(output_dir=str(tmp_path)), TrainerState(global_step=8, max_steps=8)
    StepWatch().on_train_begin(where, state, None)  # killed before the model was saved: it goes on to save it
    (tmp_path / "train_results.json").write_text("{}")
    with pytest.raises(RunIsOver):
        StepWatch().on_train_begin(where, state, None)
    state.max_steps = 9
    StepWatch().on_train_begin(where, state, None)


def test_a_baseline_can_be_saved_beside_a_checkpoint_that_had_none():
    state, baseline = TrainerState(global_step=4), BaselineCallback()
    baseline.on_train_begin(None, state, None)
    assert state.stateful_callbacks["BaselineCallback"] == baseline.state()
