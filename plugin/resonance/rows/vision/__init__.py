# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows room, vision: how many tokens an image becomes, from its file's header.

LlamaFactory decodes, resizes and cuts up every image of a row, for prompt + chosen and again for prompt + rejected,
only to learn how often to repeat the image token. Here its own `process_messages` runs on pictures that have a size
and no pixels, with an image processor that answers from sizes: the same messages, two orders of magnitude sooner.

    counter = make_counter(template, processor)              # None: not a family we can count, use the real path
    counter.process_messages(messages, images, videos, audios, processor)    # as template.mm_plugin.process_messages
    counter.image_tokens((640, 480))                         # tokens that one `<image>` of 640 x 480 becomes
    image_size(image)                                        # (width, height) of a path, bytes, {"bytes", "path"}, PIL

    with counting_from_headers(template.mm_plugin, processor):      # the plugin's own process_messages counts
        ...                                                         # (or stays as it is, if there is no counter)

`header` imports PIL alone; the others LlamaFactory and torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .header import image_size

if TYPE_CHECKING:
    from .counter import ImageCounter, counting_from_headers, make_counter

__all__ = ["ImageCounter", "counting_from_headers", "image_size", "make_counter"]


def __getattr__(name: str) -> Any:
    """Import the counter when it is asked for, so that reading sizes stays light."""
    if name in __all__:
        from . import counter

        return getattr(counter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
