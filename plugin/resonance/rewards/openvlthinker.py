# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The reward that OpenVLThinker was trained with."""

from __future__ import annotations

import re

from .answers import same_value
from .spec import Completions, declare_reward

ANSWER = re.compile(r"<answer>(.*?)</answer>")


@declare_reward(paper="arXiv:2503.17352", columns=("answer",))
def r1v(batch: Completions) -> list[float | None]:
    """1 where the answer is right, 1/2 where nothing is said between the thinking and the answer, else 0.

    The answer is what the first `<answer>...</answer>` on one line holds, or else the whole completion. It is right
    where it is the text in the data but for case, or the same number, or, with math_verify, the same expression. The
    authors grade with mathruler; their reward for the format does not count in the total, and has no place here.

    Compared with: repository yihedeng9/OpenVLThinker, 6997b47, reward_function/r1v.py.

    Args:
        batch: completions, with the column `answer`; a row whose answer is null is left out.
    """

    def reward(completion: str, answer: object) -> float | None:
        if answer is None:
            return None
        truth, found = str(answer).strip(), ANSWER.search(completion)
        given = (found[1] if found else completion).strip()
        if given.lower() != truth.lower() and not same_value(given, truth):
            return 0.0
        if "</think>" not in completion or "<answer>" not in completion:
            return 1.0
        said = completion.split("</think>")[-1].split("<answer>")[0].strip()
        return 1.0 if said else 0.5

    return [reward(*row) for row in zip(batch.completions, batch.column("answer"), strict=True)]
