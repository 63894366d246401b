# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A column declared in `fields.CARRIED` travels from dataset_info.json to the batch; no other file names it."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, math
from types import SimpleNamespace
from resonance.rows import fields
trust = fields.Column("trust", "scores", fields.score_problem, float, math.nan)
fields.CARRIED = (*fields.CARRIED, trust)  # before any other file reads the list
from resonance.rows import tokenize
from resonance.rows.attributes import ScoredDatasetAttr
from resonance.rows.collate import stack_carried
from resonance.rows.convert import get_dataset_converter
from resonance.rows.plan import RowPlan

attr = ScoredDatasetAttr("file", "pairs.json", ranking=True)
names = {"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": "s", "score_rejected": "t", "trust": "w"}
attr.join({"ranking": True, "columns": names})
raw = {"q": "?", "a": "yes", "b": "no", "s": 4, "t": 1.5, "w": 2, "_source": "pairs.json", "_row": 7}
aligned = {}
for needed in (True, False):
    data_args = SimpleNamespace(row_plan=RowPlan(needed), media_dir=None)
    aligned[needed] = get_dataset_converter("alpaca", attr, data_args)(raw)
kept = {name: aligned[True][before] for before, name in tokenize.KEPT.items() if before in aligned[True]}
batch = {name: tensor.tolist() for name, tensor in stack_carried([kept, kept]).items()}
print(json.dumps({"kept": kept, "batch": batch, "without": sorted(name for name in aligned[False] if name in
                  ("_trust", "_score_chosen", "_score_rejected"))}))
"""


def test_a_new_column_is_one_entry_of_the_list() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    scores = {"score_chosen": 4.0, "score_rejected": 1.5, "trust": 2.0}
    assert found["kept"] == {"_source": "pairs.json", "_row": 7, **scores}
    assert found["batch"] == {name: [value, value] for name, value in scores.items()}
    assert found["without"] == []
