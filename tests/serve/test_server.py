# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The routes of the reward server, its limits, its key, and what it reads."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from loaded import loaded
from resonance.rewards import Completions, Scores, make_rewards
from resonance.rewards.spec import InputError
from resonance.serve.app import Limits, RewardServer
from resonance.serve.batcher import Batcher
from resonance.serve.metrics import Metrics
from resonance.serve.run import entry_of, scorer

LIMITS = {"body": 2**16, "requests": 8, "timeout": 5.0, "batch_size": 1, "batch_wait": 0.0}


def lengths(batch: Completions) -> Scores:
    return Scores({"length": [float(len(text)) for text in batch.completions]}, {"length": 1.0})


def client(score: Callable[[Completions], Any] = lengths, key: str = "", media_dir: Any = None, **limits: Any):
    return TestClient(RewardServer("length", score, Limits(**LIMITS | limits), key, media_dir).app)


def body(*texts: str, **more: Any) -> dict[str, Any]:
    item = {"messages": [{"role": "user", "content": "?"}], "images": [], "columns": {}, **more}
    return {"version": 1, "items": [{"id": str(at), "completion": text, **item} for at, text in enumerate(texts)]}


def uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def png(size: tuple[int, int] = (3, 2)) -> bytes:
    Image.new("RGB", size, "red").save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def test_scores_come_by_id_in_our_form_and_in_order_in_llamafactorys():
    with client() as server:
        found = server.post("/v1/score", json=body("one", "three")).json()
        assert found == {"version": 1, "scores": [{"id": "0", "score": 3.0}, {"id": "1", "score": 5.0}]}
        assert server.post("/v1/score", json=body()).json() == {"version": 1, "scores": []}
        for path in ("/", "/v1/score/evaluation"):
            found = server.post(path, json={"model": "m", "messages": ["one", "three"]}).json()
            assert found["scores"] == [3.0, 5.0]
        assert server.get("/health").json() == {"status": "ok", "version": 1, "reward": "length"}


def test_a_function_gets_what_it_gets_in_a_run(my_rewards):
    my_rewards(
        "def seen(completions, prompts, images, answer, *, bonus=0):\n"
        "    assert prompts == ['system: s\\n\\nuser: <image>?']\n"
        "    assert [image.size for image in images[0]] == [(3, 2)]\n"
        "    return [float(completions == answer) + bonus]\n"
    )
    (reward,) = make_rewards([entry_of("my_rewards:seen", {"bonus": 2})])
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "<image>?"}]
    with client(scorer(reward)) as server:
        asked = body("5", messages=messages, images=[{"data": uri(png())}], columns={"answer": "5"})
        assert server.post("/v1/score", json=asked).json()["scores"] == [{"id": "0", "score": 3.0}]
        refused = server.post("/v1/score", json=body("5"))
    assert refused.status_code == 422 and "it needs 'answer', which is no column" in refused.json()["error"]


def test_built_in_rewards_and_models_are_targets(tmp_path):
    assert entry_of("exact", {"answer": "solution"}) == {"name": "exact", "answer": "solution"}
    assert entry_of(str(tmp_path), {}) == {"model": str(tmp_path)}
    (reward,) = make_rewards([entry_of("exact", {})])
    with client(scorer(reward)) as server:
        answer = server.post("/v1/score", json=body("5", "6", columns={"answer": "5"})).json()
    assert [each["score"] for each in answer["scores"]] == [1.0, 0.0]


def test_a_reward_that_fails_is_an_error_of_the_server_and_names_no_secret():
    def broken(batch):
        raise ValueError("broken (my:fn) raised KeyError: 'x'")

    with client(broken) as server:
        answer = server.post("/v1/score", json=body("a"))
    assert (answer.status_code, answer.json()) == (500, {"error": "broken (my:fn) raised KeyError: 'x'"})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"version": 2, "items": []}, "version: Input should be 1"),
        ({"items": []}, "version: Field required"),
        ({"version": 1, "items": [{"id": 0}]}, "items.0.id: Input should be a valid string"),
        ({**body("a"), "more": 1}, "more: Extra inputs are not permitted"),
        (body("a", images=[{"data": "x", "path": "y"}]), "items.0.images.0"),
        (body("a", images=[{"path": "/etc/passwd"}]), "id '0': images by path are not read; start with --media-dir"),
        (body("a", images=[{"data": "abc"}]), "must be a data URI"),
        (body("a", images=[{"data": "data:image/png;base64,???"}]), "is no base64"),
        (body("a", images=[{"data": uri(b"not a picture")}]), "an image cannot be read (UnidentifiedImageError)"),
        (body("a", columns={"images": [1]}), "have names that rewards use"),
        ({"version": 1, "items": body("a")["items"] * 2}, "ids must be unique in a request, these come again: 0"),
    ],
)
def test_a_wrong_request_is_explained(asked, message):
    with client() as server:
        answer = server.post("/v1/score", json=asked)
    assert answer.status_code == 422 and message in answer.json()["error"], answer.json()


def test_other_paths_and_what_is_no_json():
    with client() as server:
        assert server.post("/v1/score", content=b"{").status_code == 422
        for method, path, status in (("GET", "/v1/score", 405), ("POST", "/score", 404)):
            answer = server.request(method, path)
            assert answer.status_code == status and "POST /v1/score" in answer.json()["error"]


