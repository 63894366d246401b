# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's templates: their names, and one with a recipe's settings."""

from __future__ import annotations

from copy import copy
from typing import Any


def template_names() -> list[str]:
    """All that `template` of a recipe can be, sorted."""
    from llamafactory.data.template import TEMPLATES  # seconds: it brings transformers

    return sorted(TEMPLATES)


def own_template(tokenizer: Any, data_args: Any) -> Any:
    """`get_template_and_fix_tokenizer`, in an object of its own.

    LlamaFactory writes `default_system`, `tool_format` and `enable_thinking` into the one object that the process has
    of a template: a reward model's system message would become the policy's too.

    Raises:
        ValueError: as LlamaFactory's, for an unknown template or one that does not fit.
    """
    from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer

    name = data_args.template
    if name not in TEMPLATES:
        return get_template_and_fix_tokenizer(tokenizer, data_args)
    shared = TEMPLATES[name]
    TEMPLATES[name] = copy(shared)
    try:
        return get_template_and_fix_tokenizer(tokenizer, data_args)
    finally:
        TEMPLATES[name] = shared
