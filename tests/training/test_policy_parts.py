# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Parts of the policy trainer without a model: rollouts over ranks, evaluation, and what a checkpoint holds."""

from __future__ import annotations

import random
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer

from resonance.arguments.policy import DEFAULTS
from resonance.forward.tower import dropout, switch_off_dropout
from resonance.rewards import Scores
from resonance.rollout.types import Completion, Sampling
from resonance.training import completions, experience, policy_eval
from resonance.training.completions import Completer
from resonance.training.critic import HEAD, add_value_head, continue_critic, load_critic, save_critic
from resonance.training.experience import ExperienceSource
from resonance.training.resume import ResumableTrainer
from resonance.training.rollouts import Sizes, seed_of

ROWS = [{"number": number} for number in range(40)]
SIZES = Sizes(group=2, micro=4, accumulation=2, minibatches=1, epochs=2, world=1, rank=0)


class Rollout:
    """Completions that depend on the seed of their prompt alone."""

    def take(self, version):
        pass

    def generate(self, rows, count, sampling, version, seeds):
        draws = [random.Random(seed) for seed in seeds]
        return [[Completion([draw.randrange(2)], [0.0], "stop", version) for _ in range(count)] for draw in draws]


def judge(rows, given):
    totals = [float(one.token_ids[0]) for one in given]
    assert totals, "there is nothing to judge"
    return [str(total) for total in totals], Scores({"one": totals}, {"one": 1.0})


judge.prompt = lambda row: str(row["number"])


def completer(sizes, rollout=None, ahead=0, **preset):
    settings = SimpleNamespace(
        seed=7,
        preset=SimpleNamespace(**{"dynamic_sampling": True, **preset}),
        values={**DEFAULTS, "eval_num_generations": 0, "rollout_ahead": ahead},
    )
    return Completer(settings, sizes, Sampling(4), ROWS, rollout or Rollout(), judge)


def on_ranks(world, function, monkeypatch, *modules):
    """What `function(rank)` returns on each of `world` threads, between which `gather_object` gathers."""
    barrier, given, found = threading.Barrier(world, timeout=20), {}, {}

    def gather_object(objects):
        given[threading.current_thread().name] = objects
        barrier.wait()
        everything = [one for name in sorted(given) for one in given[name]]
        barrier.wait()
        return everything

    for module in modules:
        monkeypatch.setattr(module, "gather_object", gather_object)
    threads = [
        threading.Thread(target=lambda r=rank: found.update({r: function(r)}), name=str(rank)) for rank in range(world)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(world)]


def test_dynamic_sampling_takes_the_same_groups_on_two_ranks_as_on_one(monkeypatch):
    one = completer(SIZES).samples(0)
    assert len(one) == 8 and completer(SIZES)._draw(0) != one, "some groups of the first draw are flat"
    halves = [Sizes(2, 4, 1, 1, 2, world=2, rank=rank) for rank in range(2)]
    two = on_ranks(2, lambda rank: completer(halves[rank]).samples(0), monkeypatch, completions)
    assert two == [one[:4], one[4:]]


@pytest.mark.parametrize("world", [1, 2, 5])
def test_evaluation_is_the_same_on_any_number_of_ranks(world, monkeypatch):
    """Three rows, so that some of five ranks have none."""

    def evaluate(rank):
        own = completer(SIZES)
        trainer = SimpleNamespace(
            args=SimpleNamespace(world_size=world, process_index=rank),
            settings=own.settings,
            completer=own,
            state=SimpleNamespace(global_step=0),
        )
        return policy_eval.GeneratingEvaluation._rewards(trainer, ROWS[:3], 2, Sampling(4))

    found = on_ranks(world, evaluate, monkeypatch, policy_eval)
    totals = [float(one.token_ids[0]) for place in range(3) for one in seeded(place)]
    assert [one["reward"] for one in found] == [pytest.approx(sum(totals) / 6)] * world


def seeded(place):
    return Rollout().generate([None], 2, Sampling(4), 0, [seed_of(7, -1 - place)])[0]


def source(sizes, **how):
    credit = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None, assign=lambda batches: {})
    return ExperienceSource(completer(sizes, **how), credit, no_passes, None, lambda metrics: None)


def no_passes(micro):
    return {"advantages": torch.zeros(micro.mask.shape)}


class Served(Rollout):
    """Generates in its own time; weights may not change meanwhile."""

    def __init__(self):
        self.version, self.busy = None, False

    def take(self, version):
        assert not self.busy
        self.version = version

    def generate(self, rows, count, sampling, version, seeds):
        self.busy = True
        time.sleep(0.02)
        assert version == self.version
        self.busy = False
        return super().generate(rows, count, sampling, version, seeds)


STEPS = 8  # of two micro-batches; a rollout is good for two steps


