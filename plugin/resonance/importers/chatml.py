# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A prompt that was already run through a ChatML template, taken apart again."""

from __future__ import annotations

import re

from .spec import Skip

# A turn starts at the text's beginning or where another one ended, so "<|im_start|>" within a turn stays text.
_START = re.compile(r"(?:\A\s*|<\|im_end\|>\n?)<\|im_start\|>(system|user|assistant)(?:\n|\Z)")
_END = "<|im_end|>"


def chatml_turns(prompt: str) -> list[tuple[str, str]]:
    """Return the (role, text) turns of a ChatML prompt, without the opening of the answer at its end.

    Args:
        prompt: ``<|im_start|>user\\nWhat is 2 + 2?<|im_end|>\\n<|im_start|>assistant\\n`` and the like. Special tokens
            within a turn's text are kept as text. White space around a turn's text is cut off.

    Raises:
        Skip: if it does not start as ChatML does, or does not end where the assistant is to speak.
    """
    starts = list(_START.finditer(prompt))
    if not starts or starts[0].start() != 0:
        raise Skip("the prompt is no ChatML text", f"it starts with {prompt[:40]!r}")
    ends = [start.start() for start in starts[1:]] + [len(prompt)]
    turns = [(start[1], prompt[start.end() : end].strip()) for start, end in zip(starts, ends, strict=True)]
    role, text = turns[-1]
    if role == "assistant" and not text:
        return turns[:-1]
    if role == "user":
        return [*turns[:-1], (role, text.removesuffix(_END).strip())]
    raise Skip("the prompt does not end where the answer begins", f"its last turn is the {role}'s: {text[-40:]!r}")
