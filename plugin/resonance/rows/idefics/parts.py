# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tower, connector and language model by name, for what a recipe freezes and where it puts adapters."""

from __future__ import annotations

from typing import Any

MODEL_TYPES = ("idefics2", "idefics3", "smolvlm")


def composite_models(models: dict[str, Any]) -> dict[str, Any]:
    """LlamaFactory's COMPOSITE_MODELS, with these; what it has of its own stays."""
    from llamafactory.model.model_utils.visual import _register_composite_model

    for model_type in MODEL_TYPES:
        if model_type not in models:
            _register_composite_model(
                model_type,
                projector_keys=["model.connector"],
                vision_model_keys=["vision_model"],
                language_model_keys=["text_model", "lm_head"],
            )
    return models
