# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a judge is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Pair = Mapping[str, Any]  # messages, chosen, rejected, images, raw and origin, as they are read from a data set

REFUSED = "refused to judge"
UNREADABLE = "no score that can be used"
LEFT_OUT = "left out by the judge"
NO_ANSWER = "no answer from the server"
NOT_ASKED = "not asked"
NO_ROW = "the row cannot be read"


@dataclass(frozen=True)
class Ask:
    """A question to a judge.

    Attributes:
        pair: what it is about.
        answers: those that are scored together: one, or both of a pair in either order.
        where: from which row, for messages.
        key: what the answer is known by.
    """

    pair: Pair
    answers: tuple[str, ...]
    where: str
    key: str = ""


@dataclass(frozen=True)
class Verdict:
    """An answer of a judge.

    Attributes:
        scores: one for each of the answers asked about; empty where there is none that can be used.
        reason: of the judge, or why there are no scores.
        failed: which kind of failure, empty for none.
        tokens: in and out, as a chat server counted them.
    """

    scores: tuple[float, ...]
    reason: str = ""
    failed: str = ""
    tokens: tuple[int, int] = (0, 0)


class Judge(Protocol):
    """Scores answers.

    Attributes:
        batch_size: most questions of a call.
        concurrency: calls at a time.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    def decides(self, ask: Ask) -> Mapping[str, Any]:
        """All beside the pictures that decides an answer, as JSON values."""
        ...

    def request(self, ask: Ask) -> Any:
        """What it is sent about one question, to be shown."""
        ...

    def answer(self, asks: Sequence[Ask]) -> list[Verdict]:
        """A verdict each. ServerError where a server fails; RewardError where there is none for the whole batch."""
        ...

    def tokens(self, ask: Ask) -> int:
        """About how many tokens a question takes; 0 where they do not count."""
        ...

    def check(self) -> None:
        """ValueError where it cannot be asked; before the first question."""
        ...
