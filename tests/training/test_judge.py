# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards against the columns of the data, before a model is loaded, and rollouts that nothing can be learned from."""

from __future__ import annotations

import json
import logging
import math

import datasets
import pytest
import torch

from judges import scored, serving
from resonance.arguments.policy_settings import settings
from resonance.rollout.types import Completion, Sampling
from resonance.training.completions import Completer, rollout_metrics
from resonance.training.credit import Credit
from resonance.training.judge import make_judge
from resonance.training.rollouts import Experience, MicroBatch, Sample, Sizes

EXACT = {"name": "exact", "answer": "answer"}
SIZES = Sizes(group=2, micro=4, accumulation=1, minibatches=2, epochs=1, world=1, rank=0)
VALUES = {"ppo_variant": "grpo", "seed": 1, "ppo_buffer_size": 2, "ppo_target": 6.0}


def tokenized(*columns, source="a.json"):
    """A set of tokenized prompts, row i with a value i in each column."""
    rows = [
        {"input_ids": [7, i], "images": [f"{i}.png"], "meta": json.dumps(dict.fromkeys(columns, i))} for i in range(8)
    ]
    return datasets.Dataset.from_list([row | {"_source": source, "_row": i} for i, row in enumerate(rows)])


def judge(entries, *sets, **named):
    data = {"train_dataset": datasets.concatenate_datasets(list(sets)), **named}
    return make_judge(entries, data, lambda tokens: " ".join(map(str, tokens)))


def completion(*tokens, stop=True):
    return Completion(list(tokens), [-1.0] * len(tokens), "stop" if stop else "length", 0)


@pytest.fixture
def warnings_of_columns():
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("llamafactory.resonance.training.judge")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def test_unknown_columns_are_reported_together_with_the_nearest():
    entries = [{"name": "exact", "answer": "anser"}, {"name": "iou", "answer": "box"}]
    with pytest.raises(ValueError) as caught:
        judge(entries, tokenized("answer", "level"))
    text = str(caught.value)
    assert "rewards[0] (exact): the data has no column 'anser' (nearest: answer; all: " in text
    assert "rewards[1] (iou): the data has no column 'box'" in text


def test_columns_of_all_sets_count(warnings_of_columns):
    made = judge([EXACT], tokenized("answer"), eval_dataset={"a": tokenized("answer"), "b": tokenized("solution")})
    assert list(made.columns) == ["answer", "solution"]
    assert [text.partition(" (")[0] for text in warnings_of_columns] == ["a.json: rewards[0]"]


def test_a_set_without_a_column_goes_without_its_reward_and_is_warned_of(warnings_of_columns):
    made = judge([EXACT, {"name": "length", "max_length": 9}], tokenized("answer"), tokenized("box", source="b.json"))
    (warning,) = warnings_of_columns
    assert warning.startswith("b.json: rewards[0] (exact): the data has no column 'answer' (box); name the one that")
    assert warning.endswith("Where it has no value for a reward, the reward is left out.")
    rows = [tokenized("answer")[3], tokenized("box", source="b.json")[3]]
    texts, scores = made(rows, [completion(3), completion(3)])
    assert texts == ["3", "3"] and scores.parts["exact"] == [1.0, None]
    alone = made([rows[1]], [completion(3)])[1]
    assert alone.parts["exact"] == [None], "also in a batch of such rows alone"


def test_a_column_with_the_name_of_something_that_rewards_get():
    with pytest.raises(ValueError, match=r'under these names already: prompts. Rename.*"meta": \["answer", \.\.\.\]'):
        judge([EXACT], tokenized("answer", "prompts"))


def test_a_judge_is_looked_for_before_a_model_is_loaded():
    with serving(scored(lambda item: 1.0)) as server:
        entries = [{"url": server.url, "retries": 0}]
        judge(entries, tokenized("answer"))
        assert [body["items"] for body in server.bodies("/v1/score")] == [[]]
    with pytest.raises(ValueError, match=r"rewards\[0\] \(127.*\): the judge does not answer.*before any"):
        judge(entries, tokenized("answer"))


def test_llamafactorys_judges_get_all_tokens_as_text():
    def decode(tokens, skip_special_tokens=True):
        return " ".join(str(token) for token in tokens if token < 100 or not skip_special_tokens)

    with serving(lambda method, path, body: {"scores": [1.0] * len(body["messages"])}) as server:
        made = make_judge([{"url": server.url, "api": "llamafactory"}], {"train_dataset": tokenized("answer")}, decode)
        made([tokenized("answer")[3]], [completion(4, 151)])
    assert server.bodies("/")[-1]["messages"] == ["7 3 4 151"]


def test_reasons_and_refusals_reach_samples_and_metrics():
    def answer(method, path, body):
        scores = [
            {"id": each["id"], "score": math.nan if each["id"] == "0" else 1.0, "reason": f"because {each['id']}"}
            for each in body["items"]
        ]
        return {"version": 1, "scores": scores}

    with serving(answer) as server:
        data = tokenized("answer").add_column("_messages", ["[]"] * 8)
        entries = [EXACT, {"url": server.url, "images": "none", "on_nan": "skip", "weight": 2}]
        made = judge(entries, data)
        chosen = made_settings(entries)
        found = Completer(chosen, SIZES, Sampling(8), data, Fixed(lambda i: completion(9)), made).samples(0)
    assert [sample.total for sample in found] == [0.0, *[2.0] * 7], "the first is left out, which is no 0"
    assert found[1].reasons == {"judge": "because 1"} and found[0].refused == {"judge": True}
    assert rollout_metrics(found, 2)["refused/judge"] == 1 / 8
    kept = Experience.from_state(Experience(0, [MicroBatch.of(found[:4])]).state_dict())
    assert next(kept.samples).reasons == {"judge": "because 0"}


