# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/benchmark_dpo_step.py --answers`: what it compares is the same job, done in different ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SHAPE = dict(hidden=32, layers=2, heads=2, mlp=32, vocabulary=256, tower=32, blocks=1)


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import answers, small_step

    return answers, small_step


@pytest.mark.parametrize("count", [3, 4])
def test_all_pairs_of_the_answers(benchmarks, count):
    answers, small_step = benchmarks
    model, _ = small_step.build(SHAPE, "lora")
    together, alone = answers.make_answers(model, SHAPE["vocabulary"], count)
    labels = [row[row != -100].tolist() for row in together["labels"]]
    pairs = list(zip(*torch.tensor(labels).chunk(2), strict=True))
    assert len(pairs) == len(alone) == count * (count - 1) // 2 and len(set(map(tuple, labels))) == count
    assert all(not torch.equal(chosen, rejected) for chosen, rejected in pairs)
    prompt = answers.floor_pair(count).prompt
    assert (together["input_ids"][:, :prompt] == together["input_ids"][0, :prompt]).all()
    for place, batch in enumerate(alone):
        rows = [place, place + len(alone)]
        assert all(torch.equal(batch[name], together[name][rows]) for name in ("input_ids", "labels"))


def test_every_way_has_the_same_loss_and_gradient(benchmarks, tmp_path):
    answers, small_step = benchmarks
    torch.set_num_threads(1)
    model, reference = small_step.build(SHAPE, "lora")
    parameters = [p for p in model.parameters() if p.requires_grad]
    losses, gradients = {}, {}
    for name, step in answers.make_steps(model, reference, SHAPE["vocabulary"], 3, str(tmp_path)).items():
        model.zero_grad()
        loss = step()
        loss.backward()
        losses[name], gradients[name] = loss.item(), torch.cat([p.grad.flatten() for p in parameters])
    theirs = gradients["llamafactory"]
    for name in ("pairs in turn", "auto", "cached reference"):
        assert losses[name] == pytest.approx(losses["llamafactory"], abs=1e-5)
        assert (gradients[name] - theirs).norm() < 1e-5 * theirs.norm()
