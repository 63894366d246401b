# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a conversation as tokens, and as pixels of a batch.

The processors cut a picture into tiles, each of which becomes the same number of tokens, and mask what they fill up.
Models take pixels as (rows, tiles, 3, height, width), and leave out tiles that are nothing but zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from llamafactory.data.mm_plugin import BasePlugin
from llamafactory.extras.constants import IMAGE_PLACEHOLDER

from ..images import TILES

FAKE, IMAGE = "<fake_token_around_image>", "<image>"
NUMBERS = "num2words"  # SmolVLM2's processor writes the number of a video's frames with it
PIXELS, MASK = "pixel_values", "pixel_attention_mask"
Message = dict[str, str]


@dataclass
class TilesPlugin(BasePlugin):
    """What the families have in common.

    Attributes:
        tiles_as_rows: a batch has a row of pixels for each tile, (tiles, 1, 3, height, width), so that pictures can be
            told apart; else one for each row of the batch, as the models' own processors make it and `generate` needs.
    """

    tiles_as_rows: bool = False

    def process_messages(
        self, messages: list[Message], images: Any, videos: Any, audios: Any, processor: Any
    ) -> list[Message]:
        """The messages with pictures as the model's processor writes them."""
        self._validate_input(processor, images, videos, audios)
        self._validate_messages(messages, images, videos, audios)
        contents = [message["content"].replace(IMAGE_PLACEHOLDER, IMAGE) for message in messages]
        if len(images) and self.expand_mm_tokens:
            contents = self._expanded(contents, images, processor)
        return [{**message, "content": content} for message, content in zip(messages, contents, strict=True)]

    def get_mm_inputs(self, images: Any, videos: Any, audios: Any, imglens: Any, *args: Any, **kwargs: Any) -> Any:
        """Pixels and their mask; see `tiles_as_rows`."""
        processor = kwargs["processor"] if "processor" in kwargs else args[-1]
        self._validate_input(processor, images, videos, audios)
        found = self._get_mm_inputs(images, videos, audios, processor)
        tiles = [int(count) for count in found.pop(TILES, [])]
        if not self.tiles_as_rows:
            found |= {name: _by_row(found[name], tiles, imglens) for name in (PIXELS, MASK) if name in found}
        return found

    def _get_mm_inputs(self, images: Any, videos: Any, audios: Any, processor: Any, **kwargs: Any) -> dict[str, Any]:
        """A row for each tile, and how many tiles each picture has."""
        if not len(images):
            return {}
        each = [[image] for image in self._regular(images, processor)]
        made = processor.image_processor(each, return_tensors="pt")
        pixels, mask = made[PIXELS], made.get(MASK)
        real = torch.ones(pixels.shape[:2], dtype=torch.bool) if mask is None else mask.flatten(2).any(2)
        found = {PIXELS: pixels[real][:, None], TILES: real.sum(1).tolist()}
        return found if mask is None else found | {MASK: mask[real].bool()[:, None]}

    def _regular(self, images: Any, processor: Any) -> list[Any]:
        limits = {name: getattr(processor, name) for name in ("image_max_pixels", "image_min_pixels")}
        return self._regularize_images(images, **limits)["images"]

    def _expanded(self, contents: list[str], images: Any, processor: Any) -> list[str]:
        raise NotImplementedError


@dataclass
class Idefics2Plugin(TilesPlugin):
    """Idefics2: as many tokens for every picture."""

    def _expanded(self, contents: list[str], images: Any, processor: Any) -> list[str]:
        from transformers import Idefics2Processor

        reader = _Reader(processor)
        Idefics2Processor.__call__(reader, text=contents)
        return reader.tokenizer.texts


@dataclass
class Idefics3Plugin(TilesPlugin):
    """Idefics3 and SmolVLM: tiles in rows and columns, and the whole picture."""

    def _validate_input(self, processor: Any, *media: Any) -> None:
        """As LlamaFactory's, which goes on without a processor that it cannot load; a line of INFO says why."""
        if processor is None and find_spec(NUMBERS) is None:
            raise ValueError(
                f"The model has no processor. SmolVLM2's needs a package that is not here: pip install {NUMBERS}. For "
                "another model, see `Failed to load processor` in the log."
            )
        super()._validate_input(processor, *media)

    def _expanded(self, contents: list[str], images: Any, processor: Any) -> list[str]:
        from transformers.models.idefics3.processing_idefics3 import get_image_prompt_string

        made = processor.image_processor(
            self._regular(images, processor), return_tensors="pt", return_row_col_info=True
        )
        whole = getattr(processor, "global_image_tag", None) or processor.global_image_token
        written = iter(
            get_image_prompt_string(rows, columns, processor.image_seq_len, FAKE, IMAGE, whole)
            for rows, columns in zip(made["rows"][0], made["cols"][0], strict=True)
        )
        return ["".join(next(written) if part == IMAGE else part for part in _parts(content)) for content in contents]


class _Reader:
    """A processor whose tokenizer keeps the texts that it is given."""

    def __init__(self, processor: Any) -> None:
        self._processor, self.tokenizer = processor, _Kept(processor.tokenizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


class _Kept:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.texts = tokenizer, list[str]()

    def __call__(self, texts: list[str], **kwargs: Any) -> Any:
        self.texts = texts
        return self._tokenizer(texts, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _parts(content: str) -> list[str]:
    """Texts and pictures in their order."""
    texts = content.split(IMAGE)
    return [part for text in texts for part in (IMAGE, text)][1:]


def _by_row(values: torch.Tensor, tiles: Sequence[int], pictures: Sequence[int]) -> torch.Tensor:
    """(tiles, 1, ...) -> (rows, most tiles of a row, ...), filled up with zeros.

    Args:
        values: of all tiles.
        tiles: of each picture.
        pictures: of each row.
    """
    left = iter(tiles)
    counts = [sum(next(left) for _ in range(count)) for count in pictures]
    return torch.nn.utils.rnn.pad_sequence(list(values[:, 0].split(counts)), batch_first=True)
