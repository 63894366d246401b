# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Log-probabilities are those of the model's own processor and forward pass, with every speed-up and with none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forward.conftest import gradients, worst
from idefics.models import DIFFERENT, make_model, make_processor
from idefics.pairs import APART, PAIRS, collator, feature
from idefics.test_tokens import says, theirs, user
from resonance.forward.call import Forward, capabilities
from resonance.forward.features import FeatureCache
from resonance.forward.names import PADDING_FREE, SPEEDUPS, VISION_ONCE
from resonance.forward.planner import Planner
from resonance.forward.request import Request
from resonance.forward.result import sums

torch.set_num_threads(1)
BATCHES = {"all": PAIRS, "text": PAIRS[2:3] * 2, "one": PAIRS[:1], "several pictures": [APART, PAIRS[1], PAIRS[0]]}


@pytest.fixture(scope="module", params=DIFFERENT)
def case(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    processor = make_processor(request.param)
    return request.param, processor, make_model(request.param, processor)


def batch_of(case: tuple[str, Any, Any], pairs: Any, planned: bool, on: Any = SPEEDUPS) -> dict[str, Any]:
    kind, processor, model = case
    collate = collator(kind, processor)
    if planned:
        collate.lay_out = Planner()
        collate.lay_out.request = Request.of([model, model], on, always=True)
    return collate([feature(kind, processor, pair) for pair in pairs])


def own(case: tuple[str, Any, Any], pair: Any, answer: str) -> list[float]:
    """Log-probabilities of an answer's tokens, by the model's own processor and forward."""
    _, processor, model = case
    given = theirs(processor, [user(pair.prompt), says(answer)], pair.images)
    prompt = theirs(processor, [user(pair.prompt)], pair.images, prompt=True)["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(**given).logits[0, prompt - 1 : -1]
    ids = given["input_ids"][0, prompt:]
    return logits.log_softmax(-1).gather(1, ids[:, None])[:, 0].tolist()


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("name", BATCHES)
def test_log_probabilities_of_the_models_own_forward(case: Any, name: str, planned: bool) -> None:
    model, pairs = case[2].requires_grad_(True), BATCHES[name]
    expected = [own(case, pair, pair.chosen) for pair in pairs] + [own(case, pair, pair.rejected) for pair in pairs]
    # Idefics2's Mistral has a sliding window
    off = {PADDING_FREE} if case[0] == "idefics2" else set()
    assert set(capabilities(model, model)) == off
    for on in ((), SPEEDUPS):
        batch = batch_of(case, pairs, planned, on)
        forward = Forward(on, always=True)
        prepared = forward.prepare(batch, model, model)
        assert set(prepared.reasons) <= off, "every batch takes every speed-up"
        tokens = Forward.call(model, model, prepared)
        for row, values in enumerate(expected):
            found = tokens.values[row][batch["labels"][row, 1:] != -100]
            assert torch.allclose(found, torch.tensor(values), atol=2e-5), (on, row)


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_are_those_of_the_plain_path(case: Any, frozen: bool) -> None:
    model = case[2].requires_grad_(True).train()
    if frozen:
        model.model.vision_model.requires_grad_(False)
        model.model.connector.requires_grad_(False)
    found = []
    for on in ((), SPEEDUPS):
        batch = batch_of(case, PAIRS, planned=True, on=on)
        tokens = Forward.call(model, model, Forward(on, always=True).prepare(batch, model))
        (sums(tokens) * torch.linspace(1, -1, len(tokens.values))).sum().backward()
        found.append(gradients(model))
    assert worst(found[1], found[0])[0] < 1e-4


def test_each_picture_is_encoded_once_for_policy_and_reference(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, processor, model = case
    model.requires_grad_(True).model.vision_model.requires_grad_(False)
    model.model.connector.requires_grad_(False)
    reference = make_model(kind, processor)
    seen = []
    for one in (model, reference):
        tower = one.model.vision_model
        original = tower.forward
        monkeypatch.setattr(
            tower, "forward", lambda *a, f=original, **k: (seen.append(len(k["pixel_values"])), f(*a, **k))[1]
        )
    forward = Forward(SPEEDUPS)
    prepared = forward.prepare(batch_of(case, PAIRS * 2, planned=True), model, reference)
    for one in (reference, model):
        Forward.call(one, one, prepared)
    distinct = {id(image): image for pair in PAIRS for image in pair.images}.values()
    tiles = [processor.image_processor([[image]], return_tensors="pt")["pixel_values"].shape[1] for image in distinct]
    assert VISION_ONCE in prepared.on and seen == [sum(tiles)]


def test_features_are_kept_from_epoch_to_epoch(case: Any) -> None:
    model = case[2].requires_grad_(True)
    model.model.vision_model.requires_grad_(False)
    model.model.connector.requires_grad_(False)
    cache = FeatureCache(1 << 26, 0, lambda line: None)
    found = []
    for _ in range(2):
        forward = Forward(SPEEDUPS)
        forward.feature_cache = cache
        prepared = forward.prepare(batch_of(case, PAIRS, planned=True), model)
        found.append(Forward.call(model, model, prepared).values)
    assert torch.equal(*found) and cache.reason is None
    assert cache.account.hits == cache.account.lookups / 2 > 0
