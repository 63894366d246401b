# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys of `llamafactory-cli chat`, `api` and `webchat`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEY = "chat_image_positions"


@dataclass
class ChatKeys:
    r"""Keys that no training reads."""

    chat_image_positions: bool = field(
        default=False,
        metadata={
            "help": "In chat and api: tell models with positions in three dimensions (Qwen-VL) where the images are. "
            "LlamaFactory leaves that out, and they count tokens of images as text."
        },
    )


def problems(values: Mapping[str, Any]) -> list[str]:
    """Keys of a training recipe that only a chat reads."""
    key = "chat_image_positions"
    return (
        [f"{key}: no training reads it; it is for llamafactory-cli chat, api and webchat"] if values.get(key) else []
    )
