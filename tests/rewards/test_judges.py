# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Judges over HTTP: what they are asked, what may be answered, and what an entry may say."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from judges import JudgeServer, scored, serving
from resonance.rewards import Completions, Scores, deciding, make_rewards, reward_problems, score
from resonance.wire import client

TEXTS = ("one", "three", "seventeen")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client.random, "uniform", lambda *_: 0.02)


def batch(texts=TEXTS, images=None, **columns: Any) -> Completions:
    count = len(texts)
    return Completions(
        texts,
        ["Which <image>digit?"] * count,
        images or [[] for _ in texts],
        columns=columns,
        origins=[f"a.json, row {row}" for row in range(count)],
        messages=[[{"role": "user", "content": "Which <image>digit?"}]] * count,
    )


def judged(server: JudgeServer | str, found: Completions | None = None, **keys: Any) -> Scores:
    url = server if isinstance(server, str) else server.url
    return score(make_rewards([{"url": url, "retries": 0, **keys}]), found or batch())


def length(item: dict[str, Any]) -> float:
    return float(len(item["completion"]))


# -- our own API ---------------------------------------------------------------------------------------------------


def test_what_our_api_is_asked_and_what_becomes_of_the_answer(tmp_path):
    Image.new("RGB", (3, 2), "red").save(path := tmp_path / "red.png")
    reasons = {"one": "too short", "three": None, "seventeen": "long"}

    def answer(method, path, body):
        scores = [
            {"id": item["id"], "score": len(item["completion"]) or None, "reason": reasons[item["completion"]]}
            for item in reversed(body["items"])
        ]
        return {"version": 1, "scores": scores}

    with serving(answer) as server:
        found = judged(server, batch(images=[[str(path)]] * 3, answer=["1", 2, None]), columns=["answer"], label="j")
    (body,) = server.bodies("/v1/score")
    assert body["version"] == 1 and [item["id"] for item in body["items"]] == ["0", "1", "2"]
    assert body["items"][1] == {
        "id": "1",
        "messages": [{"role": "user", "content": "Which <image>digit?"}],
        "images": [{"data": body["items"][0]["images"][0]["data"]}],
        "completion": "three",
        "columns": {"answer": 2},
    }
    assert body["items"][0]["images"][0]["data"].startswith("data:image/png;base64,")
    assert found.totals == [3, 5, 9], "by id, not by place"
    assert [found.reasons(row) for row in range(3)] == [{"j": "too short"}, {}, {"j": "long"}]
    assert found.refused(0) == {"j": False}


def test_paths_in_place_of_pictures_and_neither(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (3, 2), "red").save("red.png")
    with serving(scored(length)) as server:
        judged(server, batch(images=[["red.png"]] * 3), images="path")
        judged(server, batch(images=[["red.png"]] * 3), images="none")
        with pytest.raises(ValueError, match=r"an image is no file.*use `images: base64`"):
            judged(server, batch(images=[[Image.new("RGB", (1, 1))]] * 3), images="path")
    by_path, none = server.bodies("/v1/score")
    assert by_path["items"][0]["images"] == [{"path": str(tmp_path / "red.png")}] and none["items"][0]["images"] == []


