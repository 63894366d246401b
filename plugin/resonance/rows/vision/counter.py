# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaFactory's own `process_messages`, run on sizes.

Nothing of LlamaFactory is copied: its plugin is called with stand-ins for the images and the processor, and so applies
its own pixel limits, rules of side and aspect, and placeholders. A counter is compared with the real path before it is
handed out, and leaves to the real path what it cannot answer: videos, audios, a few shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from llamafactory.extras import logging
from llamafactory.extras.constants import IMAGE_PLACEHOLDER
from PIL import Image

from .families import FAMILIES, NotCountable, Outputs
from .header import SizedImage, SizedImages

logger = logging.get_logger(f"llamafactory.{__name__}")

# (width, height): tiny, narrow, ordinary, and above the usual pixel limit.
PROBES = ((31, 29), (37, 501), (640, 427), (1501, 1100))
# What recipes set on the processor (LlamaFactory's patch_processor) and an image's tokens depend on.
SETTINGS = ("image_max_pixels", "image_min_pixels", "crop_to_patches", "image_do_pan_and_scan")
# Slow processors of Transformers 4 take the rows of such a low image for its channels; the real one has to answer.
LIKE_CHANNELS = (1, 3)


class _SizeProcessor:
    """The image processor where it is asked about images; the real one for all else."""

    def __init__(self, real: Any, outputs: Outputs) -> None:
        self._real, self._outputs = real, outputs

    def __call__(self, images: Sequence[Any], return_tensors: str | None = None, **kwargs: Any) -> dict[str, Any]:
        sizes = [(image.height, image.width) for image in images]
        if any(height in LIKE_CHANNELS for height, _ in sizes):
            raise NotCountable
        return self._outputs(self._real, sizes, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Processor:
    """The multimodal processor, with another image processor."""

    def __init__(self, real: Any, outputs: Outputs) -> None:
        self._real, self.image_processor = real, _SizeProcessor(real.image_processor, outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class ImageCounter:
    """Expand image placeholders by the sizes of images.

    Args:
        plugin: the template's ``mm_plugin``.
        processor: the processor that LlamaFactory loaded; its pixel limits are read at each call.
        outputs: the family's function, of ``FAMILIES``.
    """

    def __init__(self, plugin: Any, processor: Any, outputs: Outputs) -> None:
        self._plugin, self._real, self._sizes_only = plugin, processor, _Processor(processor, outputs)
        # not the bound method: inside `counting_from_headers` that is this counter's own
        self._expand = type(plugin).process_messages
        self._remembered = lru_cache(4096)(self._count)

    def __reduce__(self) -> Any:
        """Pickle what it is made of, to be compared again in another process."""
        return make_counter, (self._plugin, self._real)

    def process_messages(
        self, messages: list[dict[str, str]], images: Any, videos: Any, audios: Any, processor: Any = None
    ) -> list[dict[str, str]]:
        """Return or raise what the plugin's ``process_messages`` does, from headers where that can be.

        Args:
            processor: for the signature's sake; another one than the counter's is used in the plugin's own way.
        """
        real = self._real if processor is None else processor
        if real is self._real and not videos and not audios:
            try:
                return self._expand(self._plugin, messages, SizedImages(images), [], [], self._sizes_only)
            except NotCountable:
                pass  # the real path below answers for this row
        return self._expand(self._plugin, messages, images, videos, audios, real)

    def image_tokens(self, size: tuple[int, int]) -> int:
        """Return how many tokens one ``<image>`` becomes, marks of start, end and row among them.

        Args:
            size: (width, height) of the image file in pixels.

        Raises:
            ValueError: if the model takes no image of that shape.
        """
        return self._remembered(tuple(size), tuple(getattr(self._real, name, None) for name in SETTINGS))

    def _count(self, size: tuple[int, int], settings: tuple[Any, ...]) -> int:
        """Expand and tokenize one placeholder; `settings` are those in force, so that others are counted anew."""
        message = [{"role": "user", "content": IMAGE_PLACEHOLDER}]
        try:
            expanded = self._expand(self._plugin, message, [SizedImage(size)], [], [], self._sizes_only)
        except NotCountable:
            expanded = self._expand(self._plugin, message, [Image.new("RGB", size)], [], [], self._real)
        return len(self._real.tokenizer(expanded[0]["content"], add_special_tokens=False)["input_ids"])

    def disagreement(self) -> str | None:
        """Compare with the real path on a row of blank images; return what differs, or None."""
        message = [{"role": "user", "content": "".join(f"{i}{IMAGE_PLACEHOLDER}" for i in range(len(PROBES)))}]
        blanks = [Image.new("RGB", size) for size in PROBES]
        try:
            real = self._expand(self._plugin, message, blanks, [], [], self._real)
            ours = self.process_messages(message, blanks, [], [])
        except Exception as error:  # whatever it is, the real path raises it again in its own place
            return f"{type(error).__name__}: {error}"
        if ours == real:
            return None
        return f"{len(ours[0]['content'])} characters instead of {len(real[0]['content'])} for sizes {PROBES}"


_known: list[tuple[Any, Any, ImageCounter | None]] = []


def make_counter(template: Any, processor: Any) -> ImageCounter | None:
    """Return a counter for this template and processor, compared once with the real path.

    Args:
        template: LlamaFactory's template, or its ``mm_plugin``.

    Returns:
        None if the family is not one of ``FAMILIES`` or the comparison fails (one WARNING): use the real path.
    """
    plugin = getattr(template, "mm_plugin", template)
    for known_plugin, known_processor, counter in _known:
        if known_plugin is plugin and known_processor is processor:
            return counter
    counter = _compared_counter(plugin, processor)
    _known.append((plugin, processor, counter))
    del _known[:-8]
    return counter


def _compared_counter(plugin: Any, processor: Any) -> ImageCounter | None:
    name = type(plugin).__name__
    outputs = FAMILIES.get(name) if type(plugin).__module__.startswith(("llamafactory.", "resonance.")) else None
    if plugin.image_token is None or getattr(processor, "image_processor", None) is None:
        return None  # text only
    if outputs is None:
        logger.info_rank0(
            f"Image tokens of {name} are counted by decoding the images: there is no rule for sizes yet."
        )
        return None
    counter = ImageCounter(plugin, processor, outputs)
    problem = counter.disagreement()
    if problem is None:
        return counter
    logger.warning_rank0(
        f"Counting image tokens from headers is off for {name} with {type(processor.image_processor).__name__}: "
        f"a comparison with the processor gave {problem}. Images are decoded to count their tokens, as without it."
    )
    return None


@contextmanager
def counting_from_headers(mm_plugin: Any, processor: Any) -> Iterator[ImageCounter | None]:
    """Let ``mm_plugin.process_messages`` count from headers within the block; yields the counter, if there is one."""
    counter = make_counter(mm_plugin, processor)
    if counter is None or "process_messages" in vars(mm_plugin):  # nothing to do, or done around us
        yield counter
        return
    mm_plugin.process_messages = counter.process_messages
    try:
        yield counter
    finally:
        del mm_plugin.process_messages
