# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names of LlamaFactory's templates."""

from __future__ import annotations


def template_names() -> list[str]:
    """All that `template` of a recipe can be, sorted."""
    from llamafactory.data.template import TEMPLATES  # seconds: it brings transformers

    return sorted(TEMPLATES)
