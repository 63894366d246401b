# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Ugly rows by what is ugly about them: what to change, the kind that the check tells, part of its message."""

from __future__ import annotations

# change of row 2 of four pairs -> (kind, part of the message)
UGLY_PAIRS = {
    "no such image": (
        {"images": ["images/gone.png"]},
        "image missing",
        "image 'images/gone.png' does not exist (looked",
    ),
    "address": (
        {"images": ["https://example.org/a.png"]},
        "not a path",
        "is an address: images, videos and audios are",
    ),
    "no bytes": ({"images": ["images/empty.png"]}, "image empty", "has no bytes"),
    "no image": ({"images": ["images/text.png"]}, "image unreadable", "cannot be read (UnidentifiedImageError"),
    "a folder": ({"images": ["images/folder.png"]}, "image missing", "does not exist (looked for"),
    "null in path": ({"images": ["images/\0.png"]}, "image missing", "'images/\\x00.png' does not exist"),
    "not a path": ({"images": [7]}, "image unreadable", "an image is int 7, but a path or bytes are needed"),
    "half a mapping": ({"images": [{"path": "x"}]}, "image unreadable", "but `bytes` and `path` are needed"),
    "cut JPEG": ({"images": ["images/cut.jpg"]}, "image truncated", "cannot be decoded (OSError"),
    "cut PNG": ({"images": ["images/cut.png"]}, "image truncated", "cannot be decoded (OSError"),
    "bomb": ({"images": ["images/bomb.png"]}, "image unreadable", "DecompressionBombError"),
    "large": ({"images": ["images/large.png"]}, "image oversized", "has 10000 x 9000 pixels, more than 89,478,485"),
    "animated": ({"images": ["images/moving.gif"]}, "image animated", "has more than one frame"),
    "CMYK": ({"images": ["images/print.jpg"]}, "image CMYK", "is CMYK"),
    "16 bit": ({"images": ["images/deep.png"]}, "image 16 bit", "has the mode I;16"),
    "see-through": ({"images": ["images/rgba.png"]}, "image transparent", "is transparent in places"),
    "see-through grey": ({"images": ["images/la.png"]}, "image transparent", "is transparent in places"),
    "see-through palette": ({"images": ["images/palette.png"]}, "image transparent", "is transparent in places"),
    "see-through colour": ({"images": ["images/key.png"]}, "image transparent", "is transparent in places"),
    "a program for printers": ({"images": ["images/printer.png"]}, "image unreadable", "UnidentifiedImageError"),
    "turned": ({"images": ["images/turned.jpg"]}, "image turned", "has the EXIF orientation 6"),
    "more images": (
        {"images": ["images/0.png"] * 2},
        "placeholder count",
        "2 images but 1 `<image>` in prompt + chosen",
    ),
    "no images": ({"images": []}, "placeholder count", "0 images but 1 `<image>` in prompt + chosen"),
    "in rejected": ({"rejected": "<image> no"}, "placeholder count", "1 image but 2 `<image>` in prompt + rejected"),
    "a video": ({"instruction": "<image><video>?"}, "placeholder count", "0 videos but 1 `<video>`"),
    "empty answer": ({"rejected": " \n"}, "empty response", "rejected is empty"),
    "both empty": ({"chosen": "", "rejected": ""}, "empty response", "chosen and rejected are empty"),
    "same answers": ({"rejected": "It is 2."}, "identical pair", "chosen and rejected are the same"),
    "no answer": ({"chosen": None}, "invalid turns", "chosen and rejected are not both text"),
    "answer a number": ({"chosen": 7}, "mixed column", "`chosen` is a number 7, where 3 other rows have text"),
    "prompt a list": (
        {"instruction": ["<image>", "?"]},
        "row unreadable",
        "the prompt is list ['<image>', '?'], but text",
    ),
    "empty prompt": ({"instruction": "", "images": None}, "empty prompt", "the prompt is empty"),
    "half character": ({"chosen": "It is \ud83d."}, "not Unicode", "a text holds half a character ('\\ud83d' at 6)"),
    "no score": ({"score_chosen": None}, "bad score", "`score_chosen` is missing"),
    "NaN": ({"score_chosen": float("nan")}, "bad score", "`score_chosen` is not finite but nan"),
    "too large": ({"score_chosen": -1e300}, "bad score", "`score_chosen` is larger than a batch holds, 3.4e+38"),
    "infinite": ({"score_rejected": float("inf")}, "bad score", "`score_rejected` is not finite but inf"),
    "score as text": ({"score_chosen": "4.5"}, "bad score", "`score_chosen` is not a number but str '4.5'"),
    "score true": ({"score_chosen": True}, "bad score", "`score_chosen` is not a number but bool True"),
    "score order": ({"score_chosen": 1.0, "score_rejected": 4.0}, "score order", "chosen has 1.0, rejected has 4.0"),
    "mixed": (
        {"images": "images/2.png"},
        "mixed column",
        "`images` is text 'images/2.png', where 3 other rows have a list",
    ),
}


HUMAN, GPT = {"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "A cat."}
UGLY_CHATS = {
    "two questions": (
        [HUMAN, HUMAN],
        "invalid turns",
        "turn 1 is from 'human', where 'gpt' or 'function_call' is needed",
    ),
    "answer first": ([GPT, HUMAN], "invalid turns", "turn 0 is from 'gpt', where 'human' or 'observation' is needed"),
    "stranger": ([HUMAN, {"from": "bot", "value": "A"}], "invalid turns", "turn 1 is from 'bot', where 'gpt'"),
    "no answer": ([HUMAN], "invalid turns", "there are 1 messages, so the last one is not the assistant's"),
    "nothing": ([], "invalid turns", "there are no messages"),
    "late system": ([HUMAN, {"from": "system", "value": "A"}], "invalid turns", "turn 1 is from 'system'"),
    "other keys": (
        [{"role": "user", "content": "?"}, GPT],
        "row unreadable",
        "a message has the keys role, content, but `from`",
    ),
    "not messages": ("hello", "row unreadable", "the messages are str 'hello', but a list is needed"),
    "not a message": (["hello", GPT], "row unreadable", "a message is 'hello', but `from` and `value` are needed"),
    "parts": (
        [{"from": "human", "value": [{"type": "image"}]}, GPT],
        "message not text",
        "a message's content is list",
    ),
    "empty answer": ([HUMAN, {"from": "gpt", "value": " "}], "empty answer", "the answer is empty"),
    "no content": ([{"from": "human", "value": None}, GPT], "invalid turns", "a message has no content"),
    "no placeholder": (
        [{"from": "human", "value": "?"}, GPT],
        "placeholder count",
        "1 image but 0 `<image>` in the messages",
    ),
}
