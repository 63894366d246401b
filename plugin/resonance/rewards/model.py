# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A reward model of `stage: rm` as a reward: `{model: saves/rm, weight: 1.0}`."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from ..reward_model.settings import DATA_KEYS, MODEL_KEYS, read_settings
from ..spec import nearest_first
from .spec import Completions

TIMEOUT = 3600.0  # of a batch: the first one loads the model
_HOW: dict[str, type] = {"device": str, "dtype": str, "batch_size": int, "trust_remote_code": bool}
KEYS = ("base", *_HOW, *DATA_KEYS, *MODEL_KEYS)
_DTYPES = ("auto", "float32", "bfloat16", "float16")


class ModelReward:
    """Scores completions with the reward model of a folder, which is loaded when it is first needed.

    Args:
        folder: of the reward model.
        options: of KEYS.
    """

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        self.folder, self.options = folder, dict(options)
        self._scorer: Any = None
        self._lock = threading.Lock()

    def __call__(self, batch: Completions) -> list[float]:
        """A reward a completion. InputError where the conversations are not at hand."""
        conversations = batch.conversations
        with self._lock:
            if self._scorer is None:
                from ..reward_model.scorer import load

                self._scorer = load(self.folder, **self.options)
        return self._scorer(conversations, list(batch.completions), [list(shown) for shown in batch.images])


def model_problems(folder: object, options: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """What is wrong with an entry for a reward model, seen without loading it.

    Args:
        folder: `model` of the entry.
        options: its other keys, without those of every entry.
        known: keys of every entry, to offer for one that is misspelt.
    """
    if not isinstance(folder, str) or not folder:
        return [f"model={folder!r} must be the folder of a reward model"]
    keys = {*KEYS, *known}
    found = [f"it has no key '{key}' ({nearest_first(key, keys)})" for key in options if key not in KEYS]
    for key, kind in _HOW.items():
        if key in options and type(options[key]) is not kind:
            found.append(f"{key}={options[key]!r} is not allowed, it must be of type {kind.__name__}")
    for key in ("batch_size", "cutoff_len"):
        if isinstance(size := options.get(key), int) and size < 1:
            found.append(f"{key}={size!r} is not allowed, it must be at least 1")
    if options.get("dtype", "auto") not in _DTYPES:
        found.append(f"dtype={options['dtype']!r} is not one of {', '.join(_DTYPES)}")
    try:
        settings = read_settings(folder, options)
    except ValueError as error:
        return [*found, str(error)]
    return found + template_problems(settings.data["template"])


def template_problems(template: str) -> list[str]:
    """A template that LlamaFactory does not have."""
    from ..rows.templates import template_names

    names = template_names()
    return (
        [] if template in names else [f"LlamaFactory has no template {template!r} ({nearest_first(template, names)})"]
    )
