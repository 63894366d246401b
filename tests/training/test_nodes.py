# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Nodes with disks of their own, and a rank that stops alone: what is said, and that all ranks stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from resonance.training import empty, nodes, together
from resonance.training.context import RunIsOver
from resonance.training.nodes import Seen, check_nodes, problems


def seen(rank: int, checkpoint: str | None = None, tokenized: bool = False, output: bool = True) -> Seen:
    return Seen(rank, f"host{rank}", checkpoint, tokenized, output)


def test_nodes_that_see_the_same_are_left_alone():
    same = [seen(rank, "checkpoint-4", True) for rank in range(4)]
    assert not problems(same, "saves", "tokens", False)
    apart = [seen(0), seen(1, output=False)]
    assert not problems(apart, "saves", None, True) and not problems(apart, "saves", None, False)


@pytest.mark.parametrize(
    ("everyone", "on_each_node", "said"),
    [
        (
            [seen(0, "checkpoint-4"), seen(1)],
            False,
            "rank 0 (host0): checkpoint-4; rank 1 (host1): none. The nodes do not share output_dir (saves)",
        ),
        (
            [seen(0), seen(1, tokenized=True), seen(2)],
            False,
            "tokenized_path: tokens holds a set on rank 1 (host1), and none on rank 0 (host0), rank 2 (host2)",
        ),
        (
            [seen(0), seen(1, output=False), seen(2)],
            True,
            "save_on_each_node: rank 0 (host0) and rank 2 (host2) share output_dir (saves)",
        ),
    ],
)
def test_what_they_see_differently_is_named(everyone, on_each_node, said):
    (problem,) = problems(everyone, "saves", "tokens", on_each_node)
    assert said in problem


class Ranks:
    """Stands for `gather_object`: this rank's values, and what the second rank gave."""

    def __init__(self, *others: Any) -> None:
        self.others = list(others)

    def __call__(self, mine: list[Any]) -> list[Any]:
        return [*mine, self.others.pop(0)]


def test_one_rank_s_error_is_raised_on_all(monkeypatch):
    monkeypatch.setattr(together, "gather_object", Ranks(None, "KeyError: 'answer'", None))
    assert together.on_all_ranks(lambda: 3) == 3
    with pytest.raises(ValueError, match=r"Rank 1 stopped, and all others with it\. KeyError: 'answer'"):
        together.on_all_ranks(lambda: 3)
    with pytest.raises(ZeroDivisionError):  # its own, with the place where it was raised
        together.on_all_ranks(lambda: 1 // 0)


@pytest.fixture
def two_nodes(monkeypatch, tmp_path):
    """Checks a run of two nodes as its first rank; `others` are what the second one gathers."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setattr(together, "gather_object", lambda mine: [*mine, None])

    def check(other: Seen, **changes: Any) -> str:
        given = {"do_train": True, "output_dir": str(tmp_path / "out"), "save_strategy": "steps", "process_index": 0}
        given |= {"save_on_each_node": False, "resume_from_checkpoint": None, **changes}
        monkeypatch.setattr(nodes, "gather_object", Ranks("its file", 1, other))
        warnings: list[str] = []
        monkeypatch.setattr(nodes.logger, "warning_rank0", warnings.append)
        check_nodes(SimpleNamespace(tokenized_path=None), SimpleNamespace(**given))
        assert not list((tmp_path / "out").iterdir()), "what was written to look at is gone"
        return "".join(warnings)

    return check


def test_a_disk_that_is_not_shared_is_warned_of(two_nodes):
    assert not two_nodes(seen(1))
    warning = two_nodes(seen(1, output=False))
    assert "rank 1 (host1) does not see what rank 0 (" in warning and "`save_on_each_node: true`" in warning
    assert not two_nodes(seen(1, output=False), save_on_each_node=True)


def test_ranks_go_on_from_one_checkpoint_or_none_does(two_nodes):
    with pytest.raises(ValueError, match="would not go on from the same checkpoint"):
        two_nodes(seen(1), resume_from_checkpoint="saves/checkpoint-4")
    assert not two_nodes(seen(1, "checkpoint-4"), resume_from_checkpoint="saves/checkpoint-4")


def test_on_one_machine_nothing_is_looked_for(two_nodes, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(nodes, "gather_object", None)
    check_nodes(SimpleNamespace(tokenized_path=None), SimpleNamespace())


def test_a_run_that_is_finished_on_the_first_node_is_so_on_all(monkeypatch, tmp_path):
    state, where = SimpleNamespace(max_steps=2, global_step=2), SimpleNamespace(output_dir=str(tmp_path))
    monkeypatch.setattr(empty, "gather_object", lambda mine: [True, *mine])  # this is the second one
    with pytest.raises(RunIsOver):
        empty.StepWatch().on_train_begin(where, state, None)
    monkeypatch.setattr(empty, "gather_object", lambda mine: [False, *mine])
    empty.StepWatch().on_train_begin(where, state, None)
