# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of a policy: greedy completions, and sampled ones if asked for, by the rewards of the recipe."""

from __future__ import annotations

from typing import Any

from accelerate.utils import gather_object
from transformers import Trainer
from typing_extensions import override

from ..rollout.types import Sampling
from .completions import Completer, rollout_metrics
from .rollouts import Sample, seed_of
from .together import on_all_ranks

GREEDY, SAMPLED = "", "sampled_"


class GeneratingEvaluation(Trainer):
    """A Trainer whose evaluation generates. It has a `completer`, and `settings` with `eval_num_generations`."""

    completer: Completer
    settings: Any
    control: Any

    @override
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Rewards of greedy completions, `eval_reward`, and of sampled ones, `eval_sampled_reward`."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, dict):
            metrics: dict[str, float] = {}
            for name, part in rows.items():
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        sampling, count = self.completer.sampling, self.settings.values["eval_num_generations"]
        found = self._rewards(rows, 1, sampling.greedily())
        if count:
            drawn = self._rewards(rows, count, sampling)
            found |= {f"{SAMPLED}{name}": value for name, value in drawn.items() if name.startswith("reward")}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _rewards(self, rows: Any, count: int, sampling: Sampling) -> dict[str, float]:
        world, rank = self.args.world_size, self.args.process_index
        block = self.settings.values["rollout_batch_size"] or 1  # what is generated together is so on any rank
        mine = [place for place in range(len(rows)) if place // block % world == rank]
        own = [rows[place] for place in mine]
        seeds = [seed_of(self.settings.seed, -1 - place) for place in mine]
        self.completer.take(self.state.global_step)

        def complete() -> list[Sample]:
            groups = self.completer.rollout.generate(own, count, sampling, self.state.global_step, seeds)
            return self.completer.judged(own, groups, mine, mine)  # none if there are more ranks than rows

        everything = sorted(gather_object(on_all_ranks(complete)), key=lambda sample: sample.place)
        return rollout_metrics(everything, count)
