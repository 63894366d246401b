# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two ranks train a policy as one rank with accumulation 2 does: the same completions, losses to 1e-5."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from training.mixed import same_numbers
from training.policies import LORA, VARIANTS, completions, policy_recipe, write_policy
from training.test_ranks import ROOT, TWO_RANKS

# Prompts of half a micro-batch or a whole one are generated for together, whoever has them; of five held-out ones one
# rank generates three times and the other once.
ALIKE = {
    "rollout_batch_size": 2,
    "eval_dataset": "heldout",
    "eval_strategy": "steps",
    "eval_steps": 4,
    "eval_num_generations": 2,
}
FROZEN = {"freeze_vision_tower": True, "freeze_multi_modal_projector": True}
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": LORA,
    "frozen": {**LORA, **FROZEN},
    "accumulated": {**FROZEN, "gradient_accumulation_steps": 2},
}
TIMES = ("time/",)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def one_rank(train_many, data):
    """Runs with accumulation in place of the second rank, each when it is first asked for."""
    known = {}

    def run(variant, way):
        if (variant, way) not in known:
            changes = {**ALIKE, **WAYS[way]}
            changes["gradient_accumulation_steps"] = 2 * changes.get("gradient_accumulation_steps", 1)
            known[variant, way] = train_many({"one": policy_recipe(data, variant, **changes)})["one"]
            assert known[variant, way].returncode == 0, known[variant, way].output[-4000:]
        return known[variant, way]

    return run


def case(variant, way, stage):
    """Two cases are in the short suite: the critic and the reference under ZeRO-3, and adapters under DDP."""
    short = (variant, way, stage) in {("ppo", "full", "z3"), ("grpo", "lora", None)}
    return pytest.param(variant, way, stage, marks=() if short else pytest.mark.slow)


@pytest.mark.parametrize(
    ("variant", "way", "stage"), [case(*three) for three in product(VARIANTS, WAYS, ("z2", "z3", None))]
)
def test_two_ranks(variant, way, stage, data, one_rank, recipe, train):
    engine = {"deepspeed": str(ROOT / "examples" / "deepspeed" / f"ds_{stage}_config.json"), "use_cpu": None}
    changes = {**ALIKE, **WAYS[way], **(engine if stage else {})}
    two, one = train(recipe(**policy_recipe(data, variant, **changes)), **TWO_RANKS), one_rank(variant, way)
    together, alone = completions(two.output_dir), completions(one.output_dir)
    assert [line["completion"] for line in together] == [line["completion"] for line in alone]
    assert len({line["tokens"] for line in alone}) > 3, "answers differ in length"
    same_numbers(two, one, but=TIMES)
