# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is remembered of a model's modules is what a new walk would find."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from resonance.forward.tower import has_adapters, is_frozen, tower_modules
from resonance.forward.walk import modules_of, remembered


def model():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))


def linears(modules):
    return [module for module in modules if isinstance(module, nn.Linear)]


CHANGES = {
    "replaced": lambda m: m[1].__setitem__(0, nn.Linear(2, 3)),
    "added below": lambda m: m[1].append(nn.Linear(2, 2)),
    "added at the top": lambda m: m.append(nn.Linear(2, 2)),
    "gone": lambda m: m[1].__delitem__(0),
    "to none": lambda m: setattr(m[1], "0", None),
    "deep": lambda m: m[1].append(nn.Sequential(nn.Sequential(nn.Linear(2, 2)))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(change):
    root = model()
    assert modules_of(root) == list(root.modules())
    before = remembered(root, linears)
    assert before == [root[0], root[1][0]]
    change(root)
    assert modules_of(root) == list(root.modules())
    assert remembered(root, linears) == linears(root.modules()) != before


def test_without_a_change_nothing_is_walked_again(monkeypatch):
    root, calls = model(), []

    def find(modules):
        calls.append(len(modules))
        return modules

    first = remembered(root, find)
    monkeypatch.setattr(nn.Module, "modules", lambda self: pytest.fail("walked again"))
    root[0].weight = nn.Parameter(torch.zeros(2, 2))  # a parameter is no module
    assert remembered(root, find) is first and calls == [4] and len(modules_of(root)) == 5


def test_a_model_that_is_dropped_goes_away():
    root = model()
    gone = weakref.ref(root)
    remembered(root, linears)
    del root
    gc.collect()
    assert gone() is None


class Vision(nn.Module):
    """As Transformers builds them: the owner of the features has a tower and a language model."""

    def __init__(self):
        super().__init__()
        self.visual, self.language_model = model(), nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 4))

    def get_image_features(self):
        raise NotImplementedError

    def get_input_embeddings(self):
        return self.language_model[0]

    def get_output_embeddings(self):
        return self.language_model[1]


class Adapter(nn.Linear):
    adapter_layer_names = ()


def test_the_tower_is_looked_at_as_it_is_now():
    policy = Vision()
    assert tower_modules(policy) == [policy.visual] and not is_frozen(policy) and not has_adapters(policy)
    policy.visual.requires_grad_(False)
    assert is_frozen(policy)
    policy.visual[0].weight = nn.Parameter(torch.zeros(2, 2))  # another parameter, the same modules
    assert not is_frozen(policy)
    policy.visual[1][0] = Adapter(2, 2)
    assert has_adapters(policy)
    policy.visual = model().requires_grad_(False)
    assert tower_modules(policy) == [policy.visual] and is_frozen(policy) and not has_adapters(policy)
