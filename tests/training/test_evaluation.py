# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An evaluation gives the same numbers whatever the batch size and the number of ranks."""

from __future__ import annotations

import json

import pytest

from conftest import DATA
from training.test_ranks import TWO_RANKS

ROWS = 40
ALONE = {"do_train": None, "dataset": None, "do_eval": True, "eval_dataset": "pairs", "save_strategy": None}


@pytest.fixture
def forty(tmp_path):
    """The golden pairs and the first of them again, the other way round."""
    folder = tmp_path / "data"
    folder.mkdir()
    pairs = json.loads((DATA / "pairs.json").read_text())
    turned = [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs[: ROWS - len(pairs)]]
    (folder / "pairs.json").write_text(json.dumps(pairs + turned))
    (folder / "dataset_info.json").write_text((DATA / "dataset_info.json").read_text())
    return str(folder)


def results(run):
    found = json.loads((run.output_dir / "all_results.json").read_text())
    return {name: value for name, value in found.items() if not name.endswith(("time", "per_second"))}


def test_a_recipe_that_evaluates_and_no_more_counts_each_row_once(recipe, train, tmp_path, forty):
    """LlamaFactory's trainer, which runs `simpo` otherwise, would give the last 8 rows the weight of the first 32."""
    alone = recipe(**ALONE, dataset_dir=forty, pref_loss="simpo", pref_beta=2.0)
    short = results(train({**alone, "per_device_eval_batch_size": 32, "output_dir": str(tmp_path / "short")}))
    ranks = {**alone, "per_device_eval_batch_size": 16, "output_dir": str(tmp_path / "ranks")}
    filled_up = results(train(ranks, **TWO_RANKS))
    accuracies = [short[f"eval_{name}"] for name in ("rewards/accuracies", "accuracies/policy")]
    assert accuracies[0] == accuracies[1] == pytest.approx(round(accuracies[0] * ROWS) / ROWS, abs=1e-6)
    for folder in ("short", "ranks"):
        lines = [json.loads(line) for line in (tmp_path / folder / "pairs.jsonl").read_text().splitlines()]
        seen = [(line["step"], line["split"], line["dataset"], line["row"]) for line in lines]
        assert sorted(seen) == [(0, "eval", "pairs", row) for row in range(ROWS)]
        right = [line["logp_chosen"] > line["logp_rejected"] for line in lines]
        assert sum(right) / ROWS == pytest.approx(accuracies[0], abs=1e-6)
    # the mean logit of a batch is one over its tokens
    off = {name: 1e-3 if "logits/" in name else 1e-5 for name in short}
    assert filled_up == {name: pytest.approx(value, rel=off[name], abs=1e-6) for name, value in short.items()}
