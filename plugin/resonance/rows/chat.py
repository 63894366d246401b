# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A tokenized prompt as the conversation that a chat server takes, with the images that the model would see here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamafactory.extras.constants import IMAGE_PLACEHOLDER

from .collate import at_counted_size, describe_rows
from .prompts import messages_of

Message = dict[str, Any]
ROLES = ("system", "user", "assistant")


class ChatWriter:
    """Writes messages as `{"role": ..., "content": text, or [{"type": "text" | "image", ...}, ...]}`.

    Args:
        template: LlamaFactory's.
        processor: of the model, or None.
    """

    def __init__(self, template: Any, processor: Any) -> None:
        self.template, self.processor = template, processor

    def __call__(self, row: Mapping[str, Any]) -> list[Message]:
        """The conversation of a row; its images are those of a batch, before the model's own processor.

        Raises:
            ValueError: it has media or roles that are not sent to servers, or an image that cannot be decoded.
        """
        messages = messages_of(row)
        problems = [f"{kind} are not sent to servers" for kind in ("videos", "audios") if row.get(kind)]
        strange = sorted({message["role"] for message in messages} - {*ROLES})
        problems += [f"messages of {role} are not sent to servers" for role in strange]
        if problems:
            raise ValueError(f"{describe_rows([dict(row)])}: {', '.join(problems)}; use `rollout_backend: local`.")
        if messages[0]["role"] != "system" and self.template.default_system:
            messages = [{"role": "system", "content": self.template.default_system}, *messages]
        images = iter(self._images(row))
        return [{**message, "content": _parts(message["content"], images)} for message in messages]

    def _images(self, row: Mapping[str, Any]) -> list[Any]:
        """In RGB and within the recipe's limits."""
        if not row.get("images"):
            return []
        sized = at_counted_size(dict(row))["images"]
        try:
            found = self.template.mm_plugin._regularize_images(
                sized,
                image_max_pixels=self.processor.image_max_pixels,
                image_min_pixels=self.processor.image_min_pixels,
            )
        except Exception as error:
            where = describe_rows([dict(row)])
            raise ValueError(f"{where}: an image cannot be sent ({type(error).__name__}: {error}).") from error
        return found["images"]


def _parts(text: str, images: Any) -> str | list[Message]:
    """A text with placeholders -> texts and images in their order; a text without any stays one."""
    pieces = text.split(IMAGE_PLACEHOLDER)
    found: list[Message] = [{"type": "text", "text": pieces[0]}]
    for piece in pieces[1:]:
        found += [{"type": "image", "image": next(images)}, {"type": "text", "text": piece}]
    return text if len(pieces) == 1 else [part for part in found if part.get("text") != ""]
