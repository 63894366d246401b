# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's own trainers of stages that ours do not run, with learning rates of parts, and resumable.

A full run of a vision-language model has to be resumed by us: see resume.py.
"""

from __future__ import annotations

from llamafactory.train.kto.trainer import CustomKTOTrainer
from llamafactory.train.pt.trainer import CustomTrainer
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

from .rates import RatesTrainer
from .resume import ResumableTrainer


class RatesSFTTrainer(RatesTrainer, ResumableTrainer, CustomSeq2SeqTrainer):
    """LlamaFactory's trainer of answers."""


class RatesPretrainer(RatesTrainer, ResumableTrainer, CustomTrainer):
    """LlamaFactory's trainer of plain text."""


class RatesKTOTrainer(RatesTrainer, ResumableTrainer, CustomKTOTrainer):
    """LlamaFactory's trainer of KTO."""
