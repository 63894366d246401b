# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two ranks of which only one has pictures at a step: nobody waits for ever, and the numbers are those of one rank."""

from __future__ import annotations

import pytest

from resonance.forward.names import SPEEDUPS
from training.mixed import PICTURES, on_off, same_numbers, write_mixed
from training.test_ranks import ROOT, TWO_RANKS

COMMON = {"pref_loss": "uni_dpo", "learning_rate": 2e-3, "per_device_train_batch_size": 2}
FROZEN = {"freeze_vision_tower": True, "freeze_multi_modal_projector": True}
LORA = {"finetuning_type": "lora", "lora_rank": 4, **FROZEN}
CACHED = {"precompute_ref_log_probs": True}
ONE = {"full": {}, "frozen": FROZEN, "lora": LORA}
ON = set(SPEEDUPS)
TIMEOUT = 600  # a rank that waits for the other would wait for half an hour


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def one_rank(train_many, data):
    """Without any speed-up, and with accumulation in place of the second rank."""
    plain = {**data, **COMMON, "gradient_accumulation_steps": 2, "pref_speedups": "off"}
    found = train_many({name: {**plain, **changes} for name, changes in ONE.items()})
    for run in found.values():
        assert run.returncode == 0, run.output[-4000:]
    return found


def test_the_set_has_such_steps():
    steps = [[any(PICTURES[i : i + 2]) for i in (start, start + 2)] for start in range(0, len(PICTURES), 4)]
    assert steps == [[False, True], [True, False], [True, False], [False, False]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "way", "changes"),
    [
        ("z3", "frozen", {}),
        ("z3", "full", {}),
        ("z3", "lora", {}),
        ("z3", "frozen", {"pref_speedups": "off"}),
        ("z3", "frozen", CACHED),
        (None, "frozen", {}),
    ],
    ids=lambda value: str(value) if not isinstance(value, dict) else "-".join(value) or "auto",
)
def test_only_one_rank_has_pictures(stage, way, changes, data, one_rank, recipe, train):
    engine = {"deepspeed": str(ROOT / "examples" / "deepspeed" / f"ds_{stage}_config.json"), "use_cpu": None}
    changed = recipe(**{**data, **COMMON, **ONE[way], **changes, **(engine if stage else {})})
    run = train(changed, timeout=TIMEOUT, **TWO_RANKS)
    assert on_off(run)[0] == (set() if "pref_speedups" in changes else ON)
    assert len(run.logged("loss")) == len(PICTURES) // 4
    same_numbers(run, one_rank[way])
