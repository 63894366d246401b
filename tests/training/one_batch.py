# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A preference trainer on a tiny model, for one batch in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamafactory.hparams import FinetuningArguments, TrainingArguments

from forward.tiny import FAMILIES, for_training, make
from resonance.training.preference import PreferenceTrainer

RECIPE = {
    "stage": "dpo",
    "finetuning_type": "full",
    "pref_engine": "resonance",
    "pref_speedups": "off",
    "record_pairs": False,  # whose names a run would know
}


def preference_trainer(folder: Path, family: str = "qwen2", **recipe: Any) -> PreferenceTrainer:
    """Policy and reference are the same model; a loss without a reference gets none."""
    model, reference = for_training(make(FAMILIES[family]()), "full"), make(FAMILIES[family]()).eval()
    options = {"output_dir": str(folder), "report_to": "none", "remove_unused_columns": False, "use_cpu": True}
    arguments = FinetuningArguments(**{**RECIPE, **recipe})
    return PreferenceTrainer(
        model,
        reference if arguments.use_ref_model else None,
        arguments,
        processor=None,
        args=TrainingArguments(**options),
        tokenizer=None,
        data_collator=lambda rows: rows,
        train_dataset=[{}],
    )
