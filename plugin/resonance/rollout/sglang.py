# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An SGLang server, by its HTTP routes. Written from its sources and never run against a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..wire import Client, ServerError
from .server import Answer, Choice, Request, StaleError, Weights, drawn


class SglangServer:
    """Speaks to `python -m sglang.launch_server`.

    It is asked by token ids. Completions do not depend on the seed: the samples of one request would all be alike.

    Args:
        client: of its URL.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.url, self.concurrency = client, client.url, client.concurrency

    def describe(self) -> str:
        return f"SGLang with {self._info()['model_path']}"

    def _info(self) -> dict[str, Any]:
        return self.client.get("/get_model_info")

    def problems(self, needs: Mapping[str, Any]) -> list[str]:
        settings = self.client.get("/get_server_info")
        length, rank = settings.get("context_length"), settings.get("max_lora_rank") or 0
        found = []
        if length is not None and length < needs["max_model_len"]:
            found.append(f"--context-length is {length}, cutoff_len and max_new_tokens need {needs['max_model_len']}")
        if rank < needs["max_lora_rank"]:
            found.append(f"--max-lora-rank is {rank or 'off'}, lora_rank is {needs['max_lora_rank']}")
        return found

    def holds(self, weights: Weights) -> bool:
        if weights.adapter:
            return weights.name in self._adapters()
        return self._info().get("weight_version") == weights.name

    def _adapters(self) -> list[str]:
        return [model["id"] for model in self.client.get("/v1/models")["data"] if model.get("parent")]

    def load(self, weights: Weights) -> None:
        if not weights.adapter:
            asked = {"model_path": weights.folder, "weight_version": weights.name, "flush_cache": True}
            self._told("/update_weights_from_disk", asked)
            return
        self._told("/load_lora_adapter", {"lora_name": weights.name, "lora_path": weights.folder})
        for name in self._adapters():
            if name.startswith(weights.family) and name != weights.name:
                self._told("/unload_lora_adapter", {"lora_name": name})

    def _told(self, path: str, body: Mapping[str, Any]) -> None:
        found = self.client.post(path, dict(body))
        if not found.get("success"):
            why = found.get("message") or found.get("error_message") or found
            raise ServerError(f"POST {self.url}{path}: {why}", status=400)

    def complete(self, request: Request, weights: Weights) -> Answer:
        body = _body(request) | ({"lora_path": weights.name} if weights.adapter else {})
        found = self.client.post("/generate", body)
        results = found if isinstance(found, list) else [found]
        for result in results:
            version = result["meta_info"].get("weight_version")
            if not weights.adapter and version != weights.name:
                raise StaleError(f"{self.url}: asked for {weights.name}, {version} answered")
        choices = [_choice(result["meta_info"], self.url) for result in results]
        return Answer(None, results[0]["meta_info"]["prompt_tokens"], choices)


def _body(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    parts = [
        part for message in request.messages if isinstance(message["content"], list) for part in message["content"]
    ]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return {
        "input_ids": list(request.prompt_ids),
        **({"image_data": images} if images else {}),
        "return_logprob": True,
        "sampling_params": {
            "n": request.count,
            **drawn(request),
            "top_k": sampling.top_k or -1,
            "max_new_tokens": sampling.max_new_tokens,
            "min_new_tokens": sampling.min_new_tokens,
        },
    }


def _choice(found: Mapping[str, Any], url: str) -> Choice:
    reason = found["finish_reason"]["type"]
    if reason not in ("stop", "length"):
        raise ServerError(f"{url}: a completion was ended by {reason!r}")
    pairs = found["output_token_logprobs"]
    return Choice([int(pair[1]) for pair in pairs], [float(pair[0]) for pair in pairs], reason)
