# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The command that starts a server for a recipe."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .policy_settings import as_urls

REPORT = "rollout_check.txt"  # what `resonance rollout-check` found, in the output folder of its run


def serve_commands(values: Mapping[str, Any]) -> list[str]:
    """One for each URL of a recipe with a server.

    Args:
        values: of its keys, by name; those that are missing have LlamaFactory's defaults.
    """
    make = {"vllm": _vllm, "sglang": _sglang}[values["rollout_backend"]]
    return [make(values, url) for url in as_urls(values["rollout_url"])]


def _vllm(values: Mapping[str, Any], url: str) -> str:
    words = ["vllm", "serve", str(values["model_name_or_path"]), *_address(url)]
    words += ["--dtype", dtype(values), "--max-model-len", str(longest(values)), "--generation-config", "vllm"]
    words += ["--logprobs-mode", logprobs_mode(values), "--limit-mm-per-prompt", '{"video": 0}']
    variables = ["VLLM_SERVER_DEV_MODE=1"]
    if rank := lora_rank(values):
        variables.append("VLLM_ALLOW_RUNTIME_LORA_UPDATING=1")
        words += ["--enable-lora", "--max-lora-rank", str(allowed_rank(rank))]
        words += [] if values.get("freeze_vision_tower", True) else ["--enable-tower-connector-lora"]
    words += ["--trust-remote-code"] if values.get("trust_remote_code") else []
    return " ".join([*variables, *map(shlex.quote, words)])


def _sglang(values: Mapping[str, Any], url: str) -> str:
    words = ["python", "-m", "sglang.launch_server", "--model-path", str(values["model_name_or_path"])]
    words += [*_address(url), "--dtype", dtype(values), "--context-length", str(longest(values))]
    if rank := lora_rank(values):
        words += ["--enable-lora", "--max-lora-rank", str(allowed_rank(rank)), "--lora-target-modules", "all"]
    return shlex.join(words)


def _address(url: str) -> list[str]:
    parts = urlsplit(url)
    return [
        "--host",
        parts.hostname or "127.0.0.1",
        "--port",
        str(parts.port or (443 if parts.scheme == "https" else 80)),
    ]


def dtype(values: Mapping[str, Any]) -> str:
    """In which the trainer computes."""
    if values.get("bf16") or values.get("pure_bf16"):
        return "bfloat16"
    return "float16" if values.get("fp16") else "float32"


def longest(values: Mapping[str, Any]) -> int:
    """Tokens of a prompt with its completion."""
    return int(values.get("cutoff_len", 2048)) + int(values.get("max_new_tokens", 1024))


def logprobs_mode(values: Mapping[str, Any]) -> str:
    """Of vLLM: raw log-probabilities are those before the temperature, and before `top_p` and `top_k`."""
    return "raw_logprobs" if float(values.get("temperature", 1.0)) == 1.0 else "processed_logprobs"


def needs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a server that a recipe needs: `logprobs_mode`, the least `max_model_len` and `max_lora_rank`."""
    return {
        "logprobs_mode": logprobs_mode(values),
        "max_model_len": longest(values),
        "max_lora_rank": lora_rank(values),
    }


def lora_rank(values: Mapping[str, Any]) -> int:
    """Of the policy's adapters; 0 where it is trained without."""
    return values.get("lora_rank", 8) if values.get("finetuning_type", "lora") == "lora" else 0


def allowed_rank(rank: int) -> int:
    """The least of the ranks that servers know which a rank fits into."""
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if rank <= known), rank)