def test_a_batch_is_cut_into_calls_made_at_the_same_time():
    now, most, lock = [0], [0], threading.Lock()

    def slow(item):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return length(item)

    texts = [f"{'x' * count}" for count in range(20)]
    with serving(scored(slow)) as server:
        assert judged(server, batch(texts), batch_size=1, concurrency=4).totals == list(range(20))
        assert len(server.seen) == 20 and most[0] == 4
        assert judged(server, batch(texts), batch_size=7).totals == list(range(20))
    assert sorted(len(body["items"]) for body in server.bodies("/v1/score")[20:]) == [6, 7, 7]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"version": 2, "scores": []}, r"that is version 2, and version 1 is expected"),
        ({"scores": [1, 2, 3]}, r"answered {'scores': \[1, 2, 3\]}; that is no version, and version 1 is expected"),
        ([1, 2, 3], "no version"),
        ({"version": True, "scores": []}, "that is version True"),
        ({"version": 1, "scores": {"0": 1}}, "`scores` must be a list"),
        ({"version": 1, "scores": [{"id": "0", "score": 1}]}, "asked for 3 and has no score for id 1, 2"),
        ({"version": 1, "scores": [{"id": str(i), "score": 1} for i in range(5)]}, "has scores for id 3, 4, which it"),
        ({"version": 1, "scores": [{"id": "0", "score": 1}] * 3}, "the id '0' is in it twice"),
        ({"version": 1, "scores": [{"id": 0, "score": 1}] * 3}, "must be a mapping with a text `id`"),
        (
            {"version": 1, "scores": [{"id": str(i), "score": "0.5"} for i in range(3)]},
            "'0.5'.*id '0' must",
        ),
        ({"version": 1, "scores": [{"id": str(i), "score": True} for i in range(3)]}, "id '0' must be a number"),
        ({"version": 1, "scores": [{"id": str(i)} for i in range(3)]}, "id '0' must be a number or null"),
        ({"version": 1, "scores": [{"id": "0", "score": 1, "reason": 5}]}, "the reason of id '0' must be a text"),
        ((500, b"out of memory"), r"status 500: out of memory\. Nothing of this batch was used: start the run again"),
        ((200, b"<html>"), "the answer is not JSON: '<html>'"),
        ((413, b"large"), "takes no body of this size: give a smaller `batch_size`"),
    ],
)
def test_a_wrong_answer_is_shown(answer, expected):
    with serving(lambda *_: answer) as server, pytest.raises(ValueError, match=expected) as error:
        judged(server)
    assert str(error.value).startswith(f"rewards[0] (127.0.0.1:{server.server_port}): ")


def test_a_judge_that_recovers_is_asked_again_and_one_that_is_late_is_not_waited_for():
    calls = []

    def answer(method, path, body):
        calls.append(body)
        return (503, b"loading") if len(calls) < 3 else scored(length)(method, path, body)

    with serving(answer) as server:
        assert judged(server, retries=2).totals == [3, 5, 9]
    assert calls[0] == calls[1] == calls[2]
    with serving(lambda *_: time.sleep(30)) as server:
        start = time.monotonic()
        with pytest.raises(ValueError, match=r"no answer within 0.2 s \(try 2 of 2\)"):
            judged(server, timeout=0.2, retries=1)
        assert time.monotonic() - start < 5


def test_null_leaves_the_reward_out_and_on_nan_decides_about_what_is_no_number():
    with serving(scored(lambda item: None if item["completion"] == "one" else 1)) as server:
        assert judged(server).totals == [None, 1.0, 1.0]
    with serving(scored(lambda item: float("nan") if item["completion"] == "three" else 1)) as server:
        with pytest.raises(ValueError, match=r"no score for 1 of 3 completions.*completion 1 of a.json, row 1: nan"):
            judged(server)
        skipped, valued = judged(server, on_nan="skip"), judged(server, on_nan=-2)
    assert skipped.totals == [1.0, None, 1.0] and valued.totals == [1.0, -2.0, 1.0]
    assert [valued.refused(row) for row in range(3)] == [{"judge": False}, {"judge": True}, {"judge": False}]


def test_it_runs_beside_other_rewards_and_ends_with_them(my_rewards):
    my_rewards(
        "import threading\nasked = threading.Event()\n"
        "def beside(completions):\n    return [asked.wait(20)] * 3\n"
        "def broken(completions):\n    asked.wait(20)\n    raise RuntimeError('no')\n"
    )

    def late(item):
        import my_rewards as module

        module.asked.set()
        time.sleep(0.1)
        return 1.0

    with serving(scored(late)) as server:
        judge = {"url": server.url, "batch_size": 1, "concurrency": 1, "retries": 0}
        assert score(make_rewards([judge, {"function": "my_rewards:beside"}]), batch()).totals == [2, 2, 2]
        with pytest.raises(ValueError, match="raised RuntimeError: no"):
            score(make_rewards([judge, {"function": "my_rewards:broken"}]), batch(["x"] * 40))
        time.sleep(1)
        stopped = len(server.seen)
        time.sleep(0.5)
        assert len(server.seen) == stopped < 30, "calls that had not begun are not made"


