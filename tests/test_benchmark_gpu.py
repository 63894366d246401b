# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/benchmark_gpu.py`: its whole protocol on a CPU, and cells that run out of memory or of time as results."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "benchmark_gpu.py"


@pytest.fixture(scope="module")
def script() -> Any:
    sys.path.insert(0, str(SCRIPT.parent))  # as when it is run
    spec = importlib.util.spec_from_file_location("benchmark_gpu", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def full_memory(script, monkeypatch):
    """A bench whose GPU holds one pair."""
    monkeypatch.setattr(script, "estimate", lambda bench, work, pairs, variant: (1e12, 2**30))

    def step(variant: str, batch: dict[str, int]) -> Any:
        def run() -> Any:
            if batch["pairs"] > 1:
                raise torch.cuda.OutOfMemoryError("no")
            return torch.ones((), requires_grad=True) * 1

        return run

    return SimpleNamespace(
        mode="lora",
        device="cpu",
        base=None,
        model=torch.nn.Linear(1, 1),
        step=step,
        protocol=replace(script.SHRUNKEN, batches=(1, 2)),
        batch=lambda work, pairs: {"pairs": pairs},
        set_up_for=lambda variant: nullcontext(),
    )


@pytest.mark.slow
def test_running_out_of_memory_is_a_result(script, full_memory):
    works, variants = script.SHRUNKEN.workloads, script.VARIANTS["lora"]
    found = list(script.cells(full_memory, time.monotonic() + 60, variants, works))
    assert len(found) == len(works) * 2 * len(variants)
    assert {(cell.batch, cell.outcome) for cell in found} == {(1, "ok"), (2, "out of memory")}
    assert all((cell.ms is None) == (cell.outcome != "ok") for cell in found)
    most = script.largest(full_memory, (3, 5, 10), "llamafactory", time.monotonic() + 60)
    assert (most["pairs"], most["ended_by"]) == (1, "out of memory")


def test_cells_for_which_no_time_was_left_are_recorded(script, full_memory):
    late, works = time.monotonic() - 1, script.SHRUNKEN.workloads
    found = list(script.cells(full_memory, late, script.VARIANTS["full"], works))
    assert len(found) == 12 and {cell.outcome for cell in found} == {"no time left"}
    assert script.largest(full_memory, works[0], "llamafactory", late)["pairs"] == 0


def test_what_matters_comes_first(script):
    """Both ends, a cached reference and no checkpointing, before anything else."""
    assert script.VARIANTS["lora"] == ("llamafactory", "auto", "auto, cached reference", "auto, no checkpointing")
    assert script.VARIANTS["full"] == ("llamafactory", "auto", "auto, cached reference")
    assert not set(script.MORE) & set(script.VARIANTS["lora"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_to_type(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_gpu.py"])
    assert script.main() == 2
    assert "--shrink" in capsys.readouterr().err


@pytest.mark.parametrize(("protocol", "billions"), [("REAL", 2.209), ("SEVEN", 8.291)])
def test_the_real_models_are_qwen2_vl(script, protocol, billions):
    from benchmarks.gpu_step import make_config
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(make_config(getattr(script, protocol)))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(billions * 1e9, rel=0.001)


@pytest.mark.slow
def test_the_whole_protocol_runs_on_a_cpu(tmp_path, cli_env):
    path = tmp_path / "cpu.json"
    command = [sys.executable, str(SCRIPT), "--shrink", "--all", "--minutes", "9", "--json", str(path)]
    done = subprocess.run(command, env=cli_env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(path.read_text())
    assert {cell["outcome"] for cell in report["cells"]} == {"ok"} and len(report["cells"]) == 14 + 14 + 20
    assert {cell["mode"] for cell in report["cells"]} == {"lora", "full"}
    assert sorted(report["auto"]) == ["frozen_tower", "padding_free", "response_head", "shared_prefix", "vision_once"]
    assert {(found["variant"], found["outcome"]) for found in report["data"]} == {
        ("llamafactory", "ok"),
        ("resonance", "ok"),
    }
    assert "INFO" not in done.stdout + done.stderr, "a cell is a line"
    parity = report["parity"]
    assert parity["float32 ours dloss"] < 1e-5 and parity["float32 ours dgrad_rel"] < 1e-5
    assert parity["bfloat16 ours dgrad_rel"] < 1.2 * parity["bfloat16 llamafactory dgrad_rel"]
