# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Prompts in, completions with their rewards out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

from ..arguments.policy_settings import PolicySettings
from ..policy import overlong_penalty
from ..rollout.types import Completion, Rollout, Sampling
from .ahead import Ahead
from .judge import Judge, Row
from .phases import Timer
from .rollouts import PromptOrder, Sample, Sizes, seed_of
from .together import on_all_ranks


class Completer:
    """Completions of the next prompts.

    Args:
        settings: of the recipe.
        sizes: of a rollout.
        sampling: of completions.
        rows: the training set, of tokenized prompts.
        rollout: generates.
        judge: rewards.

    Attributes:
        consumed: prompts drawn so far, on all ranks.
        time: seconds by phase.
    """

    def __init__(
        self, settings: PolicySettings, sizes: Sizes, sampling: Sampling, rows: Any, rollout: Rollout, judge: Judge
    ) -> None:
        self.settings, self.sizes, self.sampling = settings, sizes, sampling
        self.rows, self.rollout, self.judge = rows, rollout, judge
        self.order = PromptOrder(len(rows), settings.seed)
        self.consumed = 0
        self.time = Timer()
        self.ahead = Ahead()

    def samples(self, version: int) -> list[Sample]:
        """Those of this rank for one rollout, group after group, by weights of `version`.

        Raises:
            ValueError: a reward failed, or `dynamic_sampling` found too few groups whose rewards differ.
        """
        if not self.settings.preset.dynamic_sampling:
            return self._draw(version)
        group, wanted = self.sizes.group, self.sizes.prompts
        tries = self.settings.values["dynamic_sampling_tries"]
        kept: list[list[Sample]] = []
        for _ in range(tries):
            drawn = self._draw(version)
            groups = [drawn[i : i + group] for i in range(0, len(drawn), group)]
            found = gather_object([members for members in groups if not is_flat(members)])
            kept += sorted(found, key=lambda members: members[0].place)  # of all ranks, in the order of the prompts
            if len(kept) >= wanted:
                return [sample for members in self.sizes.mine(kept[:wanted]) for sample in members]
        raise ValueError(
            f"dynamic_sampling: of {tries * self.sizes.prompts} prompts drawn for one rollout, {len(kept)} (it "
            f"needs {wanted}) have completions whose rewards differ: the policy does nearly all right, or "
            f"none. Take prompts of another difficulty, more num_generations (now {group}), a higher temperature, a "
            f"higher dynamic_sampling_tries (now {tries}), or `dynamic_sampling: false`."
        )

    def _draw(self, version: int) -> list[Sample]:
        places, numbers, rows, seeds = self._next()
        self.consumed += self.sizes.prompts
        if not self.ahead.has(places):
            self.take(version)

        def complete() -> list[Sample]:
            with self.time("generate"):
                groups = self.ahead.take(places)
                if groups is None:
                    groups = self.rollout.generate(rows, self.sizes.group, self.sampling, version, seeds)
            with self.time("reward"):
                return self.judged(rows, groups, numbers, places)

        samples = on_all_ranks(complete)
        self._penalise(samples)
        return samples

    def _next(self) -> tuple[list[int], list[int], list[Row], list[int]]:
        """Of this rank's next prompts: their places in the order of the run, numbers, rows and seeds."""
        places = self.sizes.mine(list(range(self.consumed, self.consumed + self.sizes.prompts)))
        numbers = [self.order[place] for place in places]
        rows = [self.rows[number] for number in numbers]
        return places, numbers, rows, [seed_of(self.order.seed, place) for place in places]

    def draw_ahead(self, version: int) -> None:
        """Begin to generate for the next prompts, by the weights of now; all ranks call it together."""
        places, _, rows, seeds = self._next()
        self.take(version)
        self.ahead.start(places, lambda: self.rollout.generate(rows, self.sizes.group, self.sampling, version, seeds))

    def take(self, version: int) -> None:
        """Have the back-end generate with the weights of now; all ranks call it together."""
        with self.time("generate"):
            self.ahead.settle()  # nothing is generated while weights change
            self.rollout.take(version)

    def judged(
        self,
        rows: Sequence[Row],
        groups: Sequence[Sequence[Completion]],
        numbers: Sequence[int],
        places: Sequence[int],
    ) -> list[Sample]:
        """Groups of completions with their rewards, one after the other.

        Args:
            rows: one a group.
            groups: completions of the rows; there may be none.
            numbers: of the rows in their data set.
            places: of the rows in the order of the run.

        Raises:
            ValueError: a reward failed; names it, the completion and the row.
        """
        of = [i for i, group in enumerate(groups) for _ in group]
        completions = [one for group in groups for one in group]
        if not completions:
            return []
        texts, scores = self.judge([rows[i] for i in of], completions)
        parts = [dict(zip(scores.parts, values, strict=True)) for values in zip(*scores.parts.values(), strict=True)]
        totals = scores.totals
        return [
            Sample(
                row=numbers[i],
                place=places[i],
                completion=completions[at],
                text=texts[at],
                rewards=parts[at],
                total=totals[at],
                reasons=scores.reasons(at),
                refused=scores.refused(at),
            )
            for at, i in enumerate(of)
        ]

    def _penalise(self, samples: Sequence[Sample]) -> None:
        """Add DAPO's length penalty to totals, if the recipe has one."""
        buffer = self.settings.values["overlong_buffer"]
        if not buffer:
            return
        lengths = torch.tensor([len(sample.completion.token_ids) for sample in samples])
        penalty = self.settings.values["overlong_penalty"]
        added = overlong_penalty(lengths, max_length=self.sampling.max_new_tokens, cache=buffer, penalty=penalty)
        for sample, more in zip(samples, added.tolist(), strict=True):
            sample.total = None if sample.total is None else sample.total + more


def is_flat(group: Sequence[Sample]) -> bool:
    """Whether the completions of a prompt have one reward, so that nothing can be learned from their comparison."""
    totals = {sample.total for sample in group if sample.total is not None}
    return len(totals) < 2


def rollout_metrics(samples: Sequence[Sample], group: int) -> dict[str, float]:
    """What a rollout of all ranks is like, by name.

    Args:
        samples: group after group.
        group: completions a prompt.
    """
    totals = torch.tensor([sample.total for sample in samples if sample.total is not None])
    lengths = torch.tensor([float(len(sample.completion.token_ids)) for sample in samples])
    cut = [sample.completion.finish_reason == "length" for sample in samples]
    found = {
        "completions/mean_length": float(lengths.mean()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": sum(cut) / len(cut),
    }
    if len(totals):
        found |= {"reward": float(totals.mean()), "reward_std": float(totals.std(correction=0))}
    for name in samples[0].rewards:
        values = [value for sample in samples if (value := sample.rewards[name]) is not None]
        found |= {f"reward/{name}": sum(values) / len(values)} if values else {}
    for name in samples[0].refused:
        found[f"refused/{name}"] = sum(sample.refused[name] for sample in samples) / len(samples)
    if group > 1:
        groups = [samples[i : i + group] for i in range(0, len(samples), group)]
        found["frac_zero_std"] = sum(map(is_flat, groups)) / len(groups)
    return found
