# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with a recipe whose completions come from a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..wire import checked_host
from .places import names
from .policy import ServerKeys
from .policy_settings import SAMPLING, as_urls
from .policy_settings import sampling as rollout_sampling

TRAINED = ("lora", "full", "freeze")


def problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Messages that start with the key.

    Args:
        values: of all keys.
        given: as written.
    """
    if values["rollout_backend"] == "local":
        return [
            f"{key.name}: is about a server; add `rollout_backend: vllm`, or remove the key"
            for key in fields(ServerKeys)
            if values[key.name] != key.default
        ]
    return _server_problems(values, given) + _weight_problems(values, given)


def _server_problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    backend = values["rollout_backend"]
    found = url_problems(values["rollout_url"], backend)
    if values["rollout_batch_size"] is not None:
        found.append(
            f"rollout_batch_size: rollout_backend: {backend} takes any number of prompts at a time; use "
            "rollout_concurrency, or remove the key"
        )
    if values.get("overlong") == "cut_text":
        found.append(
            "overlong: cut_text shortens prompts, which a server would get whole; use `overlong: drop` or another one"
        )
    cut = {key: value for key, value in rollout_sampling(values, given).items() if key != "temperature"}
    narrowed = [f"{key}: {value}" for key, value in cut.items() if value != SAMPLING[key]]
    if narrowed and values.get("temperature", 1.0) != 1.0 and "temperature" in given:
        found.append(
            f"{', '.join(narrowed)}: together with a temperature other than 1, a server's log-probabilities are not "
            "those of the whole vocabulary; remove one or the other"
        )
    if values["rollout_ahead"] > 1:
        found.append(f"rollout_ahead: {values['rollout_ahead']} is not allowed, it must be 0 or 1")
    if values["rollout_ahead"] and values["rollout_correction"] in ("off", False):
        found.append(
            "rollout_ahead: completions are of weights that are one rollout old, which needs a rollout_correction; "
            "add `rollout_correction: token-truncate`"
        )
    return found


def url_problems(given: Any, backend: str) -> list[str]:
    """What is wrong with `rollout_url`."""
    if not given:
        return [f"rollout_url: rollout_backend: {backend} needs one, e.g. `rollout_url: http://127.0.0.1:8000`"]
    try:
        urls = as_urls(given)
    except (ValueError, AttributeError, TypeError):
        return [f"rollout_url: {given!r} is not a URL or a list of URLs"]
    found = []
    for url in urls:
        try:
            checked_host(url)
        except ValueError as error:
            found.append(f"rollout_url: {error}")
    twice = sorted({url for url in urls if urls.count(url) > 1})
    return found + [f"rollout_url: {url} is given twice" for url in twice]


def _weight_problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Weights that a server could not be given, or that would not make it the policy."""
    kind, found = given.get("finetuning_type", "lora"), []
    if kind not in TRAINED:
        found.append(f"finetuning_type: {kind}: a server can be given {', '.join(TRAINED)} only")
    adapters = names(given.get("adapter_name_or_path"))
    if kind == "lora":
        for key in ("use_dora", "additional_target"):
            if given.get(key):
                found.append(f"{key}: a server cannot load such adapters; remove the key")
    if adapters and (kind != "lora" or given.get("create_new_adapter") or len(adapters) > 1):
        merged = adapters if kind != "lora" or given.get("create_new_adapter") else adapters[:-1]
        found.append(
            f"adapter_name_or_path: {', '.join(merged)} would be merged into the policy's model, but not the server's"
            "; merge with `llamafactory-cli export`, and give the result as model_name_or_path to both"
        )
    return found
