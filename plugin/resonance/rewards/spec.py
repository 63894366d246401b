# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The contract that built-in rewards keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from ..spec import Range, Spec, attach, nearest_first

F = TypeVar("F", bound=Callable[..., Any])
# What a user's function may name besides the columns of the data.
INPUTS = ("completions", "prompts", "images", "completion_ids")


class RewardError(ValueError):
    """A reward cannot be given, for a reason that needs no name of an exception before it."""


class InputError(RewardError):
    """The data has not what a reward needs."""


@dataclass(frozen=True)
class Completions:
    """B completions to reward, and what is known about each; every list has B entries.

    Attributes:
        completions: their texts, without special tokens.
        prompts: the prompts as texts.
        images: the pictures of each prompt, a list of paths or PIL images each.
        completion_ids: the tokens of each completion, or None where only texts are at hand.
        columns: further columns of the data, by name.
        origins: where each prompt is from, for error messages, or None.
        messages: the conversation of each prompt, [{"role": ..., "content": ...}, ...] with a placeholder in its texts
            for each image, or None where only texts are at hand.
        transcript: from the number of a completion to its prompt and itself in one text with all special tokens, or
            None where only texts are at hand.
    """

    completions: Sequence[str]
    prompts: Sequence[str]
    images: Sequence[Any]
    completion_ids: Sequence[Sequence[int]] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    origins: Sequence[str] | None = None
    messages: Sequence[Sequence[Mapping[str, str]]] | None = None
    transcript: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        own = {name: getattr(self, name) for name in (*INPUTS, "origins", "messages")}
        lists = {name: values for name, values in own.items() if values is not None} | dict(self.columns)
        wrong = [f"{name} has {len(values)}" for name, values in lists.items() if len(values) != len(self)]
        if wrong:
            raise ValueError(f"There are {len(self)} completions, but {', '.join(wrong)}.")
        if clash := sorted(set(INPUTS) & set(self.columns)):
            raise ValueError(f"Columns {', '.join(clash)} of the data have names that rewards use; rename them.")

    def __len__(self) -> int:
        return len(self.completions)

    def column(self, name: str) -> Sequence[Any]:
        """A column of the data. InputError when there is none of that name, the nearest first."""
        if name not in self.columns:
            raise InputError(f"the data has no column '{name}' ({nearest_first(name, self.columns)})")
        return self.columns[name]

    def of(self, row: int) -> str:
        """Where a completion's prompt is from, to be put behind it in a message: " of FILE, row 3", or nothing."""
        return f" of {self.origins[row]}" if self.origins else ""

    @property
    def conversations(self) -> Sequence[Sequence[Mapping[str, str]]]:
        """The conversation of each prompt. InputError where only texts are at hand."""
        if self.messages is None:
            raise InputError(
                "it needs the conversation of each prompt, which is not at hand; a `tokenized_path` of an earlier "
                "version has none: delete it to make it again"
            )
        return self.messages

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each completion. InputError where only texts are at hand."""
        return [len(ids) for ids in self.tokens]

    @property
    def tokens(self) -> Sequence[Sequence[int]]:
        """The token ids of each completion. InputError where only texts are at hand."""
        if self.completion_ids is None:
            raise InputError("it needs completion_ids, the tokens of each completion")
        return self.completion_ids


@dataclass(frozen=True, eq=False)
class RewardSpec(Spec):
    """A built-in reward, `fn(batch, columns..., *, parameter=default, ...) -> list of B numbers, None for no reward`.

    Attributes:
        columns: the columns of the data that it reads, as it names them; an entry of `rewards:` may map each to a
            column of another name.
        check: what is wrong with its parameters beyond their ranges, a message each.
    """

    kind: ClassVar[str] = "reward"
    inputs: ClassVar[Mapping[str, str]] = {"batch": "the Completions"}

    columns: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], list[str]] | None = None

    def facts(self) -> str:
        """What `help` prints below the docstring of the reward."""
        reads = f"Columns: {', '.join(self.columns)}\n" if self.columns else ""
        return reads + super().facts()


def declare_reward(
    name: str = "",
    *,
    paper: str = "",
    columns: tuple[str, ...] = (),
    ranges: Mapping[str, Range] | None = None,
    check: Callable[[Mapping[str, Any]], list[str]] | None = None,
) -> Callable[[F], F]:
    """Declare a function of Completions as a reward, `fn.spec`; the arguments are RewardSpec's.

    Raises:
        ValueError: it cannot be called as `fn(batch, name=value, ...)`, or `ranges` names no parameter.
    """
    return attach(RewardSpec, name, paper=paper, columns=columns, check=check, ranges=dict(ranges or {}))
