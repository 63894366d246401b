# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Sizes of a rollout, which prompts come next, and what a rollout leaves for the update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..rollout.types import Completion


@dataclass(frozen=True)
class Sizes:
    """How a rollout is cut up. A chunk is the prompts of one micro-batch.

    One rank with twice the accumulation steps goes through the same chunks in the same steps as two ranks.

    Attributes:
        group: completions a prompt.
        micro: completions of a micro-batch on a rank, a multiple of `group`.
        accumulation: micro-batches of an optimizer step on a rank.
        minibatches: optimizer steps that a pass over the rollout takes.
        epochs: passes over the rollout.
        world: ranks.
        rank: this one.
    """

    group: int
    micro: int
    accumulation: int
    minibatches: int
    epochs: int
    world: int
    rank: int

    @property
    def chunk(self) -> int:
        """Prompts of a micro-batch."""
        return self.micro // self.group

    @property
    def chunks(self) -> int:
        """Micro-batches of a rollout on a rank."""
        return self.accumulation * self.minibatches

    @property
    def prompts(self) -> int:
        """Prompts of a rollout on all ranks."""
        return self.chunk * self.chunks * self.world

    @property
    def micro_steps(self) -> int:
        """Forward-backward passes between two rollouts on a rank."""
        return self.chunks * self.epochs

    def mine(self, prompts: list[Any]) -> list[Any]:
        """This rank's part of prompts drawn for all ranks, chunk after chunk."""
        chunks = range(self.rank, len(prompts) // self.chunk, self.world)
        return [prompt for c in chunks for prompt in prompts[c * self.chunk : (c + 1) * self.chunk]]


class PromptOrder:
    """An endless order of prompts, each once an epoch, that depends on the seed alone.

    Args:
        count: prompts.
        seed: of the run.
        shuffled: draw a new order for every epoch; else as they are.
    """

    def __init__(self, count: int, seed: int, shuffled: bool = True) -> None:
        self.count, self.seed, self.shuffled = count, seed, shuffled
        self._epoch, self._order = -1, list(range(count))

    def __getitem__(self, place: int) -> int:
        epoch, at = divmod(place, self.count)
        if self.shuffled and epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            self._epoch, self._order = epoch, torch.randperm(self.count, generator=generator).tolist()
        return self._order[at]


def seed_of(seed: int, place: int) -> int:
    """A seed for the completions of the prompt at `place` in the order of a run."""
    return (seed * 0x9E3779B97F4A7C15 + place * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % (1 << 62)


@dataclass
class Sample:
    """A completion and its rewards.

    Attributes:
        row: of the data set.
        place: of its prompt in the order of the run; completions of one prompt share it.
        completion: what the policy answered.
        text: the same, without special tokens.
        rewards: by name, None where a reward was left out.
        total: their weighted sum with penalties, None without any.
        reasons: of judges, by name of the reward, where they gave some.
        refused: whether a judge gave no score that can be used, by name of the reward.
    """

    row: int
    place: int
    completion: Completion
    text: str
    rewards: Mapping[str, float | None]
    total: float | None
    reasons: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, bool] = field(default_factory=dict)


@dataclass
class MicroBatch:
    """What the update needs of the completions of a micro-batch; tensors are (B, T), left-aligned, on the host.

    Attributes:
        samples: B of them, group after group.
        mask: tokens that count.
        tensors: by name: `advantages`, and where they are needed `old_logps`, `ref_logps`, `values`, `returns`,
            `weights`.
        tokens, sequences: of the optimizer step that it belongs to, on all ranks.
    """

    samples: list[Sample]
    mask: torch.Tensor
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: float = 0.0
    sequences: float = 0.0

    @classmethod
    def of(cls, samples: list[Sample]) -> MicroBatch:
        """With a mask that has the tokens of every completion; one without any reward takes no part."""
        lengths = torch.tensor([0 if s.total is None else len(s.completion.token_ids) for s in samples])
        width = max(len(s.completion.token_ids) for s in samples)
        return cls(samples, torch.arange(width) < lengths[:, None])


def micro_batches(samples: list[Sample], sizes: Sizes) -> list[MicroBatch]:
    """Cut a rollout of this rank into micro-batches, step after step.

    An optimizer step has the groups that it would have in the order of `samples`. Within a step those with the longest
    completions come first, so that micro-batches hold groups of like length, with less padding.

    Args:
        samples: group after group.
        sizes: of the rollout.
    """
    found = []
    for step in range(0, len(samples), sizes.micro * sizes.accumulation):
        starts = range(step, step + sizes.micro * sizes.accumulation, sizes.group)
        groups = sorted((samples[at : at + sizes.group] for at in starts), key=_longest, reverse=True)
        ordered = [sample for group in groups for sample in group]
        found += [MicroBatch.of(ordered[at : at + sizes.micro]) for at in range(0, len(ordered), sizes.micro)]
    return found


def _longest(group: list[Sample]) -> int:
    return max(len(sample.completion.token_ids) for sample in group)


@dataclass
class Experience:
    """One rollout on one rank.

    Attributes:
        number: of the rollout.
        batches: its micro-batches, step after step.
    """

    number: int
    batches: list[MicroBatch]

    def order(self, sizes: Sizes, seed: int) -> list[int]:
        """Which micro-batch comes when: the first pass in order, later ones with the optimizer steps shuffled."""
        found: list[int] = []
        for epoch in range(sizes.epochs):
            steps = list(range(sizes.minibatches))
            if epoch:
                generator = torch.Generator().manual_seed(seed_of(seed, self.number * sizes.epochs + epoch))
                steps = torch.randperm(sizes.minibatches, generator=generator).tolist()
            found += [step * sizes.accumulation + i for step in steps for i in range(sizes.accumulation)]
        return found

    @property
    def samples(self) -> Iterator[Sample]:
        """All of them."""
        return (sample for batch in self.batches for sample in batch.samples)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return {
            "number": self.number,
            "batches": [
                vars(batch) | {"samples": [_plain(sample) for sample in batch.samples]} for batch in self.batches
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Experience:
        """The reverse of `state_dict`."""
        batches = [MicroBatch(**{**b, "samples": [_sample(s) for s in b["samples"]]}) for b in state["batches"]]
        return cls(state["number"], batches)


def stacked(batches: list[MicroBatch]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The mask of all micro-batches, (N, T), and their tensors."""
    width = max(batch.mask.shape[1] for batch in batches)

    def joined(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])

    names = batches[0].tensors
    tensors = {name: joined([batch.tensors[name] for batch in batches]) for name in names}
    return joined([batch.mask for batch in batches]), tensors


def spread(batches: list[MicroBatch], name: str, values: torch.Tensor) -> None:
    """The reverse of `stacked` for one tensor (N, T)."""
    at = 0
    for batch in batches:
        rows, width = batch.mask.shape
        batch.tensors[name] = values[at : at + rows, :width].contiguous()
        at += rows


def _plain(sample: Sample) -> dict[str, Any]:
    return {**vars(sample), "completion": vars(sample.completion), "rewards": dict(sample.rewards)}


def _sample(state: Mapping[str, Any]) -> Sample:
    return Sample(**{**state, "completion": Completion(**state["completion"])})
