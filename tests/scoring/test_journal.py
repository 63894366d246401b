# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Answers on disk: half a line, another process, failures of a run that has ended."""

from __future__ import annotations

import json
import math

import pytest

from resonance.scoring.journal import Journal
from resonance.scoring.types import REFUSED, Verdict

GOOD, BAD = Verdict((3.0,), "fine", "", (10, 2)), Verdict((), "I cannot", REFUSED)


def test_what_is_kept_comes_back(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.put({"a": GOOD, "b": BAD})
    with Journal(tmp_path / "j") as journal:
        assert journal.known == {"a": GOOD, "b": BAD} and journal.unfinished
        journal.finish()
    with Journal(tmp_path / "j") as journal:
        assert journal.known == {"a": GOOD}, "what failed is asked again once a run has come to its end"
        assert not journal.unfinished


def test_every_place_where_a_process_may_be_killed(tmp_path):
    with Journal(tmp_path / "j") as journal:
        for name in "abc":
            journal.put({name: GOOD})
    content = (tmp_path / "j").read_bytes()
    for length in range(len(content)):
        (tmp_path / "k").write_bytes(content[:length])
        with Journal(tmp_path / "k") as journal:
            journal.put({"z": GOOD})
        with Journal(tmp_path / "k") as journal:
            whole = [name for name in "abc" if name in journal.known]
            assert list(journal.known) == [*whole, "z"] and set(journal.known.values()) == {GOOD}
            assert len(whole) >= content[:length].count(b"\n") - 1


def test_numbers_that_are_none_are_not_trusted(tmp_path):
    line = {"key": "a", "scores": [math.nan], "failed": "", "reason": "", "tokens": [0, 0]}
    both = {"key": "b", "scores": [1.0], "failed": REFUSED, "reason": "", "tokens": [0, 0]}
    (tmp_path / "j").write_text('{"resonance_score": 1}\n' + "".join(json.dumps(each) + "\n" for each in (line, both)))
    with Journal(tmp_path / "j") as journal:
        assert journal.known == {}


def test_two_processes_and_other_files_are_refused(tmp_path):
    with Journal(tmp_path / "j"), pytest.raises(ValueError, match="another process is asking"):
        Journal(tmp_path / "j")
    (tmp_path / "data.json").write_text('[{"a": 1}]')
    with pytest.raises(ValueError, match="is no list of answers"):
        Journal(tmp_path / "data.json")
    assert (tmp_path / "data.json").read_text() == '[{"a": 1}]'
