# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`stage: sft` with keys of ours: as LlamaFactory alone where nothing is cut, and exact after a resume."""

from __future__ import annotations

from training.test_stock_stays_stock import numbers

RATE = 2e-4


def test_a_run_is_llamafactorys_own_and_goes_on_exactly(recipe, train, tmp_path, with_sft_set):
    """Rows that fit are tokenized and collated alike, and rates that are all the same change nothing."""
    changes = {
        "stage": "sft",
        "dataset_dir": str(with_sft_set),
        "dataset": "sft",
        "max_steps": 6,
        "learning_rate": RATE,
    }
    stock = train(recipe(**changes, output_dir=tmp_path / "stock"))
    ours = changes | {"overlong": "error", "vision_lr": RATE, "projector_lr": RATE, "save_steps": 3}
    ours["save_strategy"] = "steps"
    whole = train(recipe(**ours, output_dir=tmp_path / "whole"))
    lines = [{key: value for key, value in line.items() if "/" not in key} for line in numbers(whole)]
    assert lines == numbers(stock) and len(whole.logged("loss", "learning_rate/vision")) == 6
    middle = str(whole.output_dir / "checkpoint-3")
    resumed = train(recipe(**ours, output_dir=tmp_path / "resumed", resume_from_checkpoint=middle))
    names = ("loss", "grad_norm", "learning_rate", "learning_rate/projector")
    assert resumed.logged(*names) == whole.logged(*names)
