# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rewards of a recipe on the columns of its data, and what rewards completions with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory.extras import logging

from ..rewards import Completions, Reward, Scores, make_rewards, reward_problems, score
from ..rewards.spec import INPUTS
from ..rollout.types import Completion
from ..rows.fields import MESSAGES, ROW, SOURCE
from ..rows.prompts import columns_by_source, messages_of, meta_of

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

Row = Mapping[str, Any]


@dataclass
class Judge:
    """From completions to rewards.

    Attributes:
        rewards: of the recipe.
        columns: of the data, that rewards may read; a row that lacks one has None there.
        decode: token ids to text, without special tokens unless it is called with `skip_special_tokens=False`.
    """

    rewards: Sequence[Reward]
    columns: Sequence[str]
    decode: Callable[..., str]

    def prompt(self, row: Row) -> str:
        """A row's prompt as text."""
        return self.decode(row["input_ids"])

    def __call__(self, rows: Sequence[Row], completions: Sequence[Completion]) -> tuple[list[str], Scores]:
        """Texts of completions, and their scores.

        Args:
            rows: one a completion.
            completions: of the rows.

        Raises:
            ValueError: a reward failed; names it, the completion and the row.
        """
        texts = [self.decode(one.token_ids) for one in completions]
        carried = [meta_of(row) for row in rows]
        batch = Completions(
            texts,
            [self.prompt(row) for row in rows],
            [row.get("images") or [] for row in rows],
            [one.token_ids for one in completions],
            {name: [columns.get(name) for columns in carried] for name in self.columns},
            [f"{row[SOURCE]}, row {row[ROW]}" for row in rows],
            [messages_of(row) for row in rows] if all(MESSAGES in row for row in rows) else None,
            lambda i: self.decode([*rows[i]["input_ids"], *completions[i].token_ids], skip_special_tokens=False),
        )
        return texts, score(self.rewards, batch)


def make_judge(entries: list[Mapping[str, Any]], rows: Mapping[str, Any], decode: Callable[..., str]) -> Judge:
    """The judge of a recipe, checked against its data.

    Args:
        entries: of `rewards:`.
        rows: tokenized sets by name, or dicts of such.
        decode: token ids to text, without special tokens.

    Raises:
        ValueError: a column has the name of something else that rewards get; or a reward reads a column that no set
            has, all that is wrong with all rewards; or a judge is not there.
    """
    sets = [part for one in rows.values() for part in (one.values() if isinstance(one, dict) else [one])]
    sources = [found for part in sets for found in columns_by_source(part).items()]
    known = list(dict.fromkeys(name for _, columns in sources for name in columns))
    if clash := [name for name in known if name in INPUTS]:
        raise ValueError(
            f"The data has columns that rewards know under these names already: {', '.join(clash)}. Rename them, or "
            'name those that rewards read in the dataset_info.json entry: "columns": {"meta": ["answer", ...]}.'
        )
    rewards = make_rewards(entries, known)
    for source, columns in sources:
        for problem in reward_problems(entries, columns):
            logger.warning_rank0(f"{source}: {problem}. Where it has no value for a reward, the reward is left out.")
    for reward in rewards:
        try:
            reward.check()
        except ValueError as error:
            raise ValueError(f"{reward.title}: {error}") from error
    return Judge(rewards, known, decode)
