# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Micro-batches for the update, one after the other: those of the rollout at hand, or of a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import gather_object

from .completions import Completer, rollout_metrics
from .credit import Credit
from .rollouts import Experience, MicroBatch, Sample, micro_batches
from .samples import SampleLog
from .served_weights import check_logps

Passes = Callable[[MicroBatch], dict[str, torch.Tensor]]  # log-probabilities and values before the update


class ExperienceSource:
    """Makes rollouts when they are needed.

    Args:
        completer: of prompts.
        credit: of their tokens.
        passes: calls policy and reference on a micro-batch, without a graph.
        samples: where completions are listed; None on all ranks but the first.
        log: takes the metrics of a rollout.

    Attributes:
        step: micro-batches given so far.
    """

    def __init__(
        self,
        completer: Completer,
        credit: Credit,
        passes: Passes,
        samples: SampleLog | None,
        log: Callable[[dict[str, float]], None],
    ) -> None:
        self.completer, self.credit, self.passes = completer, credit, passes
        self.samples, self.log = samples, log
        self.sizes = completer.sizes
        self.step = 0
        self._experience: Experience | None = None
        self._started = False
        self._ahead = bool(completer.settings.values["rollout_ahead"])

    def next(self, version: int, steps: int = 0) -> tuple[MicroBatch, bool]:
        """The next micro-batch, and whether the policy that trains on it is still the one that sampled it.

        Args:
            version: of the weights, in optimizer steps.
            steps: that the run takes in all; after its last rollout none is begun.

        Raises:
            ValueError: a rollout could not be made.
        """
        number, at = divmod(self.step, self.sizes.micro_steps)
        if not self._started and self.samples is not None:
            self.samples.start(number + (at > 0))
        self._started = True
        if self._experience is None or self._experience.number != number:
            self._experience = self._make(number, version)
            if self._ahead and (number + 1) * self.sizes.micro_steps < steps * self.sizes.accumulation:
                self.completer.draw_ahead(version)
        self.step += 1
        order = self._experience.order(self.sizes, self.completer.order.seed)
        return self._experience.batches[order[at]], at < self.sizes.accumulation

    @property
    def used_up(self) -> bool:
        """Whether the next micro-batch is of a new rollout."""
        return self.step % self.sizes.micro_steps == 0

    def _make(self, number: int, version: int) -> Experience:
        samples = self.completer.samples(version)
        batches = micro_batches(samples, self.sizes)
        with self.completer.time("reference"):
            for batch in batches:
                batch.tensors |= self.passes(batch)
        metrics = self.credit.assign(batches)
        if self.completer.settings.values["rollout_backend"] != "local":
            limit = self.completer.settings.values["rollout_logp_limit"]
            metrics |= check_logps(batches, version, limit, self.credit.total)
        self._record(number, version, batches, metrics)
        return Experience(number, batches)

    def _record(self, number: int, version: int, batches: list[MicroBatch], metrics: dict[str, float]) -> None:
        """The completions of all ranks on disk, and what they are like in the log."""
        rows = {sample.row for batch in batches for sample in batch.samples}
        prompts = {row: self._prompt(self.completer.rows[row]) for row in rows}
        lines = [
            (sample, {"step": version, "rollout": number, **self._line(sample, batch, row, prompts[sample.row])})
            for batch in batches
            for row, sample in enumerate(batch.samples)
        ]
        everything = sorted(gather_object(lines), key=lambda line: line[0].place)
        if self.samples is not None:
            self.samples.add([line for _, line in everything])
        metrics = metrics | rollout_metrics([sample for sample, _ in everything], self.sizes.group)
        self.log(metrics | {f"time/{phase}": seconds for phase, seconds in self.completer.time.take().items()})

    def _prompt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Its text, and the paths of its pictures, of those that are in files."""
        places = [image.get("path") if isinstance(image, dict) else image for image in row.get("images") or []]
        paths = [os.path.abspath(place) for place in places if isinstance(place, str)]
        return {"prompt": self.completer.judge.prompt(row), **({"images": paths} if paths else {})}

    @staticmethod
    def _line(sample: Sample, batch: MicroBatch, row: int, prompt: Mapping[str, Any]) -> dict[str, Any]:
        taken = batch.tensors["advantages"][row][batch.mask[row]]
        return {
            "row": sample.row,
            **prompt,
            "completion": sample.text,
            "reward": sample.total,
            "rewards": dict(sample.rewards),
            **({"reasons": dict(sample.reasons)} if sample.reasons else {}),
            "advantage": float(taken.mean()) if len(taken) else None,
            "tokens": len(sample.completion.token_ids),
            "finish_reason": sample.completion.finish_reason,
        }

    def _sizes(self) -> dict[str, int]:
        """What a rollout is cut up by, in the recipe's words."""
        sizes = self.sizes
        return {
            "num_generations": sizes.group,
            "per_device_train_batch_size": sizes.micro,
            "gradient_accumulation_steps": sizes.accumulation,
            "ppo_buffer_size": sizes.minibatches,
            "ppo_epochs": sizes.epochs,
            "ranks": sizes.world,
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors: a rollout is in it as long as it is not used up."""
        unfinished = self.step % self.sizes.micro_steps and self._experience is not None
        return {
            "sizes": self._sizes(),
            "step": self.step,
            "consumed": self.completer.consumed,
            "credit": self.credit.state_dict(),
            "ahead": self.completer.ahead.state_dict(),
            "experience": self._experience.state_dict() if unfinished and self._experience else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`.

        Raises:
            ValueError: it is of rollouts of another size.
        """
        if changed := [name for name, value in self._sizes().items() if state["sizes"][name] != value]:
            before, now = ({name: sizes[name] for name in changed} for sizes in (state["sizes"], self._sizes()))
            raise ValueError(
                f"resume_from_checkpoint: it was saved with {before}, this run has {now}, so that its rollouts would "
                "be cut up in another way. Resume with the recipe and the number of ranks of that run, or start anew "
                "with its weights as `model_name_or_path` (`adapter_name_or_path` for LoRA) and another output_dir."
            )
        self.step, self.completer.consumed = state["step"], state["consumed"]
        self.credit.load_state_dict(state["credit"])
        self.completer.ahead.load_state_dict(state.get("ahead"))
        self._experience = Experience.from_state(state["experience"]) if state["experience"] else None
