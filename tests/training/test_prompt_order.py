# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`group_prompts`: the pairs of a prompt follow one another, in an order that seeds, ranks and resumes agree on."""

from __future__ import annotations

import logging
from itertools import combinations

import datasets
import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from resonance.training.prompt_order import PromptOrder, PromptSampler
from resonance.training.same_prompt import read_pairs, rows_of_prompts, tokens_saved

SEED = 11


def pair(prompt, chosen, rejected, images=None):
    ids = [*prompt, *chosen], [*prompt, *rejected]
    row = {f"{side}_input_ids": values for side, values in zip(("chosen", "rejected"), ids, strict=True)}
    for side, answer in (("chosen", chosen), ("rejected", rejected)):
        row[f"{side}_labels"] = [-100] * len(prompt) + list(answer)
    return {**row, "images": images}


def answers(prompt, count, images=None):
    """All pairs of so many answers to a prompt."""
    return [pair(prompt, [20 + a, 1], [20 + b, 1], images) for a, b in combinations(range(count), 2)]


def rows(*some):
    return datasets.Dataset.from_list([row for part in some for row in part])


MIXED = rows(answers([5, 6], 4), answers([7], 2), answers([5, 6, 8], 3), answers([9], 2), answers([10], 2))
PROMPTS = [[0, 1, 2, 3, 4, 5], [6], [7, 8, 9], [10], [11]]


def epoch_of(dataset, asked=None, *, shares=True, batch=3, data_seed=SEED, epoch=0, given=RandomSampler):
    order = PromptOrder(asked, shares, batch, data_seed)
    return order.sampler(given(dataset), dataset, lambda: epoch)


def batches(dataset, sampler, rank=0, world=1, size=3, skip=0):
    """What a rank gets of a data loader that Accelerate has prepared as the Trainer asks it to."""
    loader = DataLoader(range(len(dataset)), batch_size=size, sampler=sampler)
    prepared = prepare_data_loader(
        loader, num_processes=world, process_index=rank, use_seedable_sampler=True, data_seed=SEED, put_on_device=False
    )
    prepared = skip_first_batches(prepared, skip) if skip else prepared
    return [batch.tolist() for batch in prepared]


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("llamafactory"), "propagate", True)
    caplog.set_level("INFO", logger="llamafactory")
    return caplog


# -- which rows belong together ---------------------------------------------------------------------------------------


def prompts(dataset):
    return rows_of_prompts(read_pairs(dataset), dataset)


def test_rows_of_a_prompt():
    assert prompts(MIXED) == PROMPTS
    assert prompts(MIXED.select([8, 0, 6, 7, 3])) == [[0, 3], [1, 4], [2]]  # a set with a mapping of its own
    assert prompts(MIXED.select([])) == []


def test_media_are_part_of_a_prompt():
    a, b = {"bytes": b"one", "path": None}, {"bytes": b"two", "path": None}
    images = [["a.png"], ["b.png"], ["a.png"], ["a.png", "b.png"], None, []]
    assert prompts(rows([pair([5], [20 + n], [30], i) for n, i in enumerate(images)])) == [
        [0, 2],
        [1],
        [3],
        [4, 5],
    ]
    embedded = rows([pair([5], [20 + n], [30], [i]) for n, i in enumerate((a, b, {**a, "path": "x.png"}))])
    assert prompts(embedded) == [[0, 2], [1]]
    videos = rows([pair([5], [n], [30]) for n in (20, 21, 22)]).remove_columns("images")
    frames = [[["a.png", "b.png"]], [["a.png"], ["b.png"]], [["a.png", "b.png"]]]
    assert prompts(videos.add_column("videos", frames)) == [[0, 2], [1]]
    assert prompts(videos) == [[0, 1, 2]]


def test_copies_of_a_pair_stay_apart():
    """As `mix_strategy: interleave_over` makes them: a batch of copies would be one pair."""
    assert prompts(rows(answers([7], 2) * 3)) == [[0], [1], [2]]
    assert prompts(rows(answers([5], 3) * 2)) == [[0, 1, 2], [3, 4, 5]]


# -- the order --------------------------------------------------------------------------------------------------------


def test_prompts_stand_where_their_first_rows_do():
    stock = [row for batch in batches(MIXED, RandomSampler(MIXED)) for row in batch]
    ours = [row for batch in batches(MIXED, epoch_of(MIXED)) for row in batch]
    assert sorted(stock) == sorted(ours) == [*range(12)] and stock != ours
    parts = [[0, 1, 2], [3, 4, 5], [6], [7, 8, 9], [10], [11]]  # no more than a micro-batch side by side
    firsts = {part[0]: part for part in parts}
    assert ours == [row for first in stock for row in firsts.get(first, ())]
    whole = list(epoch_of(MIXED, batch=6))
    assert whole[whole.index(0) :][:6] == [*range(6)] and len(epoch_of(MIXED)) == 12


