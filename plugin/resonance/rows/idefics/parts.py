# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The models by name, and their tower, connector and language model, which recipes freeze or give adapters."""

from __future__ import annotations

from typing import Any

MODEL_TYPES = ("idefics2", "idefics3", "smolvlm")
# By template: what the web interface offers, and shows an image box for.
MODELS = {
    "idefics2": ("HuggingFaceM4/idefics2-8b", "HuggingFaceM4/idefics2-8b-chatty"),
    "idefics3": ("HuggingFaceM4/Idefics3-8B-Llama3",),
    "smolvlm": (
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        "HuggingFaceTB/SmolVLM-Instruct",
        "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
    ),
}


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


def supported_models(models: dict[str, Any]) -> dict[str, Any]:
    """LlamaFactory's SUPPORTED_MODELS, with these; what it has of its own stays."""
    from llamafactory.extras.constants import DownloadSource, register_model_group

    for template, names in MODELS.items():
        group = {name.partition("/")[2]: {DownloadSource.DEFAULT: name} for name in names}
        group = {name: source for name, source in group.items() if name not in models}
        register_model_group(models=group, template=template, multimodal=True)
    return models
