# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a folder with a policy holds about how it was trained, and what is given in its place. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..arguments.parameters import needs_reference, uses_means
from ..arguments.resume import RECIPE_FILE, RUN_FILE, newest_complete
from ..reward_model.settings import DATA_KEYS, MODEL_KEYS, Settings, read_json

ADAPTER, WHOLE = "adapter_config.json", "config.json"
# Beside those of reward models: they change the vocabulary.
_MODEL_KEYS = (*MODEL_KEYS, "resize_vocab", "add_tokens", "add_special_tokens")


@dataclass(frozen=True)
class Trained:
    """A model, and how it was trained.

    Attributes:
        name: as it was given: a folder, or a model of the hub.
        settings: base, template and limits, as a reward model has them.
        recipe: keys of its recipe; empty if no run of ours left one.
        record: the settings that its run recorded; empty if there are none.
    """

    name: str
    settings: Settings
    recipe: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_adapter(self) -> bool:
        return self.settings.base is not None

    @property
    def template(self) -> str:
        return str(self.settings.data["template"])

    @property
    def beta(self) -> float | None:
        """`pref_beta` of the run."""
        found = self.record.get("pref_beta")
        return float(found) if isinstance(found, int | float) else None

    @property
    def reads_means(self) -> bool:
        """Whether its loss compares means a token; sums are the rule of DPO, and of runs that are not known."""
        known = {key: self.record.get(key) for key in ("pref_loss", "dpo_average_log_prob")}
        try:
            return bool(known["pref_loss"]) and uses_means(known)
        except (ValueError, ImportError):  # a loss in a file of the user's that is no longer there
            return False

    @property
    def reads_reference(self) -> bool:
        """Whether its loss compares gains on a reference, as DPO does; runs that are not known count as DPO."""
        try:
            return needs_reference(self.record.get("pref_loss") or "sigmoid")
        except (ValueError, ImportError):  # as above
            return True

    def arguments(self) -> dict[str, Any]:
        """Keys of LlamaFactory's parser with which it is loaded."""
        return self.settings.arguments(self.name)


def is_adapter(name: str) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return Path(name, ADAPTER).is_file()


def read_trained(name: str, given: Mapping[str, Any]) -> Trained:
    """What is known of a model.

    Args:
        name: an output_dir or a checkpoint with a whole model or an adapter, or another model for Transformers.
        given: `base`, and keys of DATA_KEYS and MODEL_KEYS, in place of what the folder says.

    Raises:
        ValueError: all that is missing, with what to give.
    """
    path, problems = Path(name), list[str]()
    recipe, record = _recipe(path), _record(path)
    adapter = is_adapter(name)
    if path.is_dir() and not adapter and not (path / WHOLE).is_file():
        newest = newest_complete(name)
        beside = f"; its newest checkpoint is {newest}" if newest else ""
        problems.append(f"{name} has neither {ADAPTER} nor {WHOLE}, so it holds no model{beside}")
    if not path.is_dir() and (path.is_absolute() or name.startswith((".", "saves/")) or name.count("/") != 1):
        problems.append(f"there is no folder {name!r} in {Path.cwd()}; give the output_dir of a run, or a checkpoint")
    base = str(given.get("base") or _base(path, recipe))
    if adapter and not base:
        problems.append(f"{name} holds an adapter, and no file says of which model; give the base")
    elif adapter and base.startswith(("/", ".")) and not Path(base).is_dir():
        problems.append(f"{name} holds an adapter of {base}, where no folder is now; give the base")
    if given.get("base") and not adapter and (path / WHOLE).is_file():
        problems.append(f"{name} holds a whole model, which has no base: leave the base out")
    found = {**recipe, **{key: value for key, value in record.items() if value is not None}}
    data = _known({**found, **given}, DATA_KEYS)
    if not data.get("template"):
        problems.append(f"{name} has no {RECIPE_FILE}, which our runs leave, so its template is not known; give it")
    if problems:
        raise ValueError("; ".join(problems))
    merged = _merged(recipe) if adapter and not given.get("base") else []
    settings = Settings(base if adapter else None, merged, data, _known({**found, **given}, _MODEL_KEYS))
    return Trained(name, settings, recipe, record)


def _known(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _base(path: Path, recipe: Mapping[str, Any]) -> str:
    """The model that an adapter was trained on: by the recipe, which knows what was merged into it, or by PEFT."""
    if recipe.get("model_name_or_path"):
        return str(recipe["model_name_or_path"])
    return str(_json(path / ADAPTER).get("base_model_name_or_path") or "")


def _merged(recipe: Mapping[str, Any]) -> list[str]:
    """Adapters that LlamaFactory merged into the base before; the last one is trained on unless a new one is made."""
    given = recipe.get("adapter_name_or_path") or []
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
    return names if recipe.get("create_new_adapter") else names[:-1]


def _beside(path: Path, file: str) -> Path | None:
    """A file that a run leaves in its output folder and in its checkpoints, written at another moment in each."""
    folders = (path, path.absolute().parent) if path.name.startswith("checkpoint-") else (path,)
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


def _recipe(path: Path) -> dict[str, Any]:
    file = _beside(path, RECIPE_FILE)
    if file is None:
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {error}") from None
    return found if isinstance(found, dict) else {}


def _record(path: Path) -> dict[str, Any]:
    file = _beside(path, RUN_FILE)
    settings = _json(file).get("settings") if file else None
    return settings if isinstance(settings, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no file. ValueError for anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object")
    return found
