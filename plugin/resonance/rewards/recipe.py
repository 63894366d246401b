# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From the `rewards:` of a recipe to functions, with all that is wrong with it in one message.

rewards:
  - {name: exact, answer: solution}                  # built in; its column `answer` is `solution` in the data
  - {function: my_rewards:short, weight: 0.1}        # a function of your own, module:function
  - {url: "http://127.0.0.1:8000"}                   # a judge, see docs/judges.md
  - {model: saves/rm, weight: 1.0}                   # a reward model, the folder of a `stage: rm` run
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..spec import FINITE, POSITIVE, find, nearest_first, param_problems
from .answers import MATH_VERIFY, has_math_verify
from .functions import UserFunction, load_function
from .judges import FREE, host_of, read_judge
from .model import TIMEOUT as MODEL_TIMEOUT
from .model import ModelReward, model_problems
from .spec import Completions, RewardSpec
from .table import EXPRESSIONS, REWARDS

logger = logging.getLogger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

TIMEOUT = 120.0
OPTIONS = ("name", "function", "model", "url", "weight", "label", "timeout")


@dataclass(frozen=True)
class Reward:
    """One entry of `rewards:`, checked.

    Attributes:
        name: under which it is logged, `reward/NAME`; unique in a recipe.
        title: what messages begin with, e.g. "rewards[0] (exact)".
        fn: from Completions to a list of B numbers or None, or to an awaitable of one.
        weight: its factor in the total; 0 only logs it.
        timeout: seconds that a batch may take, None for what has limits of its own.
        is_async: True where `fn` returns an awaitable.
        built_in: the name of a built-in, else empty.
        check: raises ValueError where it cannot be had, before it is needed; may take seconds.
    """

    name: str
    title: str
    fn: Callable[[Completions], Any]
    weight: float = 1.0
    timeout: float | None = TIMEOUT
    is_async: bool = False
    built_in: str = ""
    check: Callable[[], None] = lambda: None


def reward_problems(entries: object, columns: Iterable[str] | None = None) -> list[str]:
    """What is wrong with the `rewards:` of a recipe, a message each; empty when nothing is."""
    return _read(entries, columns)[1]


def make_rewards(entries: object, columns: Iterable[str] | None = None) -> list[Reward]:
    """The rewards of a recipe.

    Args:
        entries: a list of mappings. Each has `name` (one of REWARDS), `function` ("module:function"), `model` (the
            folder of a reward model) or `url` (of a judge), and may have `weight` (1), `label` (the name in logs),
            `timeout` (seconds a batch, 120; of a judge seconds a call), and parameters by name. For a built-in its
            columns are keys too: `answer: solution` reads `solution`.
        columns: the columns of the data besides prompt and media, to check against; None where they are not known yet.

    Raises:
        ValueError: all that is wrong, with the nearest names.
        ImportError: a user's module that itself fails to import something.
    """
    rewards, problems = _read(entries, columns)
    if problems:
        raise ValueError(
            "The rewards of this recipe cannot be used:\n" + "\n".join(f"  - {line}" for line in problems)
        )
    plain = [reward.title for reward in rewards if reward.built_in in EXPRESSIONS]
    if plain and not has_math_verify():
        logger.warning(
            f"{', '.join(plain)}: math_verify is not installed, so only plain numbers are compared, and expressions "
            f"count as wrong. To compare both: {MATH_VERIFY}"
        )
    return rewards


