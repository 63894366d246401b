# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The conversation as the models' chat templates write it.

    <bos>User:<image>What is this?<end_of_utterance>
    Assistant: A cat.<end_of_utterance>

A message that begins with a picture has no space behind the colon. The prompt ends with that colon, so that the space
before an answer belongs to the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llamafactory.data.formatter import EmptyFormatter, StringFormatter
from llamafactory.data.mm_plugin import PLUGINS, get_mm_plugin, register_mm_plugin
from llamafactory.data.template import Template, register_template

from .plugins import FAKE, IMAGE, Idefics2Plugin, Idefics3Plugin

END = "<end_of_utterance>"
# By template: its plugin, and what a conversation begins with.
TEMPLATES: dict[str, tuple[str, Any]] = {
    "idefics2": ("idefics2", {"bos_token"}),
    "idefics3": ("idefics3", {"bos_token"}),
    "smolvlm": ("idefics3", "<|im_start|>"),
}


@dataclass
class UserFormatter(StringFormatter):
    """What a user says."""

    def apply(self, **kwargs: Any) -> Any:
        """Slots with the content; no space between the colon and a picture."""
        found = super().apply(**kwargs)
        shows = kwargs.get("content", "").startswith((FAKE, IMAGE))  # none where an export writes the slots down
        return [slot.replace("User: ", "User:", 1) for slot in found] if shows else found


@dataclass
class IdeficsTemplate(Template):
    """Tokens of a message as part of the conversation."""

    def _convert_elements_to_ids(self, tokenizer: Any, elements: Any) -> list[int]:
        """Token ids of one message.

        LlamaFactory tokenizes messages one by one, and tokenizers of the SentencePiece kind put a space before a text
        that stands alone. So a message is tokenized behind what precedes it from the last special token on.

        Args:
            tokenizer: of the model.
            elements: slots of the message; a set names a special token, with which a conversation begins.
        """
        begins = [slot for slot in elements if not isinstance(slot, str)]
        text = "".join(slot for slot in elements if isinstance(slot, str))
        before = "" if begins else f"{END}\nAssistant:" if text.startswith(" ") else f"{END}\n"
        known = len(tokenizer.encode(before, add_special_tokens=False)) if before else 0
        ids = tokenizer.encode(before + text, add_special_tokens=False)[known:]
        return super()._convert_elements_to_ids(tokenizer, begins) + ids


def with_templates(templates: dict[str, Any]) -> dict[str, Any]:
    """LlamaFactory's TEMPLATES, with these; what it has of its own stays."""
    for name, plugin in (("idefics2", Idefics2Plugin), ("idefics3", Idefics3Plugin)):
        if name not in PLUGINS:
            register_mm_plugin(name, plugin)
    for name, (plugin_name, begin) in TEMPLATES.items():
        if name not in templates:
            register_template(
                name=name,
                format_user=UserFormatter(slots=[f"User: {{{{content}}}}{END}\nAssistant:"]),
                format_assistant=StringFormatter(slots=[f" {{{{content}}}}{END}\n"]),
                format_system=StringFormatter(slots=[f"System: {{{{content}}}}{END}\n"]),
                format_prefix=EmptyFormatter(slots=[begin]),
                stop_words=[END],
                mm_plugin=get_mm_plugin(plugin_name, image_token=IMAGE),
                template_class=IdeficsTemplate,
            )
    return templates
