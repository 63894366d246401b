# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Positions of images in LlamaFactory's chat.

Its engine calls `generate` without `mm_token_type_ids`. Since Transformers 5 Qwen-VL models need them for positions in
three dimensions; without, they count an image's tokens as text, and answer by other log-probabilities than they were
trained with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

_GRIDS = ("image_grid_thw", "video_grid_thw")


def with_token_types(generate: Callable[..., Any], config: Any) -> Callable[..., Any]:
    """`generate` of a model of that configuration, told which tokens of a prompt are images (1) and videos (2)."""

    @wraps(generate)
    def wrapper(inputs: Any = None, **kwargs: Any) -> Any:
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        if ids is not None and "mm_token_type_ids" not in kwargs and any(name in kwargs for name in _GRIDS):
            kinds = ids.new_zeros(ids.shape)
            for number, name in enumerate(("image_token_id", "video_token_id"), 1):
                kinds[ids == getattr(config, name, -1)] = number
            kwargs["mm_token_type_ids"] = kinds
        return generate(inputs, **kwargs)

    return wrapper


def chat_engine(original: type) -> type:
    """LlamaFactory's engine of chats, which reads `chat_image_positions`."""

    class HuggingfaceEngine(original):
        def __init__(self, model_args: Any, data_args: Any, finetuning_args: Any, generating_args: Any) -> None:
            super().__init__(model_args, data_args, finetuning_args, generating_args)
            known = inspect.signature(type(self.model).forward).parameters  # Transformers 4 needs no such input
            if getattr(finetuning_args, "chat_image_positions", False) and "mm_token_type_ids" in known:
                self.model.generate = with_token_types(self.model.generate, self.model.config)

    HuggingfaceEngine.__qualname__, HuggingfaceEngine.__module__ = original.__qualname__, original.__module__
    return HuggingfaceEngine
