# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What LlamaBoard writes from our values: recipes that keep a `false`, and a preview that a shell can read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

from .keys import KEYS


class Command(dict[str, Any]):
    """Arguments of a training; `given` are those that come from our fold or from "Extra arguments"."""

    def __init__(self, args: Mapping[str, Any], given: Collection[str]) -> None:
        super().__init__(args)
        self.given = frozenset(given)


def clean_cmd(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """LlamaFactory's filter of false and empty values, which lets through what was asked for."""

    @wraps(original)
    def wrapper(args: dict[str, Any]) -> dict[str, Any]:
        kept = original(args)
        if not isinstance(args, Command):
            return kept
        return {key: value for key, value in args.items() if key in kept or (key in args.given and value is not None)}

    return wrapper


def gen_cmd(original: Callable[..., str]) -> Callable[..., str]:
    """LlamaFactory's preview, with quotes around values that a shell would take apart."""

    @wraps(original)
    def wrapper(args: dict[str, Any]) -> str:
        if isinstance(args, Command):
            words = {key: _word(key, value) if key in args.given else value for key, value in args.items()}
            args = Command(words, args.given)
        return original(args)

    return wrapper


def _word(key: str, value: Any) -> Any:
    """One word of the command; plain lists for keys of LlamaFactory stay several."""
    if isinstance(value, dict) or (isinstance(value, list) and (key in KEYS or any(map(_is_nested, value)))):
        return shlex.quote(json.dumps(value, ensure_ascii=False))
    return shlex.quote(value) if isinstance(value, str) else value


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)
