# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completions of the policy itself: the same as plain generation, one prompt at a time and without a shared cache."""

from __future__ import annotations

import pytest
import torch

from forward import tiny
from resonance.rollout.local import LocalRollout
from resonance.rollout.recorder import media_tokens
from resonance.rollout.types import Sampling

COUNT, NEW, EOS = 3, 10, 1


def prompts(model, lengths=(3, 6, 9)):
    """Tokens and pictures of a prompt for each length."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for i, length in enumerate(lengths):
        text = torch.randint(20, tiny.VOCABULARY, (length,), generator=generator)
        pictures = [tiny.picture(model, i)] if hasattr(tiny.inner(model).config, "vision_config") else []
        middle = [
            torch.cat([torch.tensor([tiny.START]), torch.full((p.tokens,), p.token), torch.tensor([tiny.END])])
            for p in pictures
        ]
        found.append({"ids": torch.cat([text[:2], *middle, text[2:]]), "pictures": pictures})
    return found


def collate(model, rows):
    """Left-padded, with positions as LlamaFactory's collator makes them."""
    width = max(len(row["ids"]) for row in rows)
    ids = torch.full((len(rows), width), tiny.PAD)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, width - len(row["ids"]) :], mask[i, width - len(row["ids"]) :] = row["ids"], 1
    batch = {"input_ids": ids, "attention_mask": mask}
    media = [picture for row in rows for picture in row["pictures"]]
    for name in dict.fromkeys(key for one in media for key in one.inputs):
        batch[name] = tiny.join([one.inputs[name] for one in media])
    core = getattr(tiny.inner(model), "model", None)
    if hasattr(core, "get_rope_index"):
        kinds = (ids == tiny.PICTURE).int()
        positions, deltas = core.get_rope_index(
            ids, mm_token_type_ids=kinds, attention_mask=mask, image_grid_thw=batch.get("image_grid_thw")
        )
        batch["position_ids"], batch["rope_deltas"] = torch.cat([positions[:1], positions]), deltas
    if tiny.inner(model).config.model_type == "gemma3":
        batch["token_type_ids"] = (ids == tiny.PICTURE).long()
    return batch


def rollout(model, size=3):
    return LocalRollout(model, lambda rows: collate(model, rows), [EOS], tiny.PAD, size)


def rescored(model, row, tokens):
    """Log-probabilities of a prompt's completion by a plain call on one row."""
    whole = {**row, "ids": torch.cat([row["ids"], torch.tensor(tokens)])}
    batch = collate(model, [whole])
    batch.pop("rope_deltas", None)
    logits = model(**batch, use_cache=False).logits[0, len(row["ids"]) - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).squeeze(1)


@pytest.fixture(params=tiny.FAMILIES)
def model(request):
    return tiny.make(tiny.FAMILIES[request.param]()).eval()


@torch.no_grad()
def test_greedy_tokens_are_those_of_plain_generation_alone(model):
    rows = prompts(model)
    banned = [[token] for token in media_tokens(model.config)]
    found = rollout(model).generate(rows, COUNT, Sampling(NEW, greedy=True), 7, [0] * len(rows))
    for row, group in zip(rows, found, strict=True):
        batch = collate(model, [row])
        batch.pop("position_ids", None)
        deltas = batch.pop("rope_deltas", None)
        if deltas is not None:
            batch["mm_token_type_ids"] = (batch["input_ids"] == tiny.PICTURE).int()
        alone = model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=EOS,
            pad_token_id=tiny.PAD,
            bad_words_ids=banned or None,
        )[0, batch["input_ids"].shape[1] :].tolist()
        assert [one.token_ids for one in group] == [alone] * COUNT
        assert {one.version for one in group} == {7}


@torch.no_grad()
def test_log_probabilities_are_those_of_a_plain_call(model):
    rows = prompts(model)
    torch.manual_seed(0)
    groups = rollout(model, size=2).generate(rows, COUNT, Sampling(NEW), 0, [4, 5, 6])
    for row, group in zip(rows, groups, strict=True):
        for one in group:
            assert len(one.token_ids) == len(one.logps) <= NEW
            assert (one.finish_reason == "stop") == (one.token_ids[-1] == EOS)
            torch.testing.assert_close(torch.tensor(one.logps), rescored(model, row, one.token_ids), rtol=0, atol=2e-5)


@torch.no_grad()
def test_sampled_tokens_are_those_of_plain_generation_with_the_same_seed(model):
    rows = prompts(model)
    batch = collate(model, rows)
    torch.manual_seed(3)
    shared, _ = rollout(model).sample(batch, COUNT, Sampling(NEW))
    plain = {name: value for name, value in batch.items() if name not in ("position_ids", "rope_deltas")}
    if "rope_deltas" in batch:
        plain["mm_token_type_ids"] = (batch["input_ids"] == tiny.PICTURE).int()
    banned = [[token] for token in media_tokens(model.config)]
    torch.manual_seed(3)
    whole = model.generate(
        **plain,
        do_sample=True,
        top_k=0,
        max_new_tokens=NEW,
        eos_token_id=EOS,
        pad_token_id=tiny.PAD,
        num_return_sequences=COUNT,
        bad_words_ids=banned or None,
    )
    assert shared.tolist() == whole[:, batch["input_ids"].shape[1] :].tolist()


def test_a_model_that_trains_generates_as_one_that_does_not(model):
    """LlamaFactory leaves it in train mode with gradient checkpointing, in which layers drop the cache."""
    rows, greedy = prompts(model), Sampling(NEW).greedily()
    expected = rollout(model).generate(rows, 1, greedy, 0, [0, 1, 2])
    model.train().gradient_checkpointing_enable()
    assert rollout(model).generate(rows, 1, greedy, 0, [0, 1, 2]) == expected
    assert all(module.training for module in model.modules())
