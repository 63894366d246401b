# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""All pairs of several answers to one prompt: in one micro-batch, and each pair in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

from benchmarks.small_step import Pair, make_batch, make_pairs, make_trainers, our_step

SIZE = 0.25  # of the prompt and the answers of the other workloads, so that a step of LlamaFactory's takes seconds


def floor_pair(count: int) -> Pair:
    """One pair that has as many tokens as a prompt and `count` answers, for what an exact step cannot do without."""
    (one,) = make_pairs(1, SIZE)
    return replace(one, rejected=(count - 1) * one.rejected)


def make_answers(model: Any, vocabulary: int, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A batch of all pairs of `count` answers to one prompt with a picture, and a batch of each pair.

    Args:
        model: of `small_step.build`.
        vocabulary: of the model.
        count: of answers.
    """
    (one,) = make_pairs(1, SIZE)
    rows = make_batch(model, vocabulary, [one] * -(-count // 2))
    patches = 4 * one.visual
    rows["input_ids"][:, : one.prompt] = rows["input_ids"][0, : one.prompt]
    rows["pixel_values"] = rows["pixel_values"][:patches]

    def batch(pairs: list[tuple[int, int]]) -> dict[str, Any]:
        index = [better for better, _ in pairs] + [worse for _, worse in pairs]
        found = {name: rows[name][index] for name in ("input_ids", "attention_mask", "labels", "image_grid_thw")}
        pixels = rows["pixel_values"].repeat(len(index), 1)
        return found | {"position_ids": rows["position_ids"][:, index], "pixel_values": pixels}

    pairs = list(combinations(range(count), 2))
    return batch(pairs), [batch([pair]) for pair in pairs]


def in_turn(steps: list[Callable[[], Any]]) -> Callable[[], Any]:
    """A step of several micro-batches, as gradient accumulation has it: the mean of their losses."""

    def run() -> Any:
        done = 0.0
        for step in steps[:-1]:
            loss = step() / len(steps)
            loss.backward()
            done += loss.item()
        return steps[-1]() / len(steps) + done

    return run


def make_steps(model: Any, reference: Any, vocabulary: int, count: int, folder: str) -> dict[str, Callable[[], Any]]:
    """Functions that do a forward of all pairs of `count` answers and give the loss, by variant.

    Args:
        model: the policy.
        reference: another model, or None.
        vocabulary: of the model.
        count: of answers.
        folder: where trainers would write.
    """
    from resonance.forward.names import SPEEDUPS
    from resonance.training.reference import REFERENCE_FIELDS

    together, alone = make_answers(model, vocabulary, count)
    theirs, ours = make_trainers(model, reference, folder)
    cached = dict(zip(REFERENCE_FIELDS, theirs.compute_reference_log_probs(model, dict(together)), strict=True))
    return {
        "llamafactory": lambda: theirs.get_batch_loss_metrics(model, dict(together))[0],
        "pairs in turn": in_turn([our_step(ours, model, batch, SPEEDUPS) for batch in alone]),
        "auto": our_step(ours, model, together, SPEEDUPS),
        "cached reference": our_step(ours, model, together, SPEEDUPS, cached),
    }
