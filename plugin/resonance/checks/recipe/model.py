# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether the model of a recipe is here, and its template the model's. Imports LlamaFactory in functions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...arguments.names import ADAPTERS, MODELS, name_problems
from ...arguments.places import names

# Model types whose pictures LlamaFactory's plugin of another name puts into a prompt.
_PLUGINS = {"qwen2_5_vl": "qwen2_vl", "qwen3_vl_moe": "qwen3_vl", "qwen3_5": "qwen3_vl", "internvl": "intern_vl"}


def model_problems(given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong with model, adapters, template and DeepSpeed file of a recipe, and what is not here yet."""
    found = name_problems(given)
    if not given.get("model_name_or_path"):
        found.append("model_name_or_path: is missing; give a folder with config.json or a model of the hub")
        return found, []
    if not given.get("template") and not given.get("tokenized_path"):
        found.append("template: is missing; `resonance ls` has recipes with those of the usual models")
    notes = []
    for key in (*MODELS, *ADAPTERS):
        for name in filter(None, names(given.get(key))):
            if not Path(name).is_dir() and not any(key in message for message in found) and not is_cached(name):
                notes.append(f"{key}: {name} is not here yet: hf download {shlex.quote(name)}")
    return found + template_problems(given), notes


def is_cached(name: str) -> bool:
    """Whether a model of the hub has been downloaded; what is no name of the hub is not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = (try_to_load_from_cache(name, file) for file in ("config.json", "adapter_config.json"))
        return any(isinstance(path, str) for path in found)
    except HFValidationError:
        return False


def template_problems(given: Mapping[str, Any]) -> list[str]:
    """A template that is another model family's; models that are not known pass."""
    from llamafactory.data.mm_plugin import PLUGINS
    from llamafactory.data.template import TEMPLATES

    template, model = TEMPLATES.get(str(given.get("template"))), str(given["model_name_or_path"])
    if template is None:
        return []
    kind = model_type(model)
    plugin = PLUGINS.get(_PLUGINS.get(kind, kind))
    if plugin is None:  # a text model, or one that is known by its name alone
        usual = usual_template(model)
        wanted = type(TEMPLATES[usual].mm_plugin) if usual in TEMPLATES else type(template.mm_plugin)
        if wanted is type(template.mm_plugin):
            return []
        return [f"template: {given['template']} is not for {model}, which LlamaFactory lists with `template: {usual}`"]
    if type(template.mm_plugin) is plugin:
        return []
    fitting = [name for name, each in TEMPLATES.items() if type(each.mm_plugin) is plugin]
    shows = "shows no image to a model" if type(template.mm_plugin) is PLUGINS["base"] else "is another family's"
    return [f"template: {given['template']} {shows}; {model} is a {kind}: {', '.join(fitting)}"]


def model_type(name: str) -> str:
    """The `model_type` of a model on disk; empty for others."""
    try:
        config = json.loads(Path(name, "config.json").read_text(encoding="utf-8"))
        return str(config.get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def usual_template(name: str) -> str:
    """The template that LlamaFactory lists a model of the hub with; empty where it lists none."""
    from llamafactory.extras.constants import DEFAULT_TEMPLATE, SUPPORTED_MODELS

    listed = (title for title, sources in SUPPORTED_MODELS.items() if name in map(str, sources.values()))
    return next((DEFAULT_TEMPLATE[title] for title in listed if title in DEFAULT_TEMPLATE), "")
