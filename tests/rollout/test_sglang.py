# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""SGLang's dialect against recorded answers of its documentation and sources; no real server was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonance.rollout.server import Request, StaleError, Weights
from resonance.rollout.sglang import SglangServer
from resonance.rollout.types import Sampling
from resonance.wire import ServerError

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
MESSAGES = [{"role": "user", "content": [PICTURE, {"type": "text", "text": "Which?"}]}]
REQUEST = Request(MESSAGES, [5, 9, 9, 7], 2, Sampling(4, temperature=0.7), 3, [1], [9])
FULL = Weights("run-4", "run-", "/shared/run-4", adapter=False)
ADAPTER = replace(FULL, adapter=True)
NEEDS = {"logprobs_mode": "raw_logprobs", "max_model_len": 512, "max_lora_rank": 8}


def meta(tokens, reason="stop", version="run-4"):
    pairs = [[-0.5 * token, token, None] for token in tokens]
    finish = {"type": reason, "matched": 1} if reason == "stop" else {"type": reason, "length": 4}
    return {
        "text": "x",
        "output_ids": list(tokens),
        "meta_info": {
            "id": "a",
            "finish_reason": finish,
            "prompt_tokens": 4,
            "weight_version": version,
            "output_token_logprobs": pairs,
        },
    }


class Recorded:
    """A client that gives recorded answers."""

    def __init__(self, **answers):
        self.url, self.concurrency, self.answers, self.asked = "http://127.0.0.1:30000", 8, answers, []

    def get(self, path):
        return self.answers[path.strip("/").replace("/", "_")]

    def post(self, path, body):
        self.asked.append((path, body))
        return self.answers[path.strip("/")]


def test_what_is_asked_and_what_comes_of_it():
    client = Recorded(generate=[meta([2, 1]), meta([2, 3, 3, 3], "length")])
    answer = SglangServer(client).complete(REQUEST, FULL)
    assert (answer.prompt_ids, answer.prompt_tokens) == (None, 4)
    assert [(one.token_ids, one.logps, one.finish_reason) for one in answer.choices] == [
        ([2, 1], [-1.0, -0.5], "stop"),
        ([2, 3, 3, 3], [-1.0, -1.5, -1.5, -1.5], "length"),
    ]
    ((_, body),) = client.asked
    assert (body["input_ids"], body["image_data"]) == ([5, 9, 9, 7], [PICTURE["image_url"]["url"]])
    asked = body["sampling_params"]
    assert (asked["n"], asked["temperature"], asked["top_k"], asked["stop_token_ids"]) == (2, 0.7, -1, [1])
    assert asked["ignore_eos"] and asked["logit_bias"] == {"9": -100.0} and "lora_path" not in body


def test_an_adapter_is_asked_for_by_name():
    client = Recorded(generate=[meta([1], version="default")] * 2)
    SglangServer(client).complete(REQUEST, ADAPTER)
    assert client.asked[0][1]["lora_path"] == "run-4"


def test_an_answer_of_other_weights():
    client = Recorded(generate=[meta([1]), meta([1], version="run-3")])
    with pytest.raises(StaleError, match="asked for run-4, run-3 answered"):
        SglangServer(client).complete(REQUEST, FULL)


def test_a_completion_that_was_aborted():
    with pytest.raises(ServerError, match="ended by 'abort'"):
        SglangServer(Recorded(generate=meta([1], "abort"))).complete(REQUEST, FULL)


def test_new_weights():
    told = {"success": True, "message": "Succeeded to update model weights.", "num_paused_requests": 0}
    client = Recorded(update_weights_from_disk=told, get_model_info={"model_path": "m", "weight_version": "run-4"})
    server = SglangServer(client)
    server.load(FULL)
    path, body = client.asked[0]
    assert path == "/update_weights_from_disk" and body["flush_cache"]
    assert (body["model_path"], body["weight_version"]) == ("/shared/run-4", "run-4")
    assert server.holds(FULL) and not server.holds(replace(FULL, name="run-5"))


def test_new_adapters_and_those_before():
    models = [{"id": "m", "parent": None}, *({"id": name, "parent": "m"} for name in ("run-3", "run-4", "mine"))]
    done = {"success": True, "error_message": ""}
    client = Recorded(load_lora_adapter=done, unload_lora_adapter=done, v1_models={"data": models})
    server = SglangServer(client)
    server.load(ADAPTER)
    assert client.asked == [
        ("/load_lora_adapter", {"lora_name": "run-4", "lora_path": "/shared/run-4"}),
        ("/unload_lora_adapter", {"lora_name": "run-3"}),
    ]
    assert server.holds(ADAPTER)


def test_weights_that_are_refused():
    client = Recorded(load_lora_adapter={"success": False, "error_message": "rank 64 is too large"})
    with pytest.raises(ServerError, match="rank 64 is too large") as error:
        SglangServer(client).load(ADAPTER)
    assert error.value.status == 400


def test_settings_that_do_not_fit():
    client = Recorded(get_server_info={"context_length": 256, "max_lora_rank": None})
    assert SglangServer(client).problems(NEEDS) == [
        "--context-length is 256, cutoff_len and max_new_tokens need 512",
        "--max-lora-rank is off, lora_rank is 8",
    ]
