# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tokens of a model for media in the texts of a row: the model would look for a medium that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .fields import PLACEHOLDERS


def media_tokens(plugin: Any, processor: Any = None) -> frozenset[str]:
    """Return what a model's template and its processor write for a part of a picture, video or sound."""
    names = [f"{name}_token" for name in PLACEHOLDERS]
    found = [getattr(owner, name, None) for owner in (plugin, processor) for name in names]
    return frozenset(str(token) for token in found if token)


def media_token(row: dict[str, Any], tokens: Iterable[str]) -> str | None:
    """Return which text of an aligned row holds one of the tokens, in words; ``<image>`` itself may be in messages."""
    texts = [("system prompt", row["_system"]), ("description of the tools", row["_tools"])]
    texts += [("prompt", message["content"]) for message in row["_prompt"]]
    texts += [("answer", message["content"]) for message in row["_response"]]
    for token in sorted(tokens):
        expands = token in PLACEHOLDERS.values()
        for name, text in texts[:2] if expands else texts:
            if text and token in text:
                return f"the {name} holds `{token}`, which the model reads as a part of a medium: remove or rewrite it"
    return None
