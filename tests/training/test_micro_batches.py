# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Groups of like length share a micro-batch; steps, losses and the list of completions stay what they are."""

from __future__ import annotations

import json
import math

import datasets
import pytest
import torch

from resonance.arguments.policy_settings import settings
from resonance.policy import Aggregation, policy_loss
from resonance.rollout.types import Completion, Sampling
from resonance.training import experience
from resonance.training.completions import Completer
from resonance.training.credit import Credit
from resonance.training.experience import ExperienceSource
from resonance.training.judge import make_judge
from resonance.training.rollouts import MicroBatch, Sizes, micro_batches

PROMPTS = 12
LENGTHS = (3, 11, 2, 9, 1, 12, 5, 4, 10, 2, 8, 6)  # of the longest completion to each prompt


def plain(samples, sizes):
    """Cut in the order in which completions come."""
    return [MicroBatch.of(samples[at : at + sizes.micro]) for at in range(0, len(samples), sizes.micro)]


class Fixed:
    """Completions of a prompt are tokens that name it."""

    def take(self, version):
        pass

    def generate(self, rows, count, sampling, version, seeds):
        return [[self.one(row["_row"], i) for i in range(count)] for row in rows]

    def one(self, row, i):
        tokens = [row * 100 + i] * max(1, LENGTHS[row] - i)
        return Completion(tokens, [-1.0] * len(tokens), "stop" if (row + i) % 5 else "length", 0)


class Listed(list):
    add = list.extend

    def start(self, rollouts):
        """Nothing is on disk."""


def rollout(monkeypatch, cut, group, **changes):
    """The micro-batches of both steps, the lines of completions.jsonl, and the preset."""
    monkeypatch.setattr(experience, "micro_batches", cut)
    sizes = Sizes(group, micro=2 * group, accumulation=3, minibatches=2, epochs=1, world=1, rank=0)
    values = {
        "ppo_variant": "grpo",
        "seed": 1,
        "ppo_buffer_size": 2,
        "kl_coef": 0.0,
        "num_generations": group,
        **changes,
    }
    values["rewards"] = [{"name": "length", "max_length": 4}, {"name": "length", "max_length": 8, "label": "longer"}]
    chosen = settings(values, values)
    row = {"input_ids": [7], "images": [], "meta": json.dumps({}), "_source": "a.json"}
    data = datasets.Dataset.from_list([{**row, "_row": i} for i in range(PROMPTS)])
    judge = make_judge(chosen.rewards, {"train_dataset": data}, lambda tokens: " ".join(map(str, tokens)))
    credit, listed = Credit(chosen, sizes, lambda x: x), Listed()
    made = Completer(chosen, sizes, Sampling(12), data, Fixed(), judge)
    found = ExperienceSource(made, credit, lambda micro: {}, listed, lambda metrics: None)
    micros = [found.next(0)[0] for _ in range(6)]
    return (micros[:3], micros[3:]), listed, chosen.preset


def loss_and_gradients(step, preset):
    """Of an optimizer step, by completion, where a token's log-probability depends on its place alone."""
    loss, gradients = 0.0, {}
    for micro in step:
        logps = (-0.1 - torch.arange(micro.mask.shape[1], dtype=torch.float64)).repeat(len(micro.mask), 1)
        logps.requires_grad_()
        how = Aggregation(preset.aggregation, micro.tokens, micro.sequences, 12)
        output = policy_loss(
            preset.loss,
            logps,
            logps.detach() - 0.1,
            micro.tensors["advantages"].double(),
            micro.mask,
            aggregation=how,
            **preset.loss_params,
        )
        output.loss.backward()
        loss += output.loss.item()
        for sample, mask, gradient in zip(micro.samples, micro.mask, logps.grad, strict=True):
            gradients[sample.text] = gradient[mask]
    return loss, gradients


@pytest.mark.parametrize(("variant", "group"), [("grpo", 2), ("dapo", 2), ("dr_grpo", 3), ("reinforce_plus_plus", 1)])
def test_a_step_keeps_its_samples_its_loss_and_its_gradients(monkeypatch, variant, group):
    changes = {"ppo_variant": variant, "dynamic_sampling": False}
    before, lines, preset = rollout(monkeypatch, plain, group, **changes)
    after, sorted_lines, _ = rollout(monkeypatch, micro_batches, group, **changes)
    for old, new in zip(before, after, strict=True):
        texts = [sorted(sample.text for micro in step for sample in micro.samples) for step in (old, new)]
        assert texts[0] == texts[1]
        (loss, gradients), (other, others) = loss_and_gradients(old, preset), loss_and_gradients(new, preset)
        assert other == pytest.approx(loss, rel=1e-6, abs=1e-9)
        for text, gradient in gradients.items():
            torch.testing.assert_close(others[text], gradient, rtol=1e-6, atol=1e-9)
    sizes = [sum(micro.mask.numel() for step in steps for micro in step) for steps in (before, after)]
    assert sizes[1] < 0.9 * sizes[0], "less padding"
    assert len(lines) == PROMPTS * group
    numbers = [
        [math.nan if (found := line.pop("advantage")) is None else found for line in each]
        for each in (lines, sorted_lines)
    ]
    assert lines == sorted_lines
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-6, abs=1e-6, nan_ok=True)


def test_groups_stay_together_the_longest_first_and_ties_as_they_come(monkeypatch):
    found, _, _ = rollout(monkeypatch, micro_batches, 2)
    for step in found:
        places = [sample.place for micro in step for sample in micro.samples]
        assert places[::2] == places[1::2]
        lengths = [len(micro.samples[at].completion.token_ids) for micro in step for at in (0, 2)]
        assert lengths == sorted(lengths, reverse=True)
    again, _, _ = rollout(monkeypatch, micro_batches, 2)
    order = [sample.place for step in again for micro in step for sample in micro.samples]
    assert order[12:] == places
