# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's four argument objects as far as we read them; for annotations only, every room may import it.

LlamaFactory ships no types and is imported by few rooms. A field that we added is here too; what it means stands with
its declaration in `arguments/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol


class ModelArguments(Protocol):
    """`llamafactory.hparams.ModelArguments`."""

    model_name_or_path: str
    adapter_name_or_path: list[str] | None
    adapter_folder: str | None
    cache_dir: str | None
    compute_dtype: Any
    disable_gradient_checkpointing: bool
    flash_attn: str
    hf_hub_token: str | None
    model_revision: str
    quantization_bit: int | None
    trust_remote_code: bool
    use_kt: bool
    use_unsloth: bool
    image_max_pixels: int
    image_min_pixels: int


class DataArguments(Protocol):
    """`llamafactory.hparams.DataArguments`, and the keys of `arguments/data.py`."""

    template: str | None
    dataset: list[str] | None
    eval_dataset: list[str] | None
    dataset_dir: str | dict[str, Any]
    media_dir: str | None
    cutoff_len: int
    streaming: bool
    preprocessing_num_workers: int | None
    tokenized_path: str | None

    overlong: str | None
    data_ratio: float
    score_margin: float | None
    max_prompt_length: int | None
    max_target_length: int | None
    row_plan: Any  # what a run of ours sets before the data is loaded: a `rows.plan.RowPlan`


class TrainingArguments(Protocol):
    """`llamafactory.hparams.TrainingArguments`: Transformers' with some keys more."""

    output_dir: str
    do_train: bool
    do_eval: bool
    seed: int
    data_seed: int | None
    bf16: bool
    fp16: bool
    dataloader_num_workers: int
    accelerator_config: Any
    resume_from_checkpoint: str | bool | None
    metric_for_best_model: str | None
    greater_is_better: bool | None

    def main_process_first(self, local: bool = True, desc: str = "work") -> AbstractContextManager[None]: ...
    @property
    def world_size(self) -> int: ...
    @property
    def process_index(self) -> int: ...
    @property
    def local_process_index(self) -> int: ...
    @property
    def should_log(self) -> bool: ...
    @property
    def should_save(self) -> bool: ...


class FinetuningArguments(Protocol):
    """`llamafactory.hparams.FinetuningArguments`, and the keys of `arguments/preference.py`."""

    stage: str
    finetuning_type: str
    pref_loss: str
    pure_bf16: bool
    ref_model: str | None
    ref_model_adapters: str | None
    ref_model_quantization_bit: int | None
    create_new_adapter: bool
    use_ref_model: bool

    pref_engine: str
    pref_loss_weights: Any  # numbers in a list or with commas
    sample_weights: bool
    score_order: str | None
    uni_dpo_eta_warmup: float
    mdpo_image: str
    pref_loss_params: Mapping[str, Any] | str | None
    pref_speedups: Any  # a word, names with commas or in a list, or false
    image_feature_cache: str | bool
    group_prompts: str | bool
    allow_missing_weights: bool
    record_pairs: bool
    precompute_ref_log_probs: bool
    ref_log_probs_dir: str | None
    precompute_only: bool
