# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whole runs with `flash_attn: fa2`, on a FlashAttention made of its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from conftest import SCRIPTS, Run, base_recipe
from forked import Parent

COMMON = {
    "pref_loss": "sigmoid",
    "pref_engine": "resonance",
    "finetuning_type": "lora",
    "lora_rank": 4,
    "max_steps": 2,
}
COMMON |= {"num_train_epochs": None, "learning_rate": 2e-3}
WAYS = {
    "plain": {"flash_attn": "fa2", "pref_speedups": "off"},
    "fast": {"flash_attn": "fa2"},
    "sdpa": {"flash_attn": "sdpa", "pref_speedups": "off"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cli_env):
    folder = tmp_path_factory.mktemp("flash")
    parent = Parent(cli_env, Path(__file__).with_name("flash_runs.py"))
    found = {}
    for name, way in WAYS.items():
        recipe = base_recipe(folder / name, **COMMON, **way)
        path, log = folder / f"{name}.yaml", folder / f"{name}.log"
        path.write_text(yaml.safe_dump(recipe))
        code = parent.start([str(SCRIPTS / "llamafactory-cli"), "train", str(path)], folder, log).wait(300)
        found[name] = Run(code, log.read_text(), folder / name)
        assert code == 0, found[name].output[-4000:]
    parent.close()
    return found


@pytest.mark.slow
def test_the_prompt_is_shared_and_the_numbers_stay(runs):
    assert "Using FlashAttention-2" in runs["fast"].output and "Using FlashAttention-2" not in runs["sdpa"].output
    (line,) = re.findall(r"pref_speedups: on: .*", runs["fast"].output)
    on, _, rest = line.partition("; ")
    assert "shared_prefix" in on and "padding_free" in on and "off: " not in rest
    for name in ("loss", "logps/chosen", "logps/rejected", "rewards/margins", "grad_norm"):
        fast, plain, sdpa = ([value for (value,) in runs[way].logged(name)] for way in ("fast", "plain", "sdpa"))
        assert len(fast) == 2
        assert fast == pytest.approx(plain, abs=1e-5, rel=1e-4) and fast == pytest.approx(sdpa, abs=1e-5, rel=1e-4)