# -- LlamaFactory's API --------------------------------------------------------------------------------------------


def test_llamafactory_gets_the_whole_text():
    keys = {"api": "llamafactory", "batch_size": 2}
    with serving(lambda method, path, body: {"scores": [len(text) for text in body["messages"]]}) as server:
        found = batch()
        assert judged(f"{server.url}/score", found, **keys).totals == [len(f"Which <image>digit?{t}") for t in TEXTS]
        whole = Completions(TEXTS, found.prompts, found.images, transcript=lambda row: f"<s>{row}</s>")
        judged(f"{server.url}/score", whole, suffix="\n", **keys)
    assert server.bodies("/score")[0]["model"] == "model"
    texts = [body["messages"] for body in server.bodies("/score")[2:]]
    assert sorted(texts, key=len) == [["<s>2</s>\n"], ["<s>0</s>\n", "<s>1</s>\n"]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"score": [1, 2, 3]}, "expected is"),
        ({"scores": [1, 2]}, "these are 2 scores for 3 messages"),
        ({"scores": [1, "2", 3]}, "score 1 of it must be a number"),
        ({"scores": [1, float("nan"), 3]}, "no score for 1 of 3 completions"),
    ],
)
def test_wrong_scores_of_llamafactory(answer, expected):
    with serving(lambda *_: answer) as server, pytest.raises(ValueError, match=expected):
        judged(server, api="llamafactory")


# -- chat servers --------------------------------------------------------------------------------------------------


def chatting(text: Any, **more: Any):
    """Answers the chat API with a text, or what is made of a body."""

    def answer(method, path, body):
        content = text(body) if callable(text) else text
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"} | more
        return {"choices": [choice]}

    return answer


def test_a_chat_server_sees_pictures_where_they_are_and_columns(tmp_path):
    Image.new("RGB", (3, 2), "red").save(path := tmp_path / "red.png")
    keys = {
        "api": "openai",
        "model": "m",
        "template": "Q: {prompt} A: {completion} T: {answer} as {{x}} {low}-{high}",
        "range": [0, 1],
        "body": {"seed": 1},
    }
    with serving(chatting('```json\n{"score": 0.5, "reason": "half"}\n```')) as server:
        data = batch(["{answer}", "<image>"], images=[[str(path)], [str(path)] * 2], answer=["7", {"a": 1}])
        found = judged(f"{server.url}/v1", data, **keys)
    assert found.totals == [0.5, 0.5] and found.reasons(0) == {"judge": "half"}
    first, second = sorted(server.bodies("/v1/chat/completions"), key=lambda body: len(str(body)))
    assert {key: value for key, value in first.items() if key != "messages"} == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 512,
        "seed": 1,
    }
    text, image, rest = first["messages"][0]["content"]
    assert text == {"type": "text", "text": "Q: Which "} and image["image_url"]["url"].startswith("data:image/png")
    assert rest == {"type": "text", "text": "digit? A: {answer} T: 7 as {{x}} 0-1"}, "what is put in is left as it is"
    kinds = [part["type"] for part in second["messages"][0]["content"]]
    assert kinds == ["image_url", "image_url", "text"], "two pictures and one place"
    assert second["messages"][0]["content"][2]["text"] == 'Q: Which digit? A: <image> T: {"a": 1} as {{x}} 0-1'