def test_images_by_path_come_from_one_folder(tmp_path):
    inside, outside = tmp_path / "media", tmp_path / "outside.png"
    inside.mkdir()
    for path in (inside / "in.png", outside):
        path.write_bytes(png())
    (inside / "link.png").symlink_to(outside)
    (inside / "text.png").write_text("secret")
    os.mkfifo(inside / "pipe.png")
    seen = []

    def score(batch):
        seen.extend(batch.images)
        return lengths(batch)

    with client(score, media_dir=inside) as server:
        for name in (str(inside / "in.png"), "in.png"):
            assert server.post("/v1/score", json=body("a", images=[{"path": name}])).status_code == 200
        elsewhere = (str(outside), "../outside.png", "link.png", "/etc/passwd")
        for name in (*elsewhere, "a\0b", "text.png", "gone.png", ".", "pipe.png", "a" * 999):
            answer = server.post("/v1/score", json=body("a", images=[{"path": name}]))
            assert answer.status_code == 422 and "secret" not in answer.text, name
    assert seen == [[str(inside / "in.png")]] * 2


def test_the_server_survives_a_function_that_interrupts_itself():
    def score(batch):
        if batch.completions == ["interrupt"]:
            raise KeyboardInterrupt("now")
        return lengths(batch)

    with client(score) as server:
        answer = server.post("/v1/score", json=body("interrupt"))
        assert answer.status_code == 500 and answer.json() == {"error": "KeyboardInterrupt: now"}
        assert server.post("/v1/score", json=body("abc")).json()["scores"] == [{"id": "0", "score": 3.0}]


def test_too_large_a_body_is_refused():
    with client() as server:
        answer = server.post("/v1/score", json=body("x" * 2**17))
        assert answer.status_code == 413 and "larger than 65536 bytes" in answer.json()["error"]
        assert server.post("/v1/score", json=body("x" * 2**15)).status_code == 200


def test_the_key_is_asked_for_and_never_shown(caplog):
    with client(key="s3cret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            answer = server.post("/v1/score", json=body("a"), headers=headers)
            assert answer.status_code == 401 and "Bearer KEY" in answer.json()["error"]
        assert server.post("/v1/score", json=body("a"), headers={"Authorization": "Bearer s3cret"}).status_code == 200
        told = server.get("/health").text + server.get("/metrics").text
    assert "s3cret" not in told + caplog.text


def test_more_requests_than_there_is_room_for_are_told_to_come_again():
    free = threading.Event()

    def slow(batch):
        free.wait(20)
        return lengths(batch)

    with client(slow, requests=2) as server, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(server.post, "/v1/score", json=body("a")) for _ in range(2)]
        while "requests_in_flight 2" not in server.get("/metrics").text:
            time.sleep(0.01)
        answer = server.post("/v1/score", json=body("a"))
        free.set()
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert [each.result().status_code for each in held] == [200, 200]


def test_a_reward_that_hangs_is_seen_in_health_and_does_not_hold_its_clients():
    free = threading.Event()

    def hangs(batch):
        free.wait(20)
        return lengths(batch)

    with client(hangs, timeout=0.2) as server:
        answer = server.post("/v1/score", json=body("a"))
        assert (answer.status_code, answer.json()["error"]) == (504, "no score within 0.2 s")
        while server.get("/health").status_code != 503:
            time.sleep(0.01)
        assert server.get("/health").json()["status"] == "stuck"
        free.set()
        while server.get("/health").status_code != 200:
            time.sleep(0.01)
        assert server.post("/v1/score", json=body("ab")).json()["scores"][0]["score"] == 2.0


def test_metrics_count():
    with client() as server:
        for asked in (body("a", "b"), body("c"), {}):
            server.post("/v1/score", json=asked)
        lines = server.get("/metrics").text.splitlines()
    for line in (
        'resonance_reward_requests_total{path="/v1/score",status="200"} 2',
        'resonance_reward_requests_total{path="/v1/score",status="422"} 1',
        "resonance_reward_completions_total 3",
        "resonance_reward_batches_total 2",
        "resonance_reward_requests_in_flight 0",
        'resonance_reward_request_seconds_bucket{le="+Inf"} 3',
    ):
        assert line in lines
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    assert values["process_resident_memory_bytes"] > 2**20 and values["process_open_fds"] > 2


# -- requests together ---------------------------------------------------------------------------------------------


def submitted(score: Callable[[Completions], Any], batches: list[Completions], size: int) -> list[Any]:
    """What a batcher makes of requests that come at the same moment."""

    async def run() -> list[Any]:
        batcher = Batcher(score, size, 0.01, Metrics())
        waiting = [asyncio.create_task(batcher.submit(batch)) for batch in batches]
        await asyncio.sleep(0)
        batcher.start()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        batcher.end()
        return found

    return asyncio.run(run())


def of(*texts: str, **columns: Any) -> Completions:
    filled = {name: [value] * len(texts) for name, value in columns.items()}
    return Completions(texts, [""] * len(texts), [[]] * len(texts), columns=filled, messages=[[]] * len(texts))


def test_requests_are_scored_together_up_to_a_size_and_with_the_same_columns():
    sizes = []

    def score(batch):
        sizes.append(len(batch))
        return lengths(batch)

    batches = [of("a"), of("bb", "ccc"), of("d"), of("e", answer=1), of("f", answer=2), of("g" * 9), of("h")]
    found = submitted(score, batches, size=4)
    assert found == [[(float(len(text)), "") for text in batch.completions] for batch in batches]
    assert sizes == [4, 2, 2]
    sizes.clear()
    submitted(score, batches, size=1)
    assert sizes == [1, 2, 1, 1, 1, 1, 1]


def test_one_that_cannot_be_scored_fails_alone():
    def score(batch):
        if "bad" in batch.completions:
            raise ValueError("bad") from InputError("bad")
        return lengths(batch)

    first, bad, last = submitted(score, [of("a"), of("bad"), of("ccc")], size=8)
    assert (first, str(bad), last) == ([(1.0, "")], "bad", [(3.0, "")])


def test_the_room_needs_no_torch():
    assert loaded("import resonance.serve", "torch", "transformers", "llamafactory", "datasets") == []
