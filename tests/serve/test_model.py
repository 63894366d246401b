# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A reward model behind the server gives the rewards that it gives by itself, whoever it is asked together with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from resonance.rewards import make_rewards
from resonance.serve.app import Limits, RewardServer
from resonance.serve.run import entry_of
from resonance.serve.run import scorer as scoring
from resonance.wire import data_uri
from reward_model.test_scorer import pairs, saved, scorer  # noqa: F401 (fixtures)


def test_requests_that_are_scored_together_get_the_models_rewards(saved, pairs, scorer):  # noqa: F811
    rows, conversations, images = pairs
    answers = [row["chosen"] for row in rows]
    entry = entry_of(saved, {"batch_size": 4})
    assert entry["model"] == saved
    limits = Limits(2**24, 64, 60.0, batch_size=4, batch_wait=0.2)
    server = RewardServer("rm", scoring(make_rewards([entry])[0]), limits, "", None)

    def ask(client, at):
        item = {
            "id": f"row {at}",
            "messages": conversations[at],
            "images": [{"data": data_uri(path)} for path in images[at]],
            "completion": answers[at],
        }
        return client.post("/v1/score", json={"version": 1, "items": [item]}).json()["scores"]

    with TestClient(server.app) as client, ThreadPoolExecutor(len(rows)) as pool:
        found = list(pool.map(lambda at: ask(client, at), range(len(rows))))
        counted = client.get("/metrics").text
        texts = client.post("/v1/score/evaluation", json={"messages": ["a text"]})
    assert [each["id"] for (each,) in found] == [f"row {at}" for at in range(len(rows))]
    expected = scorer(conversations, answers, images)
    assert [each["score"] for (each,) in found] == pytest.approx(expected, abs=1e-4)
    assert f"resonance_reward_completions_total {len(rows)}" in counted
    assert f"resonance_reward_batches_total {len(rows)}\n" not in counted, "some were scored together"
    assert texts.status_code == 422 and "needs the conversation" in texts.json()["error"]
