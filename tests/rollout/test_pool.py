# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completions from servers that are killed, slow, restarted, or not the policy's."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace

import pytest
from PIL import Image

from resonance.rollout import pool
from resonance.rollout.agreement import Agreement
from resonance.rollout.pool import ServerRollout, Terms
from resonance.rollout.server import Weights
from resonance.rollout.types import Sampling
from resonance.rollout.vllm import VllmServer
from resonance.wire import Client
from rollout.fake_vllm import END, IMAGE, FakeVllm

COMMAND = "vllm serve somewhere"
# With a picture in every second prompt, of two tokens.
ROWS = [{"number": n, "input_ids": [5, 6] + [IMAGE] * (2 * (n % 2)) + [7, 100 + n]} for n in range(12)]
SEEDS = [1000 * n for n in range(12)]
SAMPLING = Sampling(max_new_tokens=3)


def speak(row):
    ids = row["input_ids"]
    first = {"type": "image", "image": Image.new("RGB", (8, 8), "red")}
    pictures = [first] if IMAGE in ids else []
    text = {"type": "text", "text": " ".join(str(i) for i in ids[-2:])}
    return [{"role": "system", "content": "5 6"}, {"role": "user", "content": [*pictures, text]}]


class Folder:
    """Of weights that are only a name."""

    def __init__(self, path, adapter):
        self.path, self.adapter, self.calls = path, adapter, []

    def write(self, version):
        self.calls.append(version)
        folder = self.path / f"v{version}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": 8}))
        return Weights(f"run-{version}", "run-", str(folder), self.adapter)

    def hand_out(self, load):
        load()
        self.calls.append("handed out")


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr(pool, "PAUSE", 0.02)
    found = [FakeVllm() for _ in range(2)]
    yield found
    for fake in found:
        fake.kill()


@pytest.fixture(params=["adapter", "whole model"])
def adapter(request):
    return request.param == "adapter"


@pytest.fixture
def make(fakes, tmp_path):
    """A back-end on the first servers."""

    def rollout(adapter=True, servers=1, rank=0, world=1, timeout=5.0, wait=0.3):
        clients = [Client(fake.url, timeout=timeout, retries=0, concurrency=3) for fake in fakes[:servers]]
        terms = Terms(speak, lambda row: f"row {row['number']}", [END], [IMAGE], wait, rank, world)
        agreement = Agreement({IMAGE}, lambda ids: " ".join(map(str, ids)), COMMAND)
        return ServerRollout([*map(VllmServer, clients)], terms, agreement, Folder(tmp_path, adapter))

    return rollout


def generate(rollout, version=0, **sampling):
    rollout.take(version)
    return rollout.generate(ROWS, 2, replace(SAMPLING, **sampling), version, SEEDS)


def right(found, version=0):
    """Every prompt has the completions of its own seed."""
    assert [[one.token_ids[0] for one in group] for group in found] == [[seed, seed + 1] for seed in SEEDS]
    assert {one.version for group in found for one in group} == {version}
    return True