CHAT = {"api": "openai", "model": "m", "on_nan": "skip"}


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        ('{"score": 7}', {}, 7.0),
        ('<think>{"score": 1}</think>\n {"score": 10, "reason": ""}', {}, 10.0),
        ('{"score": 11}', {}, None),
        ('{"score": "7"}', {}, None),
        ('{"score": NaN}', {}, None),
        ('I give it {"score": 7}', {}, None),
        ("7", {}, None),
        ("I cannot judge that.", {}, None),
        (None, {}, None),
        ("Well. Score: 7", {"pattern": r"Score: (\d+)"}, 7.0),
        ("Score: 7. Score: 7", {"pattern": r"Score: (\d+)"}, 7.0),
        ("Score: 7. Score: 8", {"pattern": r"Score: (\d+)"}, None),
        ("Score: 70", {"pattern": r"Score: (\d+)"}, None),
        ("Score: -1", {"pattern": r"Score: (\S+)", "range": [-1, 1]}, -1.0),
        ("Score: nan", {"pattern": r"Score: (\S+)"}, None),
        ("Score: high", {"pattern": r"Score: (\S+)"}, None),
    ],
)
def test_scores_are_parsed_strictly(text, keys, expected):
    with serving(chatting(text)) as server:
        found = judged(server, batch(["a"]), **CHAT, **keys)
    assert found.totals == [expected] and found.refused(0) == {"judge": expected is None}
    assert expected is not None or "no score" in found.reasons(0)["judge"]


def test_refusals_are_counted_and_stop_the_run_unless_told_otherwise(caplog):
    def half(body):
        return '{"score": 5}' if "seventeen" in str(body) else "I am sorry."

    with serving(chatting(half)) as server:
        with pytest.raises(ValueError, match=r"no score for 2 of 3 completions.*I am sorry.*`on_nan: skip`"):
            judged(server, api="openai", model="m")
        assert judged(server, **CHAT).totals == [None, None, 5.0]
        assert "no score for 2 of 3 completions" in caplog.text and "(on_nan: skip)" in caplog.text
        assert judged(server, **CHAT | {"on_nan": 0}).totals == [0.0, 0.0, 5.0]
    with serving(chatting('{"score": 5}', finish_reason="length")) as server:
        assert "limit of tokens" in judged(server, **CHAT).reasons(0)["judge"]
    refusing = {"message": {"content": None, "refusal": "against my policy"}}
    with serving(chatting("", **refusing)) as server:
        assert "against my policy" in judged(server, **CHAT).reasons(0)["judge"]
    with serving(lambda *_: {"error": "no"}) as server, pytest.raises(ValueError, match=r"with choices\[0\].message"):
        judged(server, **CHAT)


# -- before a model is loaded ----------------------------------------------------------------------------------------


def check(server: JudgeServer, **keys: Any) -> None:
    make_rewards([{"url": server.url, "retries": 0, **keys}])[0].check()


def test_a_server_is_looked_at_before_it_is_needed():
    with serving(scored(length)) as server:
        check(server)
    with serving(scored(length, version=2)) as server, pytest.raises(ValueError, match="that is version 2"):
        check(server)
    with serving(lambda *_: (404, b"")) as server, pytest.raises(ValueError, match="before any training.*status 404"):
        check(server)
    with pytest.raises(ValueError, match="before any training.*ConnectError"):
        check(server)
    with serving(lambda *_: (400, b"Invalid request")) as server:
        check(server, api="llamafactory")
    with serving(lambda *_: (401, b"no key")) as server, pytest.raises(ValueError, match="status 401: no key"):
        check(server, api="llamafactory")
    with serving(lambda *_: {"data": [{"id": "m"}, {"id": "n"}]}) as server:
        check(server, api="openai", model="n")
        with pytest.raises(ValueError, match=r"answered \['m', 'n'\]; none of these is model: other"):
            check(server, api="openai", model="other")
    with serving(lambda *_: (404, b"")) as server:
        check(server, api="openai", model="other")