def test_the_order_follows_from_seed_and_epoch():
    assert list(epoch_of(MIXED, epoch=1)) == list(epoch_of(MIXED, epoch=1)) != list(epoch_of(MIXED))
    assert list(epoch_of(MIXED, data_seed=12)) != list(epoch_of(MIXED))
    torch.manual_seed(SEED)
    before = torch.get_rng_state()
    assert list(epoch_of(MIXED, data_seed=None)) == list(epoch_of(MIXED))  # as without `data_seed`
    assert torch.equal(before, torch.get_rng_state())  # the training keeps its random numbers


def test_a_large_prompt_comes_no_sooner_than_a_small_one():
    places = [list(epoch_of(MIXED, batch=6, data_seed=seed)) for seed in range(400)]
    small = np.mean([place.index(6) < place.index(0) for place in places])
    assert 0.42 < small < 0.58


def test_two_ranks_share_an_epoch():
    one = batches(MIXED, epoch_of(MIXED))
    two = [batches(MIXED, epoch_of(MIXED), rank, 2) for rank in (0, 1)]
    assert [batch for step in zip(*two, strict=True) for batch in step] == one
    assert sorted(row for rank in two for batch in rank for row in batch) == [*range(12)]


def test_a_resume_skips_what_was_seen():
    whole = batches(MIXED, epoch_of(MIXED, epoch=3))
    assert batches(MIXED, epoch_of(MIXED, epoch=3), skip=2) == whole[2:]
    assert batches(MIXED, epoch_of(MIXED, epoch=3), 1, 2, skip=1) == whole[3:]


def test_what_keeps_its_order(log):
    for given in (SequentialSampler, lambda _: LengthGroupedSampler(2, lengths=[1] * 12), lambda _: None):
        sampler = epoch_of(MIXED, given=given)
        assert not isinstance(sampler, PromptSampler)
    assert isinstance(epoch_of(MIXED, asked=False), RandomSampler)
    assert isinstance(epoch_of(MIXED, shares=False), RandomSampler)
    assert isinstance(PromptOrder(None, True, 4, SEED).sampler(RandomSampler([1]), [{}], int), RandomSampler)
    distinct = rows(answers([5], 2), answers([6], 2))
    assert isinstance(epoch_of(distinct, asked=True), RandomSampler)
    assert "group_prompts" not in log.text
    assert isinstance(epoch_of(MIXED, asked=True, shares=False), PromptSampler)
    assert isinstance(epoch_of(MIXED, asked=True, batch=1), RandomSampler)


def test_tokens_that_are_saved():
    pairs = read_pairs(MIXED.select(range(6)))
    assert pairs[0].sizes == (2, 2, 2) and tokens_saved(pairs, [[n] for n in range(6)]) == 0
    assert tokens_saved(pairs, [[*range(6)]]) == pytest.approx(1 - (2 + 4 * 2) / 36)
    assert tokens_saved(pairs, [[0, 1], [2, 3, 4], [5]]) == pytest.approx(1 - (8 + 10 + 6) / 36)


def test_short_prompts_keep_their_order(log):
    """One question put to thousands of texts of its own, as in "Write a story."."""
    some = rows([pair([5], range(20, 40), range(n, n + 20)) for n in range(100, 104)])
    some = some.select(range(3)).map(lambda row: {**row, "chosen_input_ids": [5, row["rejected_input_ids"][1] + 500]})
    assert 0 < tokens_saved(read_pairs(some), [[0, 1, 2]]) < 0.1
    assert isinstance(epoch_of(some), RandomSampler)
    assert "the order is left as it is: side by side they save 3% of the tokens" in log.text
    assert isinstance(epoch_of(some, asked=True), PromptSampler)


def test_the_line_in_the_log(log):
    epoch_of(MIXED, batch=6)
    assert "group_prompts: 9 of 12 rows share 2 prompts, most often 6 rows one prompt; rows of a prompt" in log.text
    assert "which saves up to 53% of the tokens." in log.text and "per_device" not in log.text
    log.clear()
    epoch_of(MIXED, batch=4)
    assert "`per_device_train_batch_size: 6`, or a multiple of it, shares most." in log.text
    log.clear()
    epoch_of(MIXED, batch=1)
    assert "the order is left as it is: a micro-batch of one pair saves nothing. `per_device" in log.text