def test_a_set_that_was_tokenized_for_another_stage():
    other = datasets.Dataset.from_list([{"input_ids": [1], "labels": [1]}])
    with pytest.raises(ValueError, match="has no column 'meta'.*not made for stage: ppo"):
        judge([EXACT], other)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise KeyError('x')", r"rewards\[0\] \(judged:f\) raised KeyError: 'x'"),
        (
            "return [1.0, float('nan')]",
            r"returned nan for completion 1 \('3 1'\) of a.json, row 5; it must be",
        ),
        ("return [float('inf'), 1.0]", r"returned inf for completion 0 \('3'\) of a.json, row 4; it must be"),
        ("return ['1', 0]", r"returned '1' for completion 0 \('3'\) of a.json, row 4"),
        ("return [1.0]", "returned 1 values for 2 completions"),
        ("return 'good'", "returned str; it must return a list of 2 numbers"),
        ("import time; time.sleep(60)", r"returned nothing within 0.2 s for 2 completions.*timeout: 0.4"),
    ],
)
def test_a_reward_that_fails_is_named_with_the_row(tmp_path, monkeypatch, body, expected):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "judged.py").write_text(f"def f(completions):\n    {body}\n")
    monkeypatch.delitem(__import__("sys").modules, "judged", raising=False)
    data = tokenized("answer")
    made = judge([{"function": "judged:f", "timeout": 0.2}], data)
    with pytest.raises(ValueError, match=expected):
        made([data[4], data[5]], [completion(3), completion(3, 1)])


# -- rollouts --------------------------------------------------------------------------------------------------------


class Fixed:
    """Generates the same for every prompt."""

    def __init__(self, make):
        self.make = make

    def take(self, version):
        pass

    def generate(self, rows, count, sampling, version, seeds):
        return [[self.make(i) for i in range(count)] for _ in rows]


def made_settings(entries=(EXACT,), **changes):
    values = {**VALUES, "rewards": list(entries), "num_generations": 2, **changes}
    return settings(values, changes)


def completer(make, **changes):
    data = tokenized("answer")
    chosen = made_settings(**changes)
    return Completer(chosen, SIZES, Sampling(8), data, Fixed(make), judge(chosen.rewards, data))


def test_dynamic_sampling_runs_out_where_every_group_is_flat():
    flat = completer(lambda i: completion(9), dynamic_sampling=True, dynamic_sampling_tries=3)
    with pytest.raises(ValueError) as caught:
        flat.samples(0)
    text = str(caught.value)
    assert text.startswith("dynamic_sampling: of 12 prompts drawn for one rollout, 0 ")
    assert "num_generations (now 2)" in text and "dynamic_sampling_tries (now 3)" in text
    assert len(completer(lambda i: completion(9)).samples(0)) == 8, "without it such groups are trained on"


def batches(stop, total):
    samples = [
        Sample(i, i // 2, completion(4, 5, stop=stop(i)), "4 5", {"exact": total(i)}, total(i)) for i in range(8)
    ]
    return [MicroBatch.of(samples[:4]), MicroBatch.of(samples[4:])]


def assigned(stop, total, **changes):
    found = batches(stop, total)
    Credit(made_settings(**changes), SIZES, lambda x: x).assign(found)
    return found


def test_nothing_is_left_where_all_completions_are_cut_off_and_masked():
    with pytest.raises(
        ValueError,
        match=r"8 were cut off.*leaves those out; 0 have no reward.*To do: raise max_new_tokens",
    ):
        assigned(lambda i: False, float, mask_truncated=True)
    for batch in assigned(lambda i: False, float):
        assert batch.tokens == 8 and batch.mask.all(), "without the key they are trained on"


def test_nothing_is_left_where_no_completion_has_a_reward():
    with pytest.raises(
        ValueError,
        match=r"0 were cut off at max_new_tokens; 8 have no reward.*To do: give `rewards` one",
    ):
        assigned(lambda i: True, lambda i: None)


@pytest.mark.parametrize("variant", ["grpo", "rloo", "reinforce_plus_plus"])
def test_a_step_without_tokens_is_no_step_and_no_nan(variant):
    """The first optimizer step has nothing to learn from, the second has."""
    first, second = assigned(
        lambda i: i >= 4, lambda i: float(i % 2), mask_truncated=True, ppo_variant=variant, kl_coef=0.0
    )
    assert (first.tokens, first.sequences) == (0, 0) and (second.tokens, second.sequences) == (8, 4)
    for batch in (first, second):
        assert all(torch.isfinite(value).all() for value in batch.tensors.values())


def test_a_completion_without_a_reward_takes_no_part():
    first, _ = assigned(lambda i: True, lambda i: None if i == 1 else float(i))
    assert first.mask.any(1).tolist() == [True, False, True, True]
    assert first.sequences == 3 and not math.isnan(float(first.tensors["advantages"].sum()))
