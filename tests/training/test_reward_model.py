# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`stage: rm` goes on from a checkpoint as if it had never stopped."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file

BASE = {"stage": "rm", "max_steps": 4, "num_train_epochs": None, "save_strategy": "steps", "save_steps": 2}
LORA = {"finetuning_type": "lora", "lora_rank": 4}


@pytest.mark.parametrize("kind", [pytest.param({}, id="full"), pytest.param(LORA, id="lora", marks=pytest.mark.slow)])
def test_a_resumed_run_has_the_losses_and_weights_of_one_that_never_stopped(train, recipe, tmp_path, kind):
    whole = train(recipe(**BASE, **kind, output_dir=tmp_path / "whole"))
    checkpoint = tmp_path / "checkpoint-2"
    shutil.copytree(whole.output_dir / "checkpoint-2", checkpoint)
    resumed = train(recipe(**BASE, **kind, output_dir=tmp_path / "resumed", resume_from_checkpoint=str(checkpoint)))
    assert f"resuming from {checkpoint}" in resumed.output or kind == LORA
    assert not (resumed.output_dir / "checkpoint-2").exists(), "it has not started anew"
    assert resumed.logged("loss") == whole.logged("loss") and len(whole.logged("loss")) == 4
    files = sorted(path.name for path in whole.output_dir.glob("*.safetensors"))
    assert "value_head.safetensors" in files and len(files) == 2
    for name in files:
        ours, theirs = (load_file(run.output_dir / name) for run in (resumed, whole))
        assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


def test_a_checkpoint_of_another_stage_is_refused(train, recipe, tmp_path):
    whole = tmp_path / "checkpoint-2"
    whole.mkdir()
    (whole / "trainer_state.json").write_text("{}")
    stopped = train(recipe(**BASE, resume_from_checkpoint=str(whole)), check=False)
    assert stopped.returncode == 1
    assert "value_head.safetensors is missing: the checkpoint is of no reward model" in stopped.output
