# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `scripts/benchmark_host.py` counts: kernels and waits, on pieces of code small enough to count by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmarks.counting

    return benchmarks.counting


X = torch.arange(6.0).view(2, 3)
MASK = X > 2
WAITS = {
    "values": (2, lambda: (X.tolist(), X[0, 0].item())),
    "a decision": (1, lambda: bool((X > 2).all())),
    "to the host, once": (1, lambda: X.cpu().tolist()),
    "there and back": (2, lambda: X.to("cpu").to(X.device)),
    "back without waiting": (1, lambda: X.cpu().to(X.device, non_blocking=True)),
    "what was on the host": (0, lambda: torch.arange(3).tolist()),
    "made where it is needed": (0, lambda: torch.arange(3, device=X.device) + X),
    "from a list": (1, lambda: torch.tensor([1, 2], device=X.device)),
    "by a mask": (1, lambda: X[MASK]),
    "a mask that is filled": (0, lambda: X.clone().__setitem__(MASK, 0.0)),
    "by an index on the host": (1, lambda: X[torch.tensor([0])]),
    "sizes": (3, lambda: (MASK.nonzero(), torch.where(MASK), torch.equal(X, X))),
    "repeats": (1, lambda: torch.repeat_interleave(X, X[:, 1].long(), dim=0)),
    "repeats of a known size": (0, lambda: torch.repeat_interleave(X, X[:, 1].long(), dim=0, output_size=5)),
    "arithmetic": (0, lambda: (X * 2 + X.sum()).softmax(-1).view(6)),
}


@pytest.mark.parametrize(("count", "code"), WAITS.values(), ids=WAITS)
def test_waits(counting, count, code):
    with counting.Waits() as waits:
        code()
    assert waits.total == count
    assert all(place.startswith("tests/test_benchmark_host.py:") for place in waits.places)


def test_kernels_are_operations_that_compute_also_in_the_backward(counting):
    weight = torch.ones(3, 3, requires_grad=True)
    with counting.Kernels() as kernels:
        loss = (X @ weight).view(6).transpose(0, 0).sum()
        assert dict(kernels.names) == {"mm": 1, "sum": 1}
        torch.autograd.backward(loss)
    assert kernels.names["mm"] == 2 and kernels.total > 3


@pytest.mark.slow
def test_the_script_counts_both_trainers(tmp_path):
    rows = tmp_path / "rows.json"
    size = ["--pairs", "2", "--layers", "1", "--blocks", "1", "--repetitions", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark_host.py"), *size, "--places", "--json", str(rows)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    found = {row["variant"]: row for row in json.loads(rows.read_text())}
    assert list(found) == ["llamafactory", "auto", "cached reference"]
    theirs, ours = found["llamafactory"], found["auto"]
    assert sum(theirs["places"].values()) == theirs["waits"] and max(ours["difference"]) <= 1e-5
    assert 0 < ours["waits"] < theirs["waits"] and all(row["kernels"] > 100 for row in found.values())
    # LlamaFactory reads eight metrics a step
    assert sum(n for place, n in theirs["places"].items() if "train/dpo/trainer.py" in place) == 8
