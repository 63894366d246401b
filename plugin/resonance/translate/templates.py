# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The template of a model, from LlamaFactory's own table, read without importing it."""

from __future__ import annotations

import ast
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import NamedTuple

from .models import find

TABLE = "extras/constants.py"
# `model_type` of a config.json, for a folder whose name says nothing.
TYPES = {
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_vl",
    "llava": "llava",
    "idefics2": "idefics2",
    "idefics3": "idefics3",
    "smolvlm": "smolvlm",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
}


class Fit(NamedTuple):
    """What a model needs: its template, whether it reads images, and where that is known from."""

    template: str
    images: bool
    source: str


@cache
def table() -> dict[str, Fit]:
    """LlamaFactory's models by the last part of their ids, in lower case; of base models those that read images."""
    found: dict[str, Fit] = {}
    spec = find_spec("llamafactory")
    path = Path((spec and spec.submodule_search_locations or [""])[0], TABLE)
    if not path.is_file():
        return found
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "register_model_group":
            continue
        given = {word.arg: word.value for word in node.keywords}
        if "template" not in given:
            continue
        template = ast.literal_eval(given["template"])
        images = "multimodal" in given and ast.literal_eval(given["multimodal"])
        for inner in ast.walk(given["models"]):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "/" in inner.value:
                name = inner.value.rpartition("/")[2].lower()
                found.setdefault(name, Fit(template, images, "LlamaFactory's table of models"))
    return found


def template_of(model: str) -> Fit:
    """What a model needs, by its id or folder.

    Raises:
        ValueError: it is not known, or cannot be trained so; says what to give.
    """
    last = PurePath(model.rstrip("/")).name.lower()
    if last in table():
        return table()[last]
    known = find(model)
    if known is not None and known.instead:
        raise ValueError(f"--model {model}: {known.why.format(name=model)}; take {known.instead}")
    if known is not None:
        return Fit(known.template, True, "the name of the model")
    config = Path(model, "config.json")
    if config.is_file():
        try:
            kind = json.loads(config.read_text(encoding="utf-8")).get("model_type", "")
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(
                f"--model {model}: {config} is no configuration ({error}); add --template NAME"
            ) from error
        if kind in TYPES:
            return Fit(TYPES[kind], kind != "gemma2", f"model_type {kind} of {config}")
        raise ValueError(f"--model {model}: no template is known for its model_type {kind!r}; add --template NAME")
    raise ValueError(
        f"--model {model}: neither LlamaFactory's table nor its name says which template it takes; add "
        "--template NAME (LlamaFactory's README lists them)"
    )
