# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reads a recipe as LlamaFactory does, for every command that takes one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

YAML, SUFFIXES = (".yaml", ".yml"), (".yaml", ".yml", ".json")


def names_file(words: Sequence[str]) -> bool:
    """Whether the words behind `train` start with a recipe file; otherwise they are flags."""
    return bool(words) and not words[0].startswith("-")


def read_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe file with `key=value` overrides: LlamaFactory's numbers, such as 1e-3, and its merging.

    Args:
        path: a YAML or JSON file.
        overrides: `key=value` words; the value is read as YAML.

    Raises:
        ValueError: no such file, not YAML or JSON, not a mapping, or an override without `=`.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a recipe is a file that ends with {', '.join(SUFFIXES)}{_nearest(path)}")
    try:
        loaded = OmegaConf.load(path) if path.suffix in YAML else OmegaConf.create(_read_json(path))
    except OSError as error:
        here = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ValueError(f"{path}: {error.strerror or error}{here}{_nearest(path)}") from error
    except (YAMLError, ValueError, OmegaConfBaseException) as error:
        kind = "YAML" if path.suffix in YAML else "JSON"
        raise ValueError(f"{path}: is not {kind}: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ValueError(f"{path}: a recipe is a file of `key: value` lines, this one holds a {_name(loaded)}")
    if wrong := [word for word in overrides if not word.partition("=")[0] or "=" not in word]:
        raise ValueError(f"{' '.join(wrong)}: behind a recipe file write key=value, such as pref_beta=0.1")
    try:
        keys = OmegaConf.to_container(OmegaConf.merge(loaded, OmegaConf.from_cli(list(overrides))))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path}: cannot be merged with {' '.join(overrides)}: {error}") from error
    return {str(key): value for key, value in keys.items()}  # type: ignore[union-attr]


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Keys and values of the words behind `train`: a file and `key=value`s, or `--key value` flags, as text.

    Raises:
        ValueError: the recipe cannot be read.
    """
    if names_file(words):
        return read_recipe(words[0], words[1:])
    names = [index for index, word in enumerate(words) if word.startswith("--")]
    pairs = [(words[index][2:].partition("="), words[index + 1 : index + 2]) for index in names]
    return {name.replace("-", "_"): value if sep else "".join(after) for (name, sep, value), after in pairs}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _name(loaded: Any) -> str:
    return "list" if type(loaded).__name__ == "ListConfig" else type(loaded).__name__


def _nearest(path: Path) -> str:
    """A hint at the recipe beside it that was probably meant, and where others are."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = get_close_matches(path.name, [file.name for file in beside if file.suffix in SUFFIXES], n=3)
    meant = f"; did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else "."
    return f"{meant} `resonance ls` lists the recipes that come with Resonance"
