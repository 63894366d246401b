# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What travels into worker processes can be pickled, and caches are keyed by what changes their meaning."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import dill
import pytest

PLUGIN = Path(__file__).parents[2] / "plugin"

HASHES = """
import sys
from types import SimpleNamespace
from datasets.fingerprint import Hasher
from llamafactory.hparams import DataArguments
from resonance.rows.attributes import ScoredDatasetAttr
from resonance.rows.convert import get_dataset_converter
from resonance.rows.validate.rules import make_row_checker
from resonance.rows.plan import RowPlan
from resonance.rows.tokenize import PreferenceDatasetProcessor

attr = ScoredDatasetAttr("file", "pairs.json", score_chosen="a", score_rejected="b", ranking=True)
data_args = DataArguments(template="qwen2_vl", dataset="pairs")
for plan in (RowPlan(True), RowPlan(False), RowPlan(True, schema_version=999)):
    data_args.row_plan = plan
    processor = PreferenceDatasetProcessor(None, None, None, data_args)
    things = (get_dataset_converter("alpaca", attr, data_args), make_row_checker(attr, data_args, plan).check_table,
              processor.preprocess_dataset)
    print("HASHES", *(Hasher.hash(thing) for thing in things))
"""


def hashes(seed: str) -> list[list[str]]:
    env = os.environ | {"PYTHONPATH": str(PLUGIN), "PYTHONHASHSEED": seed, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", HASHES], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("HASHES")]


def test_fingerprints_are_the_same_in_every_process_and_follow_the_plan():
    first, second = hashes("1"), hashes("2")
    assert first == second
    scored, unscored, newer = first
    assert len(scored) == 3
    assert all(len({a, b, c}) == 3 for a, b, c in zip(scored, unscored, newer, strict=True))


def test_everything_that_enters_a_map_survives_a_pickle():
    from llamafactory.hparams import DataArguments

    from resonance.rows.attributes import ScoredDatasetAttr
    from resonance.rows.convert import get_dataset_converter
    from resonance.rows.plan import RowPlan
    from resonance.rows.validate.dataset import StreamChecker
    from resonance.rows.validate.row_log import RowLog, StreamWarnings
    from resonance.rows.validate.rules import make_row_checker

    attr = ScoredDatasetAttr("file", "pairs.json", score_chosen="a", score_rejected="b", ranking=True)
    data_args = DataArguments(template="qwen2_vl", dataset="pairs")
    data_args.row_plan = RowPlan(True)
    checker = make_row_checker(attr, data_args, RowPlan(True))
    warnings = StreamWarnings(RowLog("skipped.jsonl", True, {("a", 1)}), "skipped", {("a", 1)})
    for thing in (
        attr,
        get_dataset_converter("sharegpt", attr, data_args),
        checker,
        StreamChecker("pairs", checker, warnings),
    ):
        copy = dill.loads(dill.dumps(thing))
        assert type(copy) is type(thing) and copy == thing


def test_second_load_reads_the_cache(data, load, make_pair, monkeypatch):
    data.write([make_pair(i) for i in range(4)])
    first = load()
    monkeypatch.setattr("resonance.rows.convert.ScoredConverter.__call__", lambda *_: pytest.fail("converted again"))
    monkeypatch.setattr("llamafactory.data.processor.pairwise.PairwiseDatasetProcessor.preprocess_dataset", None)
    assert list(load().train) == list(first.train)


def test_several_processes_give_the_same_rows(data, load, make_pair):
    data.write([{**make_pair(i), "images": [f"images/{i % 6}.png"]} for i in range(8)], "pairs.jsonl")
    plain = list(load().train)
    assert list(load(preprocessing_num_workers=2, overwrite_cache=True).train) == plain


def test_plan_and_attributes_are_light():
    """Reading the field names or the plan loads neither torch nor LlamaFactory."""
    code = "import sys, resonance.rows.fields, resonance.rows.plan, resonance.rows.validate.findings; "
    code += "sys.exit(any(m in sys.modules for m in ('torch', 'llamafactory', 'datasets', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(PLUGIN)}).returncode == 0


def test_description_reads_and_prints_as_llamafactorys():
    from resonance.rows.attributes import ScoredDatasetAttr

    attr = ScoredDatasetAttr("file", dataset_name="pairs.json")
    attr.join({"ranking": True, "columns": {"chosen": "good", "score_chosen": "s"}})
    assert repr(attr) == "pairs.json"
    assert (attr.chosen, attr.score_chosen, attr.score_rejected) == ("good", "s", None)
    assert {f.name for f in dataclasses.fields(attr)} >= {"score_chosen", "score_rejected"}
