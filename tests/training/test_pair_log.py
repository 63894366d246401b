# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`pairs.jsonl`, without a run; tests of runs look at it in test_resume.py, test_ranks.py and test_evaluation.py."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resonance.training import pair_log
from resonance.training.pair_log import FILE, PairLog, StartOfPairs

FIELDS = [
    "step", "split", "dataset", "row", "score_margin", "margin", "reward_margin", "logp_chosen", "logp_rejected",
    "ref_logp_chosen", "ref_logp_rejected", "len_chosen", "len_rejected", "w_qual", "w_perf",
]  # fmt: skip


@pytest.fixture
def log(tmp_path):
    made = PairLog(str(tmp_path), {"data/pairs.json": "pairs"}.__getitem__, writes=True)
    made.start(lambda record: False)
    return made


def names(*numbers, **more):
    return [{"_source": "data/pairs.json", "_row": number, **more} for number in numbers]


def lines(log):
    return [json.loads(line) for line in log.lines.path.read_text().splitlines()]


def test_a_line_has_every_field_and_null_for_what_is_not_known(log):
    values = {
        "margin": torch.tensor([1 / 3, math.nan], requires_grad=True),
        "len_chosen": torch.tensor([7, 9]),
        "reward_margin": torch.tensor([-1e-7, math.inf]),
    }
    log.add(3, "train", [*names(5, score_chosen=4.0, score_rejected=1.5), {}], values)
    log.flush()
    first, second = lines(log)
    assert list(first) == list(second) == FIELDS
    assert {name: value for name, value in first.items() if value is not None} == {
        "step": 3, "split": "train", "dataset": "pairs", "row": 5, "score_margin": 2.5, "margin": 0.333333,
        "reward_margin": -1e-7, "len_chosen": 7,
    }  # fmt: skip
    assert isinstance(first["len_chosen"], int)
    assert {name: value for name, value in second.items() if value is not None} == {
        "step": 3, "split": "train", "len_chosen": 9,
    }  # fmt: skip


def test_rows_that_fill_up_a_batch_are_left_out(log):
    log.add(0, "eval", names(1, 2), {"margin": torch.tensor([0.1, 0.2, 9.0, 9.0])})
    log.add(0, "eval", [], {"margin": torch.tensor([9.0])})
    log.flush()
    assert [(record["row"], record["margin"]) for record in lines(log)] == [(1, 0.1), (2, 0.2)]


def test_pairs_of_all_ranks_are_written_once_in_the_order_of_steps(log, monkeypatch, tmp_path):
    other = PairLog(str(tmp_path / "other"), str, writes=False)
    exchanged = []
    monkeypatch.setattr(pair_log, "gather_object", lambda mine: exchanged.extend(mine) or [])
    other.add(1, "train", names(2, 3), {"margin": torch.tensor([2.0, 3.0])})
    other.add(2, "train", names(0), {"margin": torch.tensor([0.5])})
    other.flush()
    assert not (tmp_path / "other").exists() and len(exchanged) == 2
    monkeypatch.setattr(pair_log, "gather_object", lambda mine: [*mine, *exchanged])
    log.add(1, "train", names(0, 1), {"margin": torch.tensor([0.0, 1.0])})
    log.add(2, "train", names(0), {"margin": torch.tensor([0.5])})
    log.flush()
    assert [(r["step"], r["row"]) for r in lines(log)] == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]


def test_adding_does_not_read_the_device_and_a_flush_reads_once(log, monkeypatch):
    """`meta` tensors hold no numbers: whoever reads one fails."""
    log.add(1, "train", names(0), {"margin": torch.empty(1, device="meta")})
    log.add(1, "train", names(1), {"margin": torch.empty(1, device="meta")})
    read = []
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: read.append(self.shape) or [0.0] * len(self))
    log.flush()
    assert read == [(2,)] and len(lines(log)) == 2
    log.flush()
    assert len(read) == 1 and len(lines(log)) == 2, "what is written is not written again"


@pytest.mark.parametrize(
    "step, again, expected",
    [
        (0, False, []),
        (2, False, [("train", 1), ("eval", 1), ("train", 2), ("eval", 2)]),
        (2, True, [("train", 1), ("eval", 1), ("train", 2)]),
    ],
)
def test_a_resumed_run_keeps_what_its_checkpoint_has_seen(tmp_path, step, again, expected):
    seen = [{"split": split, "step": at} for at in (1, 2, 3) for split in ("train", "eval")]
    text = "".join(json.dumps(record) + "\n" for record in seen)
    (tmp_path / FILE).write_text(text + '{"split": "train", "st')
    log = PairLog(str(tmp_path), str, writes=True)
    StartOfPairs(log).on_train_begin(
        SimpleNamespace(eval_on_start=again), SimpleNamespace(global_step=step), SimpleNamespace()
    )
    assert [(record["split"], record["step"]) for record in lines(log)] == expected


def test_an_evaluation_is_recorded_once_a_step(log):
    asked = [(4, "eval_a"), (4, "eval_b"), (4, "eval_a"), (8, "eval_a")]
    assert [log.start_evaluation(*each) for each in asked] == [True, True, False, True]


def test_above_its_limit_evaluations_alone_are_recorded(log, monkeypatch):
    monkeypatch.setattr(pair_log, "LIMIT", 600)
    warned = []
    monkeypatch.setattr(pair_log.logger, "warning_rank0", warned.append)
    for step in range(1, 6):
        for split in ("train", "eval"):
            log.add(step, split, names(step), {"margin": torch.ones(1)})
        log.flush()
    splits = [record["split"] for record in lines(log)]
    assert splits.count("eval") == 5 and 0 < splits.count("train") < 5
    assert len(warned) == 1 and "`record_pairs: false` in the recipe records none" in warned[0]


def test_bytes_a_pair(log):
    """What docs/pairs.md states."""
    columns = FIELDS[5:]
    log.add(123456, "train", names(123456, score_chosen=4.25, score_rejected=1.0), {
        name: torch.tensor([-123.456]) for name in columns
    })  # fmt: skip
    log.flush()
    assert 300 < log.lines.size < 360


def test_the_page_has_every_field():
    page = (Path(__file__).parents[2] / "docs" / "pairs.md").read_text(encoding="utf-8")
    examples = [json.loads(line) for line in page.splitlines() if line.startswith("{")]
    assert [list(example) for example in examples] == [FIELDS, FIELDS]
    table = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(FIELDS)
