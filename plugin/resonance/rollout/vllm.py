# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A vLLM server, by its HTTP routes. vLLM itself is not imported: it needs another Transformers than LlamaFactory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..wire import Client, ServerError
from .server import Answer, Choice, Request, StaleError, Weights, drawn

FIRST = "default"  # version of the weights that a server was started with


class VllmServer:
    """Speaks to `vllm serve`, of version 0.32 and later, under VLLM_SERVER_DEV_MODE=1.

    Args:
        client: of its URL.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.url, self.concurrency = client, client.url, client.concurrency

    @cached_property
    def base(self) -> str:
        """The name of the model that it was started with."""
        return next(model["id"] for model in self._models() if not model.get("parent"))

    def _models(self) -> list[dict[str, Any]]:
        return self.client.get("/v1/models")["data"]

    def describe(self) -> str:
        return f"vLLM {self.client.get('/version')['version']} with {self._models()[0]['root']}"

    def problems(self, needs: Mapping[str, Any]) -> list[str]:
        config = self.client.get("/server_info?config_format=json")["vllm_config"]
        model, adapters = config["model_config"], config.get("lora_config") or {"max_lora_rank": 0}
        has = {**model, **adapters}
        found = []
        if has["logprobs_mode"] != needs["logprobs_mode"]:
            found.append(f"--logprobs-mode is {has['logprobs_mode']}, the recipe needs {needs['logprobs_mode']}")
        if has["max_model_len"] < needs["max_model_len"]:
            found.append(
                f"--max-model-len is {has['max_model_len']}, cutoff_len and max_new_tokens need "
                f"{needs['max_model_len']}"
            )
        if int(has["max_lora_rank"]) < needs["max_lora_rank"]:
            found.append(f"--max-lora-rank is {has['max_lora_rank'] or 'off'}, lora_rank is {needs['max_lora_rank']}")
        version = self.client.get("/weight_info")["weight_version"]
        if needs["max_lora_rank"] and version != FIRST:
            found.append(f"its base model was replaced by {version}, which adapters do not belong to; start it again")
        return found

    def holds(self, weights: Weights) -> bool:
        if weights.adapter:
            return weights.name in [model["id"] for model in self._models()]
        return self.client.get("/weight_info")["weight_version"] == weights.name

    def load(self, weights: Weights) -> None:
        if weights.adapter:
            self._load_adapter(weights)
        else:
            self._load_model(weights)

    def _load_adapter(self, weights: Weights) -> None:
        body = {"lora_name": weights.name, "lora_path": weights.folder, "load_inplace": True}
        self.client.post("/v1/load_lora_adapter", body, plain=True)
        for model in self._models():
            if model["id"].startswith(weights.family) and model["id"] != weights.name:
                self.client.post("/v1/unload_lora_adapter", {"lora_name": model["id"]}, plain=True)

    def _load_model(self, weights: Weights) -> None:
        self.client.post("/pause?mode=keep")
        try:
            body = {"method": "reload_weights", "kwargs": {"weights_path": weights.folder}}
            self.client.post("/collective_rpc", body)
            for cache in ("prefix", "encoder", "mm"):  # features and keys of the old weights; the engine dies of some
                self.client.post(f"/reset_{cache}_cache")
        finally:
            self.client.post("/resume")
        self.client.post("/update_weight_version", {"new_version": weights.name})

    def complete(self, request: Request, weights: Weights) -> Answer:
        model = weights.name if weights.adapter else self.base
        found = self.client.post("/v1/chat/completions", {"model": model, **_body(request)})
        if found.get("model") != model:
            raise StaleError(f"{self.url}: asked for {model}, {found.get('model')} answered")
        choices = [_choice(choice, self.url) for choice in found["choices"]]
        return Answer(found["prompt_token_ids"], found["usage"]["prompt_tokens"], choices)


def _body(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "messages": list(request.messages),
        "n": request.count,
        "seed": request.seed,
        **drawn(request),
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_new_tokens,
        "min_tokens": sampling.min_new_tokens,
        "logprobs": True,
        "return_token_ids": True,
    }


def _choice(found: dict[str, Any], url: str) -> Choice:
    tokens = [int(token) for token in found["token_ids"]]
    logps = [float(token["logprob"]) for token in found["logprobs"]["content"]]
    reason = found["finish_reason"]
    if reason not in ("stop", "length") or len(tokens) != len(logps):
        raise ServerError(
            f"{url}: a completion of {len(tokens)} tokens with {len(logps)} log-probabilities, ended by {reason!r}"
        )
    return Choice(tokens, logps, reason)
