# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Aligned pair -> token ids, whole. LlamaFactory's own encoding, with less work.

Images are counted from their headers where that gives the same numbers (`vision`), and text that is in both sequences
of a pair is tokenized once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
from llamafactory.extras.constants import AUDIO_PLACEHOLDER, IGNORE_INDEX, IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER

from .media_tokens import media_token, media_tokens
from .overlong.lengths import Lengths
from .vision.counter import counting_from_headers

REMEMBERED = 64  # texts; a row in work needs its own few
MEDIA = {"_images": IMAGE_PLACEHOLDER, "_videos": VIDEO_PLACEHOLDER, "_audios": AUDIO_PLACEHOLDER}


@dataclass(frozen=True)
class PairIds:
    """Token ids of one pair, as LlamaFactory would have them without a cutoff."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def model_inputs(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """Ids and labels of prompt + chosen, then of prompt + rejected; prompts are not learned."""
        masked = [IGNORE_INDEX] * len(self.prompt)
        return self.prompt + self.chosen, masked + self.chosen, self.prompt + self.rejected, masked + self.rejected

    def lengths(self, media: frozenset[int]) -> Lengths:
        """Count tokens; those of `media` in the longer sequence are the image tokens."""
        image = sum(token in media for token in self.prompt) if media else 0
        answers = max(sum(token in media for token in ids) for ids in (self.chosen, self.rejected)) if media else 0
        return Lengths(len(self.prompt), len(self.chosen), len(self.rejected), image + answers)


@dataclass(frozen=True)
class AnswerIds(PairIds):
    """Token ids of one conversation: up to its last answer, that answer as `chosen`, and nothing as `rejected`.

    Attributes:
        labels: of all tokens; those of earlier answers are learned, too.
    """

    labels: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, ids: list[int], labels: list[int]) -> AnswerIds:
        """Split where the tokens begin that are learned last."""
        start = next((i for i in range(len(labels), 0, -1) if labels[i - 1] == IGNORE_INDEX), 0)
        return cls(ids[:start], ids[start:], [], labels)

    @property
    def ids(self) -> list[int]:
        """Of the whole conversation."""
        return self.prompt + self.chosen


class MediaTokenError(ValueError):
    """A text holds a token of the model for media, for which there is no medium: the model would fail on the batch."""


class PairEncoder:
    """Encode aligned pairs without truncating them.

    Args:
        template: LlamaFactory's template.
        tokenizer: the model's tokenizer.
        processor: the model's multimodal processor, or None.
    """

    def __init__(self, template: Any, tokenizer: Any, processor: Any) -> None:
        self.template, self.processor = template, processor
        self.tokenizer = RememberingTokenizer(tokenizer)
        self.media_tokens = media_tokens(template.mm_plugin, processor)
        endless = SimpleNamespace(cutoff_len=sys.maxsize)
        self._llamafactory: Any = PairwiseDatasetProcessor(template, self.tokenizer, processor, endless)

    def __call__(self, row: dict[str, Any]) -> PairIds:
        """Encode one row: ``_prompt``, ``_response`` (two messages), ``_system``, ``_tools`` and media.

        Raises:
            MediaTokenError: if a text holds what the model reads as a medium; whatever the model's processor raises.
        """
        chosen, labels, rejected, _ = self.encode(row)
        prompt = next((i for i, label in enumerate(labels) if label != IGNORE_INDEX), len(labels))
        return PairIds(chosen[:prompt], chosen[prompt:], rejected[prompt:])

    def encode(self, row: dict[str, Any]) -> tuple[list[int], ...]:
        """What LlamaFactory's processor makes of a row, without a cutoff; raises as a call does."""
        if (found := media_token(row, self.media_tokens)) is not None:
            raise MediaTokenError(found)
        with counting_from_headers(self.template.mm_plugin, self.processor):
            return self._llamafactory._encode_data_example(
                prompt=row["_prompt"],
                response=row["_response"],
                system=row["_system"],
                tools=row["_tools"],
                images=row["_images"] or [],
                videos=row["_videos"] or [],
                audios=row["_audios"] or [],
            )

    def media_ids(self, row: dict[str, Any]) -> frozenset[int]:
        """Return the token ids that stand for the row's media: their own, and the marks around and between them."""
        media = {column: row[column] or [] for column in MEDIA}
        if not any(media.values()):
            return frozenset()
        plugin = self.template.mm_plugin
        placeholders = "".join(placeholder * len(media[column]) for column, placeholder in MEDIA.items())
        with counting_from_headers(plugin, self.processor):
            (expanded,) = plugin.process_messages(
                [{"role": "user", "content": placeholders}], *media.values(), self.processor
            )
        ids = self.tokenizer.encode(expanded["content"], add_special_tokens=False)
        own = [getattr(plugin, f"{name}_token", None) for name in ("image", "video", "audio")]
        named = {self.tokenizer.convert_tokens_to_ids(token) for token in own if token is not None}
        return frozenset(set(ids) & set(self.tokenizer.added_tokens_decoder) | named)


class RememberingTokenizer:
    """A tokenizer that encodes a text once, though it is asked for prompt + chosen and for prompt + rejected."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._encode = lru_cache(REMEMBERED)(lambda text, options: tuple(tokenizer.encode(text, **dict(options))))

    def encode(self, text: str, **options: Any) -> list[int]:
        """As the tokenizer's own `encode`; the list is the caller's."""
        return list(self._encode(text, tuple(sorted(options.items()))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)
