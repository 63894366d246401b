# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What has to be known of a reward model beside its weights: a small JSON file in its folder. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAD_FILE = "value_head.safetensors"
FILE = "resonance_reward_model.json"
FORMAT = 1
# LlamaFactory's arguments that change what a model reads; nothing else of the file reaches its parser.
MODEL_KEYS = (
    "image_max_pixels", "image_min_pixels", "image_do_pan_and_scan", "crop_to_patches", "video_max_pixels",
    "video_min_pixels", "video_fps", "video_maxlen", "use_audio_in_video", "audio_sampling_rate", "rope_scaling",
    "use_fast_tokenizer",
)  # fmt: skip
DATA_KEYS = ("template", "cutoff_len", "default_system", "tool_format", "enable_thinking")
_ADAPTER, _WHOLE = "adapter_config.json", "config.json"


@dataclass(frozen=True)
class Settings:
    """Of one reward model.

    Attributes:
        base: the model that its adapter belongs to; None for a whole model.
        merged: adapters that were merged into the base before, in order.
        data: values of DATA_KEYS.
        model: values of MODEL_KEYS.
    """

    base: str | None
    merged: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)

    def arguments(self, folder: str) -> dict[str, Any]:
        """Keys of LlamaFactory's parser with which the model in `folder` is loaded."""
        named = {"model_name_or_path": folder}
        if self.base is not None:
            named = {"model_name_or_path": self.base, "adapter_name_or_path": ",".join([*self.merged, folder])}
        return {**self.model, **self.data, **named}


def settings_of(model_args: Any, data_args: Any, adapters: bool, new_adapter: bool) -> Settings:
    """Those of a run.

    Args:
        model_args, data_args: LlamaFactory's.
        adapters: whether it leaves an adapter.
        new_adapter: `create_new_adapter` of the recipe.
    """
    before = list(model_args.adapter_name_or_path or [])
    return Settings(
        base=model_args.model_name_or_path if adapters else None,
        merged=before if new_adapter else before[:-1],
        data={name: getattr(data_args, name) for name in DATA_KEYS},
        model={name: getattr(model_args, name) for name in MODEL_KEYS if hasattr(model_args, name)},
    )


def write_settings(settings: Settings, folder: str) -> None:
    """Write them into the folder of the model."""
    text = json.dumps({"format": FORMAT, **vars(settings)}, indent=2, default=str) + "\n"
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, FILE).write_text(text, encoding="utf-8")


def read_settings(folder: str, given: Mapping[str, Any]) -> Settings:
    """Those of a folder, with what is given in their place.

    Args:
        folder: of a reward model.
        given: `base`, and keys of DATA_KEYS and MODEL_KEYS.

    Raises:
        ValueError: all that is missing or cannot be read, with what to give.
    """
    path, found = Path(folder), list[str]()
    if not path.is_dir():
        raise ValueError(f"there is no folder {folder!r} in {Path.cwd()}; give the output_dir of a `stage: rm` run")
    if not (path / HEAD_FILE).is_file():
        found.append(f"{path} has no {HEAD_FILE}; give the output_dir of a `stage: rm` run, or one of its checkpoints")
    saved = _read(path / FILE)
    adapter = (path / _ADAPTER).is_file()
    if not adapter and not (path / _WHOLE).is_file():
        found.append(f"{path} has neither {_ADAPTER} nor {_WHOLE}, so it holds no model")
    base = str(given.get("base") or saved.get("base") or _read(path / _ADAPTER).get("base_model_name_or_path") or "")
    if adapter and not base:
        found.append(f"{path} holds an adapter, and no file says of which model; give `base: MODEL`")
    elif adapter and base.startswith(("/", ".")) and not Path(base).is_dir():
        found.append(f"{path} holds an adapter of {base}, where no folder is now; give `base: MODEL`")
    if given.get("base") and not adapter and (path / _WHOLE).is_file():
        found.append(f"{path} holds a whole model, which has no base: leave `base` out")
    data = {**_kept(saved.get("data"), DATA_KEYS), **_kept(given, DATA_KEYS)}
    if not data.get("template"):
        found.append(f"{path} has no {FILE}, which runs with `rm_engine: resonance` leave; give `template: NAME`")
    if found:
        raise ValueError("; ".join(found))
    model = {**_kept(saved.get("model"), MODEL_KEYS), **_kept(given, MODEL_KEYS)}
    merged = saved.get("merged") if adapter and not given.get("base") else []
    return Settings(base if adapter else None, list(merged or []), data, model)


def read_json(path: Path) -> Any:
    """What a JSON file holds; an empty object where there is no file. ValueError for what is not JSON."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of our format; an empty one where there is no file. ValueError for anything else."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format", FORMAT) != FORMAT:
        raise ValueError(f"{path} is of a format that this version does not know (it knows {FORMAT})")
    return found


def _kept(values: Any, names: tuple[str, ...]) -> dict[str, Any]:
    known = values if isinstance(values, Mapping) else {}
    return {name: known[name] for name in names if known.get(name) is not None}
