# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`overlong: cut_text`. The prompt loses text from its front, responses from their end; media stay whole.

The prompt is cut as text, before it is encoded: the markup of roles, the system message and the expansion of every
placeholder are then whole by construction. Responses are cut as tokens, so that one that was cut has no end token.
A conversation of supervised fine-tuning, whose earlier answers are learned, too, loses its end alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from llamafactory.data.processor.processor_utils import infer_seqlen
from llamafactory.extras.constants import IGNORE_INDEX

from ..encode import MEDIA, AnswerIds, PairEncoder, PairIds
from ..types import Row
from .lengths import Limits
from .shrink_image import CannotFitError

PLACEHOLDERS = re.compile("({})".format("|".join(map(re.escape, MEDIA.values()))))
# A tool call is JSON, and half of it none.
CUTTABLE_ROLES = ("user", "assistant", "observation")
_UNCUT = "what is never cut of a prompt (media, system message, markup)"


def cut_text(row: Row, encoder: PairEncoder, limits: Limits, max_prompt_length: int | None) -> PairIds:
    """Shorten the text of a pair until it keeps its limits.

    Responses are cut to `max_target_length`. If the pair is then still longer than `cutoff_len`, the prompt is cut to
    `max_prompt_length`, and the responses to what is left. Without `max_prompt_length` LlamaFactory's rule divides the
    room that media and markup leave: the longer side gives way.

    Raises:
        CannotFitError: if media and markup leave no room.
    """
    ids, media = encoder(row), encoder.media_ids(row)
    least = max(_shortest(ids.chosen, media), _shortest(ids.rejected, media))
    most = limits.max_target_length or limits.cutoff_len
    if least > most:
        raise CannotFitError(f"a response has an image that ends at its token {least}")
    chosen, rejected = ids.chosen[:most], ids.rejected[:most]
    longest = max(len(chosen), len(rejected))
    if len(ids.prompt) + longest <= limits.cutoff_len:
        return PairIds(ids.prompt, chosen, rejected)

    text = sum(map(len, _texts(row["_prompt"])))
    bare = len(encoder(_without(row, text)).prompt)
    room = limits.cutoff_len - bare
    if room < least:
        raise CannotFitError(f"{_UNCUT} take {bare} tokens, which leaves none for a response")
    if max_prompt_length is None:
        text_tokens, _ = infer_seqlen(len(ids.prompt) - bare, longest, room)
    elif max_prompt_length > bare:
        text_tokens = max_prompt_length - bare
    else:
        raise CannotFitError(
            f"{_UNCUT} take {bare} tokens, and `max_prompt_length: {max_prompt_length}` leaves none for text"
        )
    allowed = bare + min(text_tokens, room - least)
    characters = bisect_left(range(text), True, key=lambda k: len(encoder(_without(row, k)).prompt) <= allowed)
    prompt = encoder(_without(row, characters)).prompt
    rest = limits.cutoff_len - len(prompt)
    return PairIds(prompt, chosen[:rest], rejected[:rest])


def cut_end(ids: AnswerIds, media: frozenset[int], limits: Limits) -> AnswerIds:
    """Leave out the end of a conversation.

    Args:
        ids: of the whole.
        media: token ids that stand for media.
        limits: of which `cutoff_len` is kept.

    Raises:
        CannotFitError: media are in the end, or nothing that is learned is left.
    """
    kept = limits.cutoff_len
    last = max((i for i, token in enumerate(ids.ids, 1) if token in media), default=0)
    if last > kept:
        raise CannotFitError(f"its media end at token {last}")
    if all(label == IGNORE_INDEX for label in ids.labels[:kept]):
        raise CannotFitError(f"nothing that is learned is among its first {kept} tokens")
    return AnswerIds.of(ids.ids[:kept], ids.labels[:kept])


def _shortest(response: list[int], media: frozenset[int]) -> int:
    """Return how many tokens of a response must stay: one, and all up to the end of its last image."""
    return next((i for i in range(len(response), 0, -1) if response[i - 1] in media), min(1, len(response)))


def _texts(messages: list[Row]) -> list[str]:
    """Return the texts between placeholders that may be cut."""
    cuttable = (message["content"] for message in messages if message["role"] in CUTTABLE_ROLES)
    return [part for content in cuttable for part in PLACEHOLDERS.split(content)[::2]]


def _without(row: Row, characters: int) -> Row:
    """Return the row without the first so many characters of its prompt's text, oldest message first."""
    messages = []
    for message in row["_prompt"]:
        if message["role"] in CUTTABLE_ROLES and characters:
            parts = PLACEHOLDERS.split(message["content"])
            for i in range(0, len(parts), 2):  # the others are placeholders
                cut = min(characters, len(parts[i]))
                parts[i], characters = parts[i][cut:], characters - cut
            message = {**message, "content": "".join(parts)}
        messages.append(message)
    return {**row, "_prompt": messages}