def test_everything_wrong_with_an_entry_is_reported_at_once(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    url = "http://127.0.0.1:1"
    found = reward_problems(
        [
            {"url": url, "api": "opnai"},
            {"url": url, "colums": ["a"], "batch_size": 0, "timeout": -1, "weight": "x", "on_nan": "ignore"},
            {"url": "ftp://host", "retries": 1.5, "images": "links", "columns": "answer"},
            {"url": url, "api": "openai", "template": "{prompt}", "pattern": "x", "range": [3, 1], "model": ""},
            {"url": url, "api": "openai", "template": "{prompt} {completion} {answr}", "body": {"messages": []}},
            {"url": f"{url}/v1/score"},
            {"url": url, "key_env": "NO_SUCH_KEY"},
            {"url": url, "name": "exact"},
            {"url": url, "columns": ["answr"]},
            {"url": 5},
        ],
        columns=["answer"],
    )
    text = "\n".join(found)
    for part in (
        "rewards[0] (127.0.0.1:1): api='opnai' is unknown (nearest: openai",
        "rewards[1] (127.0.0.1:1): it has no key 'colums' (nearest: columns",
        "rewards[1] (127.0.0.1:1): batch_size=0 is not allowed, it must be a whole number of at least 1",
        "rewards[1] (127.0.0.1:1): timeout=-1 is not allowed, it must be a number of seconds > 0",
        "rewards[1] (127.0.0.1:1): weight='x' is not allowed",
        "rewards[1] (127.0.0.1:1): on_nan='ignore' is not allowed, it must be stop, skip or a number",
        "rewards[2] (url): retries=1.5 is not allowed",
        "rewards[2] (url): images='links' is unknown (base64, path, none)",
        "rewards[2] (url): columns='answer' is not allowed, it must be a list of columns",
        "rewards[2] (url): 'ftp://host' is not the URL of a server",
        "rewards[3] (127.0.0.1:1): pattern='x' is not allowed, it must be a regular expression with one group",
        "rewards[3] (127.0.0.1:1): range=[3, 1] is not allowed, it must be a list of two numbers",
        "rewards[3] (127.0.0.1:1): model='' is not allowed",
        "rewards[4] (127.0.0.1:1): it needs `model`",
        "rewards[4] (127.0.0.1:1): the data has no column 'answr' (nearest: answer",
        "rewards[4] (127.0.0.1:1): body.messages is decided by the judge",
        f"rewards[5] (127.0.0.1:1): url: /v1/score is added to it; leave that off: `url: {url}`",
        "rewards[6] (127.0.0.1:1): the environment variable NO_SUCH_KEY",
        "rewards[7]: it needs one of 'name'",
        "rewards[8] (127.0.0.1:1): the data has no column 'answr' (nearest: answer",
        "rewards[9] (url): url=5 must be a text",
    ):
        assert part in text, part
    assert reward_problems([{"url": url, "api": "openai", "model": "m", "template": "{prompt}"}]) == [
        "rewards[0] (127.0.0.1:1): template: it has no {completion}"
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://me:sk-hush@host/"},
        {"url": "http://host/?key=sk-hush"},
        {"url": "http://host/v1/score?key=sk-hush", "api": "openai"},
        {"url": "http://host", "key_env": "sk-hush"},
        {"url": "http://host", "api_key": "sk-hush"},
        {"url": "http://host", "headers": {"Authorization": "Bearer sk-hush"}},
    ],
)
def test_a_secret_in_an_entry_is_refused_and_not_shown(entry):
    with pytest.raises(ValueError) as error:
        make_rewards([entry])
    assert "hush" not in str(error.value)


def test_what_no_score_depends_on_may_change_when_a_run_goes_on():
    before = {"url": "http://h", "timeout": 1, "retries": 1, "cache": "a", "concurrency": 2, "on_nan": "skip"}
    assert deciding([before, {"name": "exact", "timeout": 3}]) == [
        {"url": "http://h", "on_nan": "skip"},
        {"name": "exact"},
    ]


