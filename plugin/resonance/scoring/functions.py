# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Functions and reward models as judges: those that a recipe's `rewards:` may name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..rewards import Completions, Reward, RewardError, make_rewards, reward_problems, score
from ..rewards.judges.chat import prompt_text
from ..rewards.spec import INPUTS
from .keys import of_files
from .types import LEFT_OUT, UNREADABLE, Ask, Verdict


@dataclass(frozen=True)
class RewardJudge:
    """Attributes: reward: what scores. identity: what it is known by. columns: whether it reads columns of the data.
    batch_size: answers of a call. scale: the range of scores that count, None for any."""

    reward: Reward
    identity: Mapping[str, Any]
    columns: bool
    batch_size: int
    scale: tuple[float, float] | None = None
    concurrency: int = 1

    def decides(self, ask: Ask) -> Mapping[str, Any]:
        return {"judge": self.identity, "scale": self.scale, **self.request(ask)}

    def request(self, ask: Ask) -> dict[str, Any]:
        columns = {"columns": columns_of(ask)} if self.columns else {}
        return {"messages": ask.pair["messages"], "completion": ask.answers[0], **columns}

    def answer(self, asks: Sequence[Ask]) -> list[Verdict]:
        batch = completions_of(asks, self.columns)
        try:
            (values,) = score([self.reward], batch).parts.values()
        except ValueError as error:  # it raised, or returned what is no number
            raise RewardError(str(error)) from error
        return [verdict_of(value, "", self.scale) for value in values]

    def tokens(self, ask: Ask) -> int:
        return 0

    def check(self) -> None:
        self.reward.check()


def function_judge(
    name: str,
    params: Mapping[str, Any],
    known: Collection[str],
    batch_size: int,
    scale: tuple[float, float] | None = None,
) -> RewardJudge:
    """A function "module:function" or a built-in reward.

    Args:
        name: of it.
        params: as in an entry of a recipe's `rewards:`.
        known: columns of the data.
        batch_size: answers of a call.
        scale: the range of scores that count.

    Raises:
        ValueError: all that is wrong with it.
    """
    entry = {"function" if ":" in name else "name": name, **params}
    reward = _reward(entry, f"--function {name}", set(known) - {*INPUTS})
    module = sys.modules.get(name.partition(":")[0])
    source = inspect.getsourcefile(module) if module is not None else None
    identity = {"entry": entry, "source": of_files(Path(source)) if source else ""}
    return RewardJudge(reward, identity, True, batch_size, scale)


def model_judge(
    folder: str, options: Mapping[str, Any], batch_size: int, scale: tuple[float, float] | None = None
) -> RewardJudge:
    """A reward model in the `output_dir` of a `stage: rm` run.

    Args:
        folder: of it.
        options: `base`, `template`, `device`.
        batch_size: answers that are read together.
        scale: the range of scores that count.

    Raises:
        ValueError: all that is missing in the folder.
    """
    entry = {"model": folder, **options, "batch_size": batch_size}
    reward = _reward(entry, f"--rm {folder}", None)
    reward = replace(reward, check=lambda: _load(reward))
    identity = {"options": dict(options), "files": of_files(Path(folder))}
    return RewardJudge(reward, identity, False, batch_size, scale)


def _load(reward: Reward) -> None:
    """A reward model is loaded with the first batch: one that cannot be is no fault of an answer."""
    score([reward], Completions(["."], ["?"], [[]], messages=[[{"role": "user", "content": "?"}]]))


def _reward(entry: Mapping[str, Any], title: str, known: Collection[str] | None) -> Reward:
    if problems := reward_problems([entry], known):
        raise ValueError("\n  ".join(f"{title}: {problem.partition(': ')[2]}" for problem in problems))
    (reward,) = make_rewards([entry], known)
    return replace(reward, title=title, weight=1.0, timeout=None)


def completions_of(asks: Sequence[Ask], columns: bool | Sequence[str]) -> Completions:
    """Questions about one answer each, as rewards are given them.

    Args:
        asks: the questions.
        columns: of the data that go with them; True for all, False for none.
    """
    rows = [columns_of(ask) for ask in asks]
    names = dict.fromkeys(name for row in rows for name in row) if isinstance(columns, bool) else columns
    return Completions(
        [ask.answers[0] for ask in asks],
        [prompt_text(ask.pair["messages"]) for ask in asks],
        [ask.pair["images"] for ask in asks],
        columns={name: [row.get(name) for row in rows] for name in names} if columns else {},
        origins=[ask.where for ask in asks],
        messages=[ask.pair["messages"] for ask in asks],
    )


def columns_of(ask: Ask) -> dict[str, Any]:
    """Columns of the row, without those whose names rewards use for something else."""
    return {name: value for name, value in ask.pair["raw"].items() if name not in INPUTS}


def verdict_of(value: float | None, reason: str, scale: tuple[float, float] | None) -> Verdict:
    """What a number, or None, that a judge has given comes to."""
    if value is None:
        return Verdict((), reason or "it gave no score", LEFT_OUT)
    if scale is not None and not scale[0] <= value <= scale[1]:
        return Verdict((), f"the score is {value:g}, but --scale is {scale[0]:g} to {scale[1]:g}", UNREADABLE)
    return Verdict((value,), reason)
