# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names that we rebind for runs on LlamaFactory's own trainers of stages that ours do not run."""

from __future__ import annotations

from .declare import in_run

_SFT, _PT = (f"llamafactory.train.{stage}.workflow" for stage in ("sft", "pt"))
_RATES = {
    "why": "`vision_lr` and `projector_lr` on LlamaFactory's own trainers",
    "remove_when": "LlamaFactory has learning rates of the vision tower and the projector",
}
_WHOLE = {
    "why": "`overlong` in stage sft: its processor cuts conversations through images, and its collator knows no sizes",
    "remove_when": "it has a policy for long rows, and counts tokens from headers",
}
_TRAINER = ("finetuning_args", "processor")

STOCK_PATCHES = (
    in_run("sft_trainer", f"{_SFT}.CustomSeq2SeqTrainer", "training.stock:RatesSFTTrainer", _TRAINER, **_RATES),
    in_run("pt_trainer", f"{_PT}.CustomTrainer", "training.stock:RatesPretrainer", _TRAINER, **_RATES),
    in_run(
        "sft_rows",
        "llamafactory.data.loader.SupervisedDatasetProcessor",
        "rows.answers:AnswerDatasetProcessor",
        ("template", "tokenizer", "processor", "data_args"),
        **_WHOLE,
    ),
    in_run("sft_rows", f"{_SFT}.SFTDataCollatorWith4DAttentionMask", "rows.answers:AnswerCollator", (), **_WHOLE),
    in_run(
        "sft_rows",
        f"{_SFT}.get_dataset",
        "rows.tokenized_path:get_dataset",
        ("template", "model_args", "data_args", "training_args", "stage"),
        why="a `tokenized_path` made under another policy or limit holds other rows, and would be read in silence",
        remove_when="LlamaFactory keeps the settings of a tokenized set beside it",
    ),
)
