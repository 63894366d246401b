# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names that we rebind for runs on LlamaFactory's own trainers of stages that ours do not run."""

from __future__ import annotations

from .declare import in_run

_SFT, _PT, _KTO = (f"llamafactory.train.{stage}.workflow" for stage in ("sft", "pt", "kto"))
_RATES = {
    "why": "`vision_lr` and `projector_lr` on LlamaFactory's own trainers",
    "remove_when": "LlamaFactory has learning rates of the vision tower and the projector",
}
_TRAINER = ("finetuning_args", "processor")

STOCK_PATCHES = (
    in_run("sft_trainer", f"{_SFT}.CustomSeq2SeqTrainer", "training.stock:RatesSFTTrainer", _TRAINER, **_RATES),
    in_run("pt_trainer", f"{_PT}.CustomTrainer", "training.stock:RatesPretrainer", _TRAINER, **_RATES),
    in_run("kto_trainer", f"{_KTO}.CustomKTOTrainer", "training.stock:RatesKTOTrainer", (), **_RATES),
)