def taken(found, micro_steps):
    """Places and versions of what is trained on, from these micro-batches of the run on."""
    given = [found.next(step // SIZES.accumulation, STEPS)[0] for step in micro_steps]
    return [[(one.place, one.text, one.completion.version) for one in micro.samples] for micro in given]


@pytest.mark.parametrize("dynamic", [False, True])
def test_rollouts_ahead_are_those_of_the_weights_before(monkeypatch, dynamic):
    monkeypatch.setattr(completions, "gather_object", lambda objects: objects)
    monkeypatch.setattr(experience, "gather_object", lambda objects: objects)
    plain = taken(source(SIZES, rollout=Served(), dynamic_sampling=dynamic), range(16))
    ahead = taken(source(SIZES, rollout=Served(), ahead=1, dynamic_sampling=dynamic), range(16))
    assert [[one[:2] for one in micro] for micro in ahead] == [[one[:2] for one in micro] for micro in plain]
    versions = [{version for *_, version in micro} for micro in ahead]
    if not dynamic:
        assert versions == [{max(0, 2 * (step // 4) - 2)} for step in range(16)]
    assert versions != [{version for *_, version in micro} for micro in plain]


def test_a_run_that_generates_ahead_goes_on_from_a_checkpoint(monkeypatch):
    monkeypatch.setattr(experience, "gather_object", lambda objects: objects)
    how = {"ahead": 1, "dynamic_sampling": False}
    whole = taken(source(SIZES, rollout=Served(), **how), range(16))
    for stop in (2, 4, 6, 12):
        first, second = source(SIZES, rollout=Served(), **how), source(SIZES, rollout=Served(), **how)
        taken(first, range(stop))
        second.load_state_dict(first.state_dict())
        assert taken(second, range(stop, 16)) == whole[stop:]


def test_an_evaluation_waits_for_what_is_being_generated(monkeypatch):
    monkeypatch.setattr(experience, "gather_object", lambda objects: objects)
    found = source(SIZES, rollout=Served(), ahead=1, dynamic_sampling=False)
    taken(found, range(2))
    found.completer.take(1)
    found.completer.rollout.generate(ROWS[:2], 1, Sampling(4), 1, [1, 2])


def test_nothing_is_begun_after_the_last_rollout(monkeypatch):
    monkeypatch.setattr(experience, "gather_object", lambda objects: objects)
    found = source(SIZES, rollout=Served(), ahead=1, dynamic_sampling=False)
    taken(found, range(16))
    assert found.completer.ahead.state_dict() is None and found.completer.consumed == 4 * SIZES.prompts


def test_a_checkpoint_of_rollouts_of_another_size_is_refused():
    state = source(SIZES).state_dict()
    source(SIZES).load_state_dict(state)
    with pytest.raises(ValueError) as error:
        source(Sizes(group=2, micro=4, accumulation=1, minibatches=1, epochs=2, world=2, rank=1)).load_state_dict(
            state
        )
    text = str(error.value)
    assert "saved with {'gradient_accumulation_steps': 2, 'ranks': 1}" in text
    assert "this run has {'gradient_accumulation_steps': 1, 'ranks': 2}" in text
    assert "adapter_name_or_path" in text and "num_generations" not in text


def test_the_file_that_completes_a_checkpoint_waits_for_the_state_of_all_ranks(monkeypatch):
    written = []
    monkeypatch.setattr(Trainer, "_save_rng_state", lambda self, folder: written.append("random numbers"))

    class Resumable(ResumableTrainer):
        def __init__(self):
            self.accelerator = SimpleNamespace(wait_for_everyone=lambda: written.append("wait"))

        def save_rank_state(self, checkpoint):
            written.append("rank state")

    Resumable()._save_rng_state("checkpoint-1")
    assert written == ["random numbers", "rank state", "wait"]


# -- models -----------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self, size=8):
        super().__init__()
        self.head, self.config = nn.Linear(size, 3), SimpleNamespace()
        self.config.get_text_config = lambda: SimpleNamespace(hidden_size=size)

    def get_output_embeddings(self):
        return self.head


def test_a_value_head_is_saved_apart_from_the_model_and_continued(tmp_path):
    model = Model()
    head = add_value_head(model)
    assert not head.weight.any() and not head.bias.any()
    nn.init.normal_(head.weight)
    rest = save_critic(HEAD, head, model.state_dict(), str(tmp_path))
    assert sorted(rest) == ["head.bias", "head.weight"]
    again = add_value_head(Model())
    continue_critic(HEAD, again, str(tmp_path))
    assert torch.equal(again.weight, head.weight)
    with pytest.raises(ValueError, match="It is of another model"):
        load_critic(HEAD, add_value_head(Model(9)), str(tmp_path))


def test_no_value_head_is_written_where_the_state_has_none(tmp_path):
    """ZeRO-3 without `stage3_gather_16bit_weights_on_model_save` saves an empty state."""
    assert save_critic(HEAD, add_value_head(Model()), {}, str(tmp_path)) == {} and not list(tmp_path.iterdir())


def test_the_value_head_of_a_reward_model_is_left_alone(tmp_path):
    save_file({"v_head.summary.weight": torch.ones(1, 8)}, tmp_path / "value_head.safetensors")
    head = add_value_head(Model())
    continue_critic(HEAD, head, str(tmp_path))
    assert not head.weight.any()


def test_dropout_is_switched_off_wherever_it_is():
    model = nn.Sequential(nn.Dropout(0.1), Model())
    model[1].attention_dropout = 0.2
    assert dropout(model) and switch_off_dropout(model)
    assert dropout(model) is None and not switch_off_dropout(model)
