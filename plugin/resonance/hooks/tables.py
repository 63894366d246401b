# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's tables that entries of ours are put into, as it puts its own; part of the list in llamafactory.py."""

from __future__ import annotations

from .. import TESTED_LLAMAFACTORY
from .patch import Patch


def _table(target: str, replacement: str) -> Patch:
    return Patch(
        f"llamafactory.{target}",
        f"resonance.rows.idefics.{replacement}",
        "families",
        parameters=(),
        why="Idefics2, Idefics3 and SmolVLM: templates, pictures, and names of their parts",
        versions=TESTED_LLAMAFACTORY,
        remove_when="LlamaFactory has these models",
        always=True,
        optional=True,
    )


TABLES = (
    _table("data.template.TEMPLATES", "templates:with_templates"),
    _table("extras.constants.SUPPORTED_MODELS", "parts:supported_models"),
    _table("model.model_utils.visual.COMPOSITE_MODELS", "parts:composite_models"),
)
