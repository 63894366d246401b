# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The pass of the reference in parts: which rows are left, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from resonance.forward.result import TokenLogps
from resonance.reference import fill
from resonance.reference.fill import Row, missing_rows
from resonance.reference.keys import named_key
from resonance.reference.store import ReferenceStore
from resonance.training.reference import PAIR_COLUMNS

KEYS = [bytes([number]) * 16 for number in range(6)]


def tokens(value):
    """One pair: two tokens of `value` in the chosen response, one in the rejected."""
    mask = torch.tensor([[True, True], [True, False]])
    return TokenLogps({"logp": mask * value}, mask)


def opened(folder):
    return ReferenceStore(folder, {"template": "t"}, {}, responses=2)


def test_a_kill_keeps_what_was_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(fill, "FLUSH_SECONDS", 0.0)
    store = opened(tmp_path)
    store.begin()
    child = os.fork()
    if child == 0:
        try:
            writer = fill._Writer(store)
            for number, key in enumerate(KEYS):
                if number == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
                writer.add([key], tokens(-1.0 - number))
        finally:
            os._exit(1)  # or a child that fails would go on with the other tests
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    again = opened(tmp_path)
    rows = [Row(key, 0, place, 10) for place, key in enumerate(KEYS)]
    assert [row.key for row in missing_rows(rows, again)] == KEYS[4:]
    assert again.lookup(KEYS[:4], means=False).tolist() == [[-2 * n, -n] for n in (1.0, 2.0, 3.0, 4.0)]
    assert again.lookup(KEYS[:4], means=True).tolist() == [[-n, -n] for n in (1.0, 2.0, 3.0, 4.0)]


def test_shards_are_written_now_and_then_and_company_calls_are_not(tmp_path):
    store = opened(tmp_path)
    store.begin()
    writer = fill._Writer(store)
    for key in KEYS:
        writer.add([key], tokens(-1.0))
        writer.add(None, tokens(-9.0))
    assert list(tmp_path.glob("shard-*")) == []
    writer.flush()
    writer.flush()
    assert len(list(tmp_path.glob("shard-*"))) == 1 and len(opened(tmp_path)) == len(KEYS)


def test_the_longest_of_each_distinct_row_comes_first(tmp_path):
    rows = [Row(KEYS[0], 0, 0, 5), Row(KEYS[1], 0, 1, 9), Row(KEYS[0], 1, 0, 5), Row(KEYS[2], 1, 1, 7)]
    assert [row.key for row in missing_rows(rows, opened(tmp_path))] == [KEYS[1], KEYS[2], KEYS[0]]


def test_a_row_whose_picture_is_gone_is_named(tmp_path):
    row = {name: [1] for name in ("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")}
    row |= {"images": [str(tmp_path / "gone.png")], "_source": "pairs.json", "_row": 7}
    with pytest.raises(ValueError, match=r"the media of pairs\.json row 7 .*gone\.png"):
        named_key(row, PAIR_COLUMNS)
