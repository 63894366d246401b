# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The part of the list in llamafactory.py that is of KTO alone, while it runs on our trainer."""

from __future__ import annotations

from .declare import in_run

_WORKFLOW = "llamafactory.train.kto.workflow"
_AS_DPO = {"why": "as for the same name of the DPO stage", "remove_when": "as there"}

KTO_PATCHES = (
    in_run(
        "kto_rows",
        f"{_WORKFLOW}.get_dataset",
        "rows.tokenized_path:get_dataset",
        ("template", "model_args", "data_args", "training_args", "stage"),
        **_AS_DPO,
    ),
    in_run(
        "kto_rows",
        "llamafactory.data.loader.FeedbackDatasetProcessor",
        "rows.feedback:FeedbackDatasetProcessor",
        ("template", "tokenizer", "processor", "data_args"),
        why="as for PairwiseDatasetProcessor; a row's answer and the borrowed one are laid out as a pair",
        remove_when="as for PairwiseDatasetProcessor",
    ),
    in_run("kto_rows", f"{_WORKFLOW}.KTODataCollatorWithPadding", "rows.collate:PreferenceCollator", (), **_AS_DPO),
    in_run(
        "kto_models",
        f"{_WORKFLOW}.load_model",
        "training.weights:load_model",
        ("tokenizer", "model_args", "finetuning_args", "is_trainable", "add_valuehead"),
        **_AS_DPO,
    ),
    in_run(
        "kto_models",
        f"{_WORKFLOW}.create_ref_model",
        "training.weights:create_ref_model",
        ("model_args", "finetuning_args", "add_valuehead"),
        **_AS_DPO,
    ),
    in_run(
        "kto_models",
        f"{_WORKFLOW}.plot_loss",
        "training.curves:plot_loss",
        ("save_dictionary", "keys"),
        optional=True,
        **_AS_DPO,
    ),
    in_run(
        "kto_trainer",
        f"{_WORKFLOW}.CustomKTOTrainer",
        "training.feedback:kto_trainer",
        ("model", "ref_model", "finetuning_args", "processor", "disable_dropout"),
        why="LlamaFactory's KTO hands models neither videos nor positions of images, and encodes each image twice; "
        "`vision_lr` and `projector_lr` on its own trainer",
        remove_when="LlamaFactory's KTO trainer forwards whatever its collator makes",
    ),
)