def test_what_is_asked_and_what_comes_of_it(fakes, make, adapter):
    rollout = make(adapter)
    found = generate(rollout, temperature=0.5)
    assert right(found)
    one = found[3][1]
    assert (one.logps, one.finish_reason) == ([-0.5, -0.25, -0.125], "stop")
    body = next(body for body in fakes[0].called("/v1/chat/completions") if body["seed"] == 3000)
    assert body["model"] == ("run-0" if adapter else "policy")
    assert (body["temperature"], body["top_p"], body["top_k"], body["max_tokens"]) == (0.5, 1.0, 0, 3)
    assert (body["stop_token_ids"], body["ignore_eos"], body["logit_bias"]) == ([END], True, {str(IMAGE): -100.0})
    assert body["messages"][1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_greedy_completions(fakes, make):
    generate(make(), greedy=True)
    assert {body["temperature"] for body in fakes[0].called("/v1/chat/completions")} == {0.0}


def test_each_version_is_given_once_to_every_server_and_the_one_before_is_taken_away(fakes, make, adapter):
    rollout = make(adapter, servers=2)
    for version in (0, 0, 4):
        assert right(generate(rollout, version), version)
    assert rollout.publisher.calls == [0, "handed out", 4, "handed out"]
    for fake in fakes:
        if adapter:
            assert list(fake.adapters) == ["run-4"]
        else:
            assert (fake.weights, fake.folder.endswith("v4"), fake.paused, fake.stale) == ("run-4", True, False, set())
            assert len(fake.called("/collective_rpc")) == 2


def test_a_server_that_is_killed_leaves_its_prompts_to_the_other(fakes, make, adapter, caplog):
    rollout = make(adapter, servers=2)
    rollout.take(0)
    fakes[1].kill()
    assert right(generate(rollout))
    assert f"{fakes[1].url} is left out until it answers" in caplog.text
    fakes[1].start()
    assert right(generate(rollout))
    assert f"{fakes[1].url} answers again, and has the weights of now" in caplog.text
    assert fakes[1].called("/v1/chat/completions"), "it was given the weights of now and asked again"


def test_a_server_that_is_restarted_in_between_has_its_answers_dropped(fakes, make, adapter):
    """Between the check before and the one after, so that its answers are of the weights it was started with."""
    rollout, fake, asked = make(adapter), fakes[0], []
    answer = fake.answer

    def forget(body, folder):
        if len(asked) == 5:
            fake.adapters.clear()
            fake.weights, fake.folder = "default", ""
        asked.append(folder)
        return answer(body, folder)

    fake.answer = forget
    found = generate(rollout)
    assert right(found)
    assert all(one.token_ids[1] == len(rollout.weights.folder) for group in found for one in group)


def test_a_run_waits_for_a_server_and_goes_on(fakes, make):
    rollout = make(wait=20.0)
    fakes[0].kill()
    threading.Timer(0.2, fakes[0].start).start()
    assert right(generate(rollout))


def test_a_run_without_any_server_stops_with_the_cause(fakes, make):
    rollout = make(servers=2)
    for fake in fakes:
        fake.kill()
    with pytest.raises(ValueError, match="no completion for 0.3 s") as error:
        generate(rollout)
    assert all(fake.url in str(error.value) for fake in fakes) and COMMAND in str(error.value)
    for fake in fakes:
        fake.start()


def test_a_server_that_is_too_slow_is_left_to_the_other(fakes, make):
    fakes[0].delay = 0.6
    rollout = make(servers=2, timeout=0.3)
    assert right(generate(rollout))
    assert len(fakes[1].called("/v1/chat/completions")) >= len(ROWS)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failure_in_passing_costs_a_pause(fakes, make, status):
    fakes[0].refuse = [status] * 2
    began = time.monotonic()
    assert right(generate(make()))
    assert time.monotonic() - began < 5


def test_a_request_that_is_wrong_stops_the_run_and_names_the_row(fakes, make):
    fakes[0].refuse = [400]
    with pytest.raises(ValueError, match=r"row \d+: .*status 400") as error:
        generate(make())
    assert COMMAND in str(error.value)


def test_a_server_that_cannot_load_the_weights(fakes, make):
    fakes[0].rank = 4
    with pytest.raises(ValueError, match="LoRA rank 8 is greater than max_lora_rank 4") as error:
        generate(make())
    assert COMMAND in str(error.value)


def test_each_process_asks_its_own_servers_and_others_in_need(fakes, make):
    ranks = [make(servers=2, rank=rank, world=2) for rank in range(2)]
    for rank in ranks:
        rank.take(0)
    assert right(generate(ranks[1])) and not fakes[0].called("/v1/chat/completions")
    fakes[1].kill()
    assert right(generate(ranks[1]))
    fakes[1].start()


def test_another_prompt_stops_the_run_and_shows_both(fakes, make):
    fakes[0].answer = lambda body, folder: ([5, 6, 7, 8], 4, [])
    with pytest.raises(ValueError, match="from token [23] on") as error:
        generate(make())
    assert "here   '5 6 " in str(error.value) and "server '5 6 7 8'" in str(error.value)


def test_other_sizes_of_images_stop_the_run(fakes, make):
    answer = fakes[0].answer

    def larger(body, folder):
        ids, count, choices = answer(body, folder)
        return ids, count + 3 * (IMAGE in ids), choices

    fakes[0].answer = larger
    with pytest.raises(ValueError, match="has 6 tokens here and 9 on the server.*images larger or smaller"):
        generate(make())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (([3, 4], [-1.0, -1.0], "stop"), "ended by 'stop' with '4'"),
        (([3, 4], [-1.0, -1.0], "length"), "a completion of 2 tokens ended by 'length'"),
        (([], [], "stop"), "a completion of 0 tokens ended by 'stop'"),
        (([3, 1], [math.nan, -1.0], "stop"), "came with nan among its log-probabilities"),
        (([3, 1], [-math.inf, -1.0], "stop"), "came with -inf among its log-probabilities"),
        (([3, 1], [-1.0, 0.5], "stop"), "came with 0.5 among its log-probabilities"),
        (([3, 1], [None, -1.0], "stop"), "or of another version of it .TypeError: "),
        ((None, [-1.0], "stop"), "or of another version of it .TypeError: "),
    ],
)
def test_a_completion_that_cannot_be_trained_on(fakes, make, choice, message):
    answer = fakes[0].answer
    fakes[0].answer = lambda body, folder: (*answer(body, folder)[:2], [choice] * 2)
    with pytest.raises(ValueError, match=message):
        generate(make())


def test_fewer_completions_than_asked_for(fakes, make):
    answer = fakes[0].answer
    fakes[0].answer = lambda body, folder: (*answer(body, folder)[:2], answer(body, folder)[2][:1])
    with pytest.raises(ValueError, match="2 completions were asked for, 1 came"):
        generate(make())


def test_settings_that_do_not_fit(fakes):
    fakes[0].logprobs_mode, fakes[0].rank, fakes[0].weights = "processed_logprobs", 8, "rollout-9"
    needs = {"logprobs_mode": "raw_logprobs", "max_model_len": 5000, "max_lora_rank": 16}
    assert VllmServer(Client(fakes[0].url)).problems(needs) == [
        "--logprobs-mode is processed_logprobs, the recipe needs raw_logprobs",
        "--max-model-len is 4096, cutoff_len and max_new_tokens need 5000",
        "--max-lora-rank is 8, lora_rank is 16",
        "its base model was replaced by rollout-9, which adapters do not belong to; start it again",
    ]
    fits = {"logprobs_mode": "processed_logprobs", "max_model_len": 4096, "max_lora_rank": 0}
    assert VllmServer(Client(fakes[0].url)).problems(fits) == []


def test_an_answer_of_another_adapter_is_not_taken(fakes, make, monkeypatch):
    monkeypatch.setattr(FakeVllm, "v1_chat_completions", _of_another(FakeVllm.v1_chat_completions))
    with pytest.raises(ValueError, match="asked for run-0, policy answered"):
        generate(make())


def _of_another(original):
    def answer(self, body):
        status, found = original(self, body)
        return status, {**found, "model": "policy"}

    return answer