def deciding(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries without what no reward depends on: how long to wait for it, how often to ask, where to keep it."""
    return [
        {key: value for key, value in entry.items() if key != "timeout" and ("url" not in entry or key not in FREE)}
        for entry in entries
    ]


def _read(entries: object, columns: Iterable[str] | None) -> tuple[list[Reward], list[str]]:
    if not isinstance(entries, list) or not entries:
        return [], [f"rewards must be a list like [{{name: exact, answer: answer}}], got {entries!r}"]
    known = None if columns is None else set(columns)
    rewards: list[Reward] = []
    problems: list[str] = []
    for at, entry in enumerate(entries):
        title, found, wrong = _entry(at, entry, known)
        problems += [f"{title}: {line}" for line in wrong]
        if found is not None:
            rewards.append(found)
    names = [reward.name for reward in rewards]
    for reward in rewards:
        if names.index(reward.name) != rewards.index(reward):
            problems.append(f"{reward.title}: another reward is called '{reward.name}'; add 'label: another_name'")
    return rewards, problems


def _entry(at: int, entry: object, known: set[str] | None) -> tuple[str, Reward | None, list[str]]:
    """The title, the reward and the problems of one entry."""
    title = f"rewards[{at}]"
    if not isinstance(entry, Mapping) or not all(isinstance(key, str) for key in entry):
        return title, None, [f"it must be a mapping like {{name: exact, answer: answer}}, got {entry!r}"]
    # beside `url`, `model` is the name that a server knows a model by
    kinds = [key for key in READERS if key in entry and not (key == "model" and "url" in entry)]
    if len(kinds) != 1:
        close = "" if kinds else f" (keys given: {', '.join(entry) or 'none'})"
        others = ", ".join(f"'{key}'" for key in READERS if key != "name")
        return title, None, [f"it needs one of 'name' (built in: {', '.join(REWARDS)}), {others}{close}"]
    (kind,) = kinds
    title = f"{title} ({entry[kind] if kind != 'url' else host_of(entry[kind])})"
    own = ("timeout", "model") if kind == "url" else ()  # its time-out is of a call, not of a batch
    extra = {key: value for key, value in entry.items() if key not in OPTIONS or key in own}
    reward, problems = READERS[kind](entry[kind], extra, known)
    problems += _option_problems(entry, kind)
    if problems or reward is None:
        return title, None, problems
    options = {key: entry[key] for key in ("weight", "timeout") if key in entry and key not in extra}
    return title, replace(reward, title=title, name=entry.get("label", reward.name), **options), []


def _option_problems(entry: Mapping[str, Any], kind: str) -> list[str]:
    problems = []
    weight, timeout, label = entry.get("weight", 1.0), entry.get("timeout", TIMEOUT), entry.get("label", "x")
    if not FINITE.allows(weight):
        problems.append(f"weight={weight!r} is not allowed, it must be a finite number")
    if kind != "url" and not POSITIVE.allows(timeout):
        problems.append(f"timeout={timeout!r} is not allowed, it must be a number of seconds > 0")
    if not isinstance(label, str) or not label.strip():
        problems.append(f"label={label!r} is not allowed, it must be a text")
    return problems


def _built_in(name: object, extra: Mapping[str, Any], known: set[str] | None) -> tuple[Reward | None, list[str]]:
    try:
        spec = find(name, REWARDS, RewardSpec)  # type: ignore[arg-type]
    except ValueError as error:
        return None, [str(error).replace("write 'package.module:function'", "write 'function: module:function'")]
    mapping = {column: extra.get(column, column) for column in spec.columns}
    params = {key: value for key, value in extra.items() if key not in spec.columns}
    keys = {*spec.params, *spec.columns, *OPTIONS}
    problems = [f"it has no key '{key}' ({nearest_first(key, keys)})" for key in params if key not in keys]
    params = {key: value for key, value in params.items() if key in keys}
    problems += _column_problems(mapping, known) + param_problems(spec, params)
    if spec.check is not None:
        problems += spec.check(params)
    return Reward(spec.name, "", partial(_call, spec, mapping, params), built_in=spec.name), problems


def _column_problems(mapping: Mapping[str, object], known: set[str] | None) -> list[str]:
    problems = []
    for argument, column in mapping.items():
        if not isinstance(column, str):
            problems.append(f"{argument}={column!r} must be the name of a column of the data")
        elif known is not None and column not in known:
            problems.append(
                f"the data has no column '{column}' ({nearest_first(column, known)}); name the one that holds the "
                f"{argument}: '{argument}: COLUMN'"
            )
    return problems


def _call(spec: RewardSpec, mapping: Mapping[str, str], params: Mapping[str, Any], batch: Completions) -> Any:
    """A built-in with its parameters, on the columns that the recipe names."""
    columns = {argument: batch.column(column) for argument, column in mapping.items()}
    return spec.fn(replace(batch, columns=columns), **params)


def _function(name: object, extra: Mapping[str, Any], known: set[str] | None) -> tuple[Reward | None, list[str]]:
    try:
        function = load_function(name)
    except ValueError as error:
        return None, [str(error)]
    label = str(name).rpartition(":")[2]
    call = partial(UserFunction.call, function, params=extra)
    return Reward(label, "", call, is_async=function.is_async), function.problems(extra, known, OPTIONS)


def _model(folder: object, extra: Mapping[str, Any], _: set[str] | None) -> tuple[Reward | None, list[str]]:
    if problems := model_problems(folder, extra, OPTIONS):
        return None, problems
    return Reward("model", "", ModelReward(str(folder), extra), timeout=MODEL_TIMEOUT), []


def _judge(url: object, extra: Mapping[str, Any], known: set[str] | None) -> tuple[Reward | None, list[str]]:
    judge, problems = read_judge(url, extra, known)
    if judge is None:
        return None, problems
    return Reward("judge", "", judge, timeout=None, is_async=True, check=judge.check), problems


# The key that says what an entry is -> what reads it.
READERS: Mapping[str, Callable[[Any, Mapping[str, Any], set[str] | None], tuple[Reward | None, list[str]]]] = {
    "name": _built_in,
    "function": _function,
    "model": _model,
    "url": _judge,
}
