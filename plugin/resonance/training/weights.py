# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Loading models so that a weight missing from the checkpoint stops the run by name.

Transformers initialises a missing weight at random and says so in a log line. When it is the
`lm_head`, policy and reference get the same random one, and the only sign is a first DPO loss that is not ln 2.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llamafactory.extras import logging
from llamafactory.model import load_model as llamafactory_load_model
from llamafactory.train.trainer_utils import create_ref_model as llamafactory_create_ref_model
from transformers import PreTrainedModel

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def load_model(
    tokenizer: Any, model_args: Any, finetuning_args: Any, is_trainable: bool = False, add_valuehead: bool = False
) -> Any:
    """LlamaFactory's `load_model`, complete or ValueError (`allow_missing_weights: true` makes it a WARNING)."""
    if stands_for_policy(finetuning_args):
        return load_reference(model_args, finetuning_args, add_valuehead)
    # with adapters that can be switched off, which a model that is not to be trained does not have
    is_trainable = is_trainable or finetuning_args.precompute_only
    with complete_weights(finetuning_args.allow_missing_weights):
        return llamafactory_load_model(tokenizer, model_args, finetuning_args, is_trainable, add_valuehead)


def create_ref_model(model_args: Any, finetuning_args: Any, add_valuehead: bool = False) -> Any:
    """The reference model; None under `precompute_ref_log_probs`, where the trainer loads it if it has to."""
    if finetuning_args.precompute_ref_log_probs:
        return None
    return load_reference(model_args, finetuning_args, add_valuehead)


def stands_for_policy(finetuning_args: Any) -> bool:
    """Whether a run that only computes can do without the policy: the reference is the same checkpoint."""
    own = finetuning_args.finetuning_type != "lora" and finetuning_args.ref_model is None
    return finetuning_args.precompute_only and own


def load_reference(model_args: Any, finetuning_args: Any, add_valuehead: bool = False) -> Any:
    """LlamaFactory's `create_ref_model` under the same condition as `load_model`."""
    with complete_weights(finetuning_args.allow_missing_weights):
        return llamafactory_create_ref_model(model_args, finetuning_args, add_valuehead)


def prepared_reference(trainer: Any, model: Any) -> Any:
    """A model that is called but never trained, as the trainer's accelerator has it.

    Under DeepSpeed an engine of its own, which spreads the weights as the policy's does from ZeRO-3 on.
    """
    accelerator = trainer.accelerator
    if not trainer.is_deepspeed_enabled:
        return accelerator.prepare_model(model, evaluation_mode=True).eval()
    import deepspeed

    config = copy.deepcopy(accelerator.state.deepspeed_plugin.deepspeed_config)
    if config["zero_optimization"]["stage"] != 3:
        config["zero_optimization"]["stage"] = 0
    for name in ("optimizer", "scheduler"):
        config.pop(name, None)
    engine, *_ = deepspeed.initialize(model=model, config=config)
    engine.eval()  # returns None
    return engine


@contextmanager
def complete_weights(allow_missing: bool) -> Iterator[None]:
    """Within the block, `from_pretrained` reports what a checkpoint lacks.

    Uses Transformers' public `output_loading_info`, which knows about renamed and tied weights. Not safe to enter from
    two threads at once, because it replaces `PreTrainedModel.from_pretrained` for the duration.
    """
    original = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: type, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        model, info = original.__func__(cls, *args, output_loading_info=True, **kwargs)
        path = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        _judge(str(path), info, allow_missing)
        return (model, info) if output_loading_info else model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        with warnings.catch_warnings():
            if not allow_missing:  # PEFT only warns when an adapter file lacks weights
                warnings.filterwarnings("error", message="Found missing adapter keys")
            yield
    finally:
        PreTrainedModel.from_pretrained = original


def _judge(path: str, info: dict[str, Any], allow_missing: bool) -> None:
    missing, unused = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        message = (
            f"the checkpoint {path} lacks {len(missing)} weight(s) of the model: {', '.join(missing[:10])}"
            f"{' ...' if len(missing) > 10 else ''}. They would be initialised at random"
        )
        if not allow_missing:
            raise ValueError(
                f"{message}, in the policy and in the reference. Save the checkpoint again with these weights (a tied "
                "lm_head needs `tie_word_embeddings: true` in config.json), or set `allow_missing_weights: true`."
            )
        logger.warning_rank0(f"{message}, as `allow_missing_weights: true` permits.")
    if unused:
        logger.warning_rank0(
            f"The checkpoint {path} has {len(unused)} weight(s) that the model does not use: {', '.join(unused[:10])}"
            f"{' ...' if len(unused) > 10 else ''}."
        )
