# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether the servers of a recipe are the right ones, before a run depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..arguments.serving import REPORT, needs
from ..rollout.pool import ServerRollout
from ..rollout.server import Server
from ..rollout.types import Completion
from ..wire import ServerError
from .rollouts import MicroBatch, Sample, seed_of
from .served_weights import logp_differences

PASS, FAIL = "PASS", "FAIL"
PROMPTS = 8


def check_servers(trainer: Any, values: Mapping[str, Any]) -> list[str]:
    """Compare each server with the recipe; returns a line a finding, and writes them into the output folder.

    Args:
        trainer: of the run, which takes no step.
        values: of the recipe's keys.
    """
    pool: ServerRollout = trainer.completer.rollout
    lines = [line for server in pool.servers for line in _check(trainer, pool.alone(server), server, values)]
    pool.close()
    lines.append(pool.agreement.start())
    Path(trainer.args.output_dir, REPORT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _check(trainer: Any, pool: ServerRollout, server: Server, values: Mapping[str, Any]) -> Iterator[str]:
    """The findings about one server, up to the first without which the others mean nothing."""
    at = server.url
    try:
        yield f"{PASS}  server: {server.describe()} at {at}"
        wrong = server.problems(needs(values))
    except (ServerError, KeyError, StopIteration) as error:
        yield f"{FAIL}  server: {error if isinstance(error, ServerError) else f'{at} is no such server ({error!r})'}"
        return
    yield from (f"{FAIL}  settings: {line}" for line in wrong)
    if not wrong:
        yield f"{PASS}  settings: length, log-probabilities and adapters as the recipe needs them"
    rows = trainer.completer.rows
    numbers = sorted({i * len(rows) // PROMPTS for i in range(PROMPTS)})
    seeds = [seed_of(trainer.settings.seed, -1 - number) for number in numbers]
    step = "weights"
    try:
        pool.take(0)
        if pool.weights is None or not server.holds(pool.weights):
            raise ServerError(f"{at} was given the policy's weights and does not have them")
        yield f"{PASS}  weights: the policy's are loaded, as after every update"
        step = "prompts"
        groups = pool.generate([rows[i] for i in numbers], 1, trainer.completer.sampling, 0, seeds)
        yield f"{PASS}  prompts: {len(numbers)} of {len(numbers)} have the trainer's tokens, images included"
    except (ValueError, ServerError) as error:
        yield f"{FAIL}  {step}: {error}"
        return
    yield _compared(trainer, numbers, [group[0] for group in groups], values)


def _compared(trainer: Any, numbers: list[int], completions: list[Completion], values: Mapping[str, Any]) -> str:
    samples = [
        Sample(number, place, one, "", {}, 0.0)
        for place, (number, one) in enumerate(zip(numbers, completions, strict=True))
    ]
    size = trainer.sizes.micro
    batches = [MicroBatch.of(samples[start : start + size]) for start in range(0, len(samples), size)]
    found = [logp_differences(batch, trainer.source.passes(batch)["old_logps"], version=0) for batch in batches]
    differences, limit = torch.cat(found), values["rollout_logp_limit"]
    mean, largest = float(differences.mean()), float(differences.max())
    return (
        f"{PASS if mean <= limit else FAIL}  log-probabilities: {len(differences)} of sampled tokens differ from the "
        f"trainer's by {mean:.2g} in the mean (rollout_logp_limit: {limit:g}), by {largest:.2g} at most"
    )
