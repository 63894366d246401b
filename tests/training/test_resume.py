# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Killed with SIGKILL in the middle, the same command goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from forward.tiny import FAMILIES, make
from resonance.arguments.resume import is_complete
from resonance.training.resume import load_renamed

TIMING = ("runtime", "per_second")
STEPS = {"num_train_epochs": 5, "save_strategy": "steps", "save_steps": 5}
# the BCO modifier has state of its own, which must survive too
RECIPE = {**STEPS, "pref_loss": "uni_dpo", "pref_beta": 2.0, "pref_bco_weight": 0.3, "per_device_train_batch_size": 4}


def numbers(run):
    return [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in run.state["log_history"]]


def kill_after(command: list[str], env: dict[str, str], checkpoint: Path) -> None:
    """Start `command` and send SIGKILL as soon as `checkpoint` is complete."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not is_complete(checkpoint):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def saved(family, folder):
    """A checkpoint, and a model of the same kind with other weights."""
    model = make(FAMILIES[family]())
    model.save_pretrained(folder)
    other = make(FAMILIES[family]())
    for parameter in other.parameters():
        parameter.data.add_(1.0)
    return model.state_dict(), other


def test_weights_under_older_names_are_loaded(tmp_path):
    weights, other = saved("qwen2_vl", tmp_path)
    assert not set(load_file(tmp_path / "model.safetensors")) <= set(weights), "they are saved under older names"
    assert load_renamed(other, str(tmp_path))
    found = other.state_dict()
    assert set(found) == set(weights) and all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_weight_that_a_checkpoint_with_older_names_lacks_is_named(tmp_path):
    _, other = saved("qwen2_vl", tmp_path)
    kept = load_file(tmp_path / "model.safetensors")
    del kept["lm_head.weight"]
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weight\(s\) of the model: lm_head\.weight"):
        load_renamed(other, str(tmp_path))


def test_weights_under_the_names_of_the_model_are_left_to_transformers(tmp_path):
    weights, other = saved("qwen2", tmp_path)
    assert not load_renamed(other, str(tmp_path))
    found = other.state_dict()
    assert all(torch.equal(found[name], weights[name] + 1.0) for name in weights)


def test_kill_and_resume_is_bit_equal(recipe, train, cli_env, tmp_path):
    whole = train(recipe(**RECIPE, output_dir=str(tmp_path / "whole")))
    cut = recipe(**RECIPE, output_dir=str(tmp_path / "cut"))
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(cut))
    cli = next(str(Path(folder, "llamafactory-cli")) for folder in cli_env["PATH"].split(os.pathsep))
    kill_after([cli, "train", str(tmp_path / "cut.yaml")], cli_env, tmp_path / "cut" / "checkpoint-10")
    assert not (tmp_path / "cut" / "train_results.json").exists(), "it was killed before the end"
    half_written = tmp_path / "cut" / "checkpoint-35"  # as if the kill had come while saving
    half_written.mkdir()
    (half_written / "model.safetensors").write_bytes(b"half")

    resumed = train(cut)
    assert "checkpoint-35 was cut off while it was being saved; resuming from" in resumed.output
    assert numbers(resumed)[:-1] == numbers(whole)[:-1], "the last line sums up its own part only"
    assert len(whole.logged("loss")) == 40
    pairs = (whole.output_dir / "pairs.jsonl").read_text()
    assert (resumed.output_dir / "pairs.jsonl").read_text() == pairs and len(pairs.splitlines()) == 5 * 32


def test_the_best_model_at_the_end_is_the_best_one(recipe, train):
    """Transformers saves these weights under older names; they must come back into the model all the same."""
    run = train(
        recipe(
            pref_loss="uni_dpo",
            pref_beta=2.0,
            save_strategy="steps",
            save_steps=2,
            eval_dataset="pairs",
            eval_strategy="steps",
            eval_steps=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=True,  # so that the first checkpoint stays the best: the loss falls
        )
    )
    best = Path(run.state["best_model_checkpoint"])
    assert best.name != "checkpoint-8"
    saved, kept = load_file(run.output_dir / "model.safetensors"), load_file(best / "model.safetensors")
    last = load_file(run.output_dir / "checkpoint-8" / "model.safetensors")
    assert set(saved) == set(kept)
    assert all(torch.equal(saved[name], kept[name]) for name in saved)
    assert not all(torch.equal(last[name], kept[name]) for name in kept)
