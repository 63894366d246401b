# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Places for Ray's workers: what a cluster cannot give is said at once, where LlamaFactory waits without end."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from resonance.arguments.names import unknown_keys
from resonance.hooks import ray as places
from resonance.hooks.always import ray_training

GPU = {"CPU": 10, "GPU": 1}


@pytest.mark.parametrize(
    ("count", "bundle", "nodes", "room"),
    [
        (2, GPU, [{"CPU": 20.0, "GPU": 2.0}], 2),
        (16, GPU, [{"CPU": 80.0, "GPU": 8.0}] * 2, 16),
        (16, GPU, [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 200.0, "GPU": 8.0}], 14),  # the CPUs of a node help no other
        (8, GPU, [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0}], 6),
        (2, {"CPU": 10}, [{"CPU": 16.0}], 1),
    ],
)
def test_room(count: int, bundle: dict[str, int], nodes: list[Any], room: int) -> None:
    problem = places.shortage(count, bundle, nodes)
    assert bool(problem) is (room < count)
    if problem:
        assert f"room for {room} workers" in problem and f"reserves {count}," in problem
        assert f"{nodes[0]['CPU']:g} CPU" in problem
        assert f"ray_init_kwargs: {{num_cpus: {10 * count}}}" in problem  # what one node then has, has room
        assert not places.shortage(count, bundle, [{name: amount * count for name, amount in bundle.items()}])


@pytest.mark.parametrize(("recipe", "ours"), [({"stage": "ppo"}, True), ({"stage": "sft"}, False)])
def test_only_drivers_of_our_recipes_have_another_function(
    recipe: dict[str, Any], ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamafactory.train import tuner

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(shutdown=lambda: ended.append(True)))
    ended: list[bool] = []
    stock, seen = tuner.get_placement_group if hasattr(tuner, "get_placement_group") else None, []
    if stock is None:
        pytest.skip("this LlamaFactory goes through Ray's own trainer")

    def driver(ray_args: Any, config: dict[str, Any]) -> None:
        seen.append((tuner.get_placement_group, places._workers.get(0)))

    ray_training(driver)(SimpleNamespace(ray_num_workers=2), {"args": recipe})
    assert seen == ([(places.get_placement_group, 2)] if ours else [(stock, 0)])
    assert tuner.get_placement_group is stock and not ended

    def killed(ray_args: Any, config: dict[str, Any]) -> None:
        raise RuntimeError("the actor died")

    with pytest.raises(RuntimeError, match="the actor died"):
        ray_training(killed)(SimpleNamespace(ray_num_workers=2), {"args": recipe})
    assert ended == [True] * ours, "the other workers end before the cause is reported"


def test_the_variable_is_named_where_a_key_is_given() -> None:
    (message,) = unknown_keys({"use_ray": True}, frozenset({"use_mca", "stage"}))
    assert message.endswith("the environment variable instead: USE_RAY=1")
