# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Places for the workers of LlamaFactory's Ray path, in runs of recipes of ours.

LlamaFactory reserves ten CPUs for every device of the cluster, whatever `ray_num_workers` is, and waits without end
where Ray counts fewer. On a cluster without devices it takes each CPU for one, which ten CPUs can never be had for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_workers: ContextVar[int] = ContextVar("ray_num_workers")


@contextmanager
def placing(workers: int) -> Iterator[None]:
    """Within it, `get_placement_group` knows how many workers the recipe asks for; an error ends all of them.

    Their last lines would else come behind the cause, and a worker that waits for one that is gone would stay.
    """
    import ray

    token = _workers.set(workers)
    try:
        yield
    except BaseException:
        ray.shutdown()
        raise
    finally:
        _workers.reset(token)


def get_placement_group(num_workers: int) -> tuple[Any, dict[str, int]]:
    """As upstream, for as many places as there are devices; where there are none, for as many as workers.

    Args:
        num_workers: devices of the cluster, LlamaFactory gives.

    Raises:
        ValueError: the nodes have not so many places, so that Ray would wait without end.
    """
    import ray
    from llamafactory.extras.misc import get_device_name
    from llamafactory.train import trainer_utils

    count = _workers.get() if get_device_name() == "cpu" else num_workers
    group, bundle = trainer_utils.get_placement_group(count)
    if problem := shortage(count, bundle, [node["Resources"] for node in ray.nodes() if node["Alive"]]):
        raise ValueError(problem)
    return group, bundle


def shortage(count: int, bundle: Mapping[str, int], nodes: list[Mapping[str, float]]) -> str:
    """Why Ray would wait for places without end; empty if it would not.

    Args:
        count: of places.
        bundle: what each needs.
        nodes: what each node has.
    """
    places = sum(int(min(node.get(name, 0) // amount for name, amount in bundle.items())) for node in nodes)
    if places >= count:
        return ""
    needs = " and ".join(f"{amount} {name}" for name, amount in bundle.items())
    counted = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in bundle) for node in nodes)
    cpus = bundle.get("CPU", 0)
    return (
        f"Ray has room for {places} workers, and LlamaFactory reserves {count}, one a device, each with {needs}; "
        f"the nodes of this cluster count {counted}. It would wait without end. CPUs are what Ray was told, not "
        f"what is there: start Ray on each node with `--num-cpus` {cpus} times its devices or more, or, where the "
        f"run starts Ray itself, set `ray_init_kwargs: {{num_cpus: {cpus * count}}}`."
    )