# -- cache ---------------------------------------------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def test_the_same_is_asked_once_and_anything_else_again(tmp_path):
    folder = tmp_path / "cache"
    keys = {"cache": str(folder), "columns": ["answer"]}
    Image.new("RGB", (3, 2), "red").save(path := tmp_path / "a.png")
    with serving(scored(length)) as server:

        def asked(texts, answers, **more):
            before = len(server.seen)
            data = batch(texts, images=[[str(path)]] * len(texts), answer=answers)
            assert judged(server, data, **keys | more).totals == [float(len(text)) for text in texts]
            return [item["completion"] for _, _, body, _ in server.seen[before:] for item in body["items"]]

        assert asked(["a", "bb", "a"], [1, 1, 1]) == ["a", "bb"], "also within a batch"
        assert asked(["a", "bb", "ccc"], [1, 1, 1]) == ["ccc"]
        assert asked(["a"], [2]) == ["a"], "another column"
        assert asked(["a"], [1], images="path") == ["a"] and asked(["a"], [1], images="path") == []
        Image.new("RGB", (3, 2), "blue").save(path)
        assert asked(["a"], [1]) == ["a"] and asked(["a"], [1], images="path") == ["a"], "another picture"
        assert asked(["a"], [1]) == []
        assert not list(folder.glob("*/*.partial"))
    assert len(files(folder)) == 7


def test_another_judge_has_other_scores(tmp_path):
    keys = {"api": "openai", "cache": str(tmp_path)}
    with serving(chatting('{"score": 5}')) as server:
        for model, mark in (("m", "."), ("n", "."), ("m", "!")):
            for _ in range(2):
                judged(server, batch(["a"]), model=model, template=f"{{prompt}}{mark}{{completion}}", **keys)
    assert len(server.seen) == 3


@pytest.mark.parametrize("damage", ["", "{", '{"check": "0", "answer": {"score": 9.0}}', '{"check": 1}', "[]"])
def test_a_damaged_entry_is_not_trusted(tmp_path, damage, caplog):
    with serving(scored(length)) as server:
        judged(server, batch(["a", "bb"]), cache=str(tmp_path))
        for path in files(tmp_path):
            path.write_text(damage)
        assert judged(server, batch(["a", "bb"]), cache=str(tmp_path)).totals == [1.0, 2.0]
        assert caplog.text.count("is damaged") == 1
        assert len(server.seen) == 2
        judged(server, batch(["a", "bb"]), cache=str(tmp_path))
        assert len(server.seen) == 2, "it was written again"
        first, second = files(tmp_path)
        os.replace(first, second)
        assert judged(server, batch(["a", "bb"]), cache=str(tmp_path)).totals == [1.0, 2.0], (
            "nor one in another's place"
        )


def test_refusals_are_not_kept_and_the_cache_is_bounded(tmp_path):
    with serving(scored(lambda item: float("nan"))) as server:
        judged(server, cache=str(tmp_path), on_nan=0)
    assert files(tmp_path) == []
    with serving(scored(length)) as server:
        judged(server, batch([f"{number}" for number in range(30)]), cache=str(tmp_path), cache_entries=10)
    assert len(files(tmp_path)) == 9


def test_what_was_answered_before_a_failure_is_not_asked_for_again(tmp_path):
    broken = [True]

    def answer(method, path, body):
        if broken[0] and body["items"][0]["completion"] == "3":
            return 500, b"broken"
        return scored(length)(method, path, body)

    texts = [str(number) for number in range(4)]
    with serving(answer) as server:
        keys = {"cache": str(tmp_path), "batch_size": 1, "concurrency": 1}
        with pytest.raises(ValueError, match="status 500"):
            judged(server, batch(texts), **keys)
        broken[0] = False
        judged(server, batch(texts), **keys)
    asked = [json.dumps(body["items"][0]["completion"]) for body in server.bodies("/v1/score")]
    assert sorted(asked) == ['"0"', '"1"', '"2"', '"3"', '"3"']
