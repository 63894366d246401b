# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards of completions: built-in functions, your own, and judges behind a URL. Imports no torch.

| file | what |
|---|---|
| `text.py`, `boxes.py`, `lengths.py`, `openvlthinker.py` | built-in rewards, declared; `table.py` lists them |
| `answers.py` | the answer in a completion, and whether two are the same |
| `functions.py` | a user's own, "module:function" |
| `judges/` | judges over HTTP |
| `recipe.py` | from the `rewards:` of a recipe to functions, checked |
| `score.py`, `limits.py` | running them: side by side, within their time, nothing taken on trust |
| `scores.py` | the result: parts by name, and their weighted sum |

    rewards = make_rewards([{"name": "exact", "answer": "solution"}, {"function": "my_rewards:short", "weight": 0.1}])
    scores = score(rewards, Completions(texts, prompts, images, columns={"solution": solutions}))
    scores.totals, scores.rows, scores.unscored
"""

from .recipe import Reward, deciding, make_rewards, reward_problems
from .score import score
from .scores import Scores, Verdicts
from .spec import Completions, RewardError, RewardSpec, declare_reward
from .table import REWARDS

__all__ = [
    "REWARDS",
    "Completions",
    "Reward",
    "RewardError",
    "RewardSpec",
    "Scores",
    "Verdicts",
    "deciding",
    "declare_reward",
    "make_rewards",
    "reward_problems",
    "score",
]
