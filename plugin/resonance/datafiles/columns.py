# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What LlamaFactory and this package call the columns, roles and files of a data set. Standard library only."""

from __future__ import annotations

from ..rows.fields import META as META
from ..rows.fields import NUMBERS as NUMBERS
from ..rows.fields import PLACEHOLDERS as PLACEHOLDERS
from ..rows.fields import SCORE_FIELDS as SCORE_FIELDS

__all__ = [
    "ALIASES",
    "COLUMNS",
    "FORMATTINGS",
    "MEDIA_COLUMNS",
    "MEDIA_SUFFIXES",
    "META",
    "NUMBERS",
    "PLACEHOLDERS",
    "ROLES",
    "SCORE_FIELDS",
    "SIDES",
    "SURE",
    "TAGS",
]

FORMATTINGS = ("alpaca", "sharegpt", "openai")
MEDIA_COLUMNS = ("images", "videos", "audios")
SIDES = ("chosen", "rejected")
_SCORE_WORDS = ("score", "rating", "reward")
# What a column may be called, most usual first. Order of the keys is the order they are written in.
ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("instruction", "prompt", "question", "query", "problem"),
    "query": ("input",),
    "response": ("output", "response", "answer", "completion"),
    "history": ("history",),
    "messages": ("messages", "conversations", "conversation"),
    "system": ("system", "system_prompt"),
    "tools": ("tools",),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "kto_tag": ("kto_tag", "label"),
    **{
        f"score_{side}": tuple(
            name for word in _SCORE_WORDS for name in (f"{word}_{side}", f"{side}_{word}", f"{side}-{word}")
        )
        for side in SIDES
    },
    **{
        f"{kind}s": (
            f"{kind}s",
            kind,
            *(f"{kind}_{word}" for word in ("path", "paths", "file", "files", "url", "urls")),
        )
        for kind in ("image", "video", "audio")
    },
}
ALIASES["images"] += ("img", "imgs", "img_path", "img_paths", "picture", "pictures")
SURE = 2  # the first names of a medium tell by themselves, of the others and of any other name the values decide
MEDIA_SUFFIXES: dict[str, tuple[str, ...]] = {
    "images": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "videos": (".mp4", ".mkv", ".avi", ".mov", ".webm", ".flv", ".m4v", ".mpg", ".mpeg"),
    "audios": (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".opus", ".aac"),
}
# What LlamaFactory's parser takes for granted if an entry has no `columns`, or no `tags`, at all.
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
ROLES: dict[str, tuple[str, ...]] = {
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant", "model"),
    "system_tag": ("system", "developer"),
    "observation_tag": ("observation", "tool"),
    "function_tag": ("function_call", "function"),
}
TAGS = {"role_tag": "from", "content_tag": "value"} | {tag: names[0] for tag, names in ROLES.items()}
