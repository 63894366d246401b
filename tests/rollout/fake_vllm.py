# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A server with vLLM's routes, as version 0.32.0 answered them, that fails on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IMAGE, END = 9, 1
CACHES = {"prefix", "encoder", "mm"}


class FakeVllm:
    """Give it `answer(body, folder)`, which returns prompt ids, their number with images expanded, and choices of
    (tokens, log-probabilities, reason); `folder` is that of the weights that answer, "" for those it started with.

    Attributes:
        deaf: it accepts new weights and keeps the old ones.
        refuse: statuses of the next chat answers.
        delay: seconds before a chat answer.
        seen: paths asked for, with bodies.
    """

    def __init__(
        self, answer: Callable[[dict[str, Any], str], tuple[list[int], int, list[Any]]] | None = None
    ) -> None:
        self.answer = answer or scripted
        self.deaf, self.delay, self.rank, self.logprobs_mode = False, 0.0, 16, "raw_logprobs"
        self.refuse: list[int] = []
        self.seen: list[tuple[str, Any]] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Anew, with the weights that it was started with."""
        self.adapters: dict[str, str] = {}
        self.weights, self.folder, self.paused, self.stale = "default", "", False, set[str]()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.http.daemon_threads = True
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def called(self, path: str) -> list[Any]:
        return [body for found, body in self.seen if found.partition("?")[0] == path]

    def route(self, path: str, body: Any) -> tuple[int, Any]:
        self.seen.append((path, body))
        name = path.partition("?")[0].strip("/").replace("/", "_")
        return getattr(self, name)(body) if hasattr(self, name) else (404, {"detail": "Not Found"})

    # -- routes ---------------------------------------------------------------------------------------------------

    def v1_models(self, _: Any) -> tuple[int, Any]:
        base = [{"id": "policy", "parent": None, "root": "/models/policy", "max_model_len": 512}]
        return 200, {"data": base + [{"id": name, "parent": "policy"} for name in self.adapters]}

    def version(self, _: Any) -> tuple[int, Any]:
        return 200, {"version": "0.32.0"}

    def server_info(self, _: Any) -> tuple[int, Any]:
        config = {"logprobs_mode": self.logprobs_mode, "max_model_len": 4096}
        return 200, {"vllm_config": {"model_config": config, "lora_config": {"max_lora_rank": self.rank}}}

    def v1_load_lora_adapter(self, body: Any) -> tuple[int, Any]:
        name, folder = body["lora_name"], body["lora_path"]
        with open(f"{folder}/adapter_config.json") as file:
            rank = json.load(file)["r"]
        if rank > self.rank:
            return 500, {"error": {"message": f"LoRA rank {rank} is greater than max_lora_rank {self.rank}."}}
        self.adapters[name] = "" if self.deaf else folder
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def v1_unload_lora_adapter(self, body: Any) -> tuple[int, Any]:
        del self.adapters[body["lora_name"]]
        return 200, f"Success: LoRA adapter '{body['lora_name']}' removed successfully."

    def weight_info(self, _: Any) -> tuple[int, Any]:
        return 200, {"weight_version": self.weights}

    def update_weight_version(self, body: Any) -> tuple[int, Any]:
        self.weights = body["new_version"]
        return 200, {"success": True, "new_version": self.weights}

    def pause(self, _: Any) -> tuple[int, Any]:
        self.paused = True
        return 200, {"status": "paused"}

    def resume(self, _: Any) -> tuple[int, Any]:
        self.paused = False
        return 200, {"status": "resumed"}

    def collective_rpc(self, body: Any) -> tuple[int, Any]:
        assert body["method"] == "reload_weights" and self.paused
        if not self.deaf:
            self.folder = body["kwargs"]["weights_path"]
        self.stale = set(CACHES)
        return 200, {"results": [None]}

    def _reset(self, cache: str) -> tuple[int, Any]:
        self.stale.discard(cache)
        return (200, {"success": True}) if cache == "prefix" else (200, "")

    def reset_prefix_cache(self, _: Any) -> tuple[int, Any]:
        return self._reset("prefix")

    def reset_encoder_cache(self, _: Any) -> tuple[int, Any]:
        return self._reset("encoder")

    def reset_mm_cache(self, _: Any) -> tuple[int, Any]:
        return self._reset("mm")

    def v1_chat_completions(self, body: Any) -> tuple[int, Any]:
        time.sleep(self.delay)
        if self.refuse:
            return self.refuse.pop(0), {"error": {"message": "on demand"}}
        if body["model"] not in ("policy", *self.adapters):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if self.stale or self.paused:
            return 500, {"error": {"message": "EngineCore encountered an issue."}}
        ids, count, choices = self.answer(body, self.adapters.get(body["model"], self.folder))
        return 200, {
            "model": body["model"],
            "prompt_token_ids": ids,
            "usage": {"prompt_tokens": count},
            "choices": [
                {
                    "token_ids": tokens,
                    "logprobs": {"content": [{"logprob": logp} for logp in logps]},
                    "finish_reason": reason,
                }
                for tokens, logps, reason in choices
            ],
        }


class _Handler(BaseHTTPRequestHandler):
    fake: FakeVllm

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.fake.route(self.path, json.loads(content) if content else None)
        text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(BrokenPipeError):  # of a client that waits no longer
            self.wfile.write(text)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def scripted(body: dict[str, Any], folder: str) -> tuple[list[int], int, list[Any]]:
    """Texts are numbers; an image is one token before it is expanded and two after. The answer is the seed's."""
    ids: list[int] = []
    for message in body["messages"]:
        parts = message["content"]
        for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
            ids += [IMAGE] if part["type"] == "image_url" else [int(word) for word in part["text"].split()]
    choices = [([body["seed"] + i, len(folder), END], [-0.5, -0.25, -0.125], "stop") for i in range(body["n"])]
    return ids, len(ids) + ids.count(IMAGE), choices
