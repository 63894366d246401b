# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of reinforcement learning: a prompt, its media, and whatever columns the rewards read.

LlamaFactory's converters want an answer to every question and keep no other column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory.data.processor.unsupervised import UnsupervisedDatasetProcessor

from .collate import undecodable
from .encode import PairEncoder, PairIds
from .fields import IMAGE_SIZES, MEDIA_COLUMNS, MESSAGES, META, OVERLONG, ROW, SOURCE, conversation, meta_problem
from .fitting import FitsRows
from .overlong.policy import FittedPair, OverlongPolicy
from .types import DatasetAttr, Row

ALIGNED_META = f"_{META}"
_NO_ANSWER = ({"role": "assistant", "content": ""},) * 2
# Of an entry's `columns`, what makes a prompt; answers are for rewards to read.
_READ = ("prompt", "query", "history", "messages", "system", "tools")


@dataclass(frozen=True)
class PromptConverter:
    """Convert one example, whether or not it has an answer, and keep the columns that rewards may read.

    Attributes:
        inner: LlamaFactory's converter.
        messages: the column of a conversation, None for prompts in columns of their own.
        tags: what messages are made of: keys of role and content, and the names of the roles of user and assistant.
        meta: columns to keep; None for all that make no prompt.
        read: columns that make the prompt.
        schema_version: raised when the meaning of a column changes, so that no older cache is read.
    """

    inner: Callable[[Row], Row]
    messages: str | None
    tags: tuple[str, str, str, str]
    meta: tuple[str, ...] | None
    read: tuple[str, ...]
    schema_version: int = 3

    def __call__(self, example: Row) -> Row:
        """Return the aligned row.

        Raises:
            ValueError: it cannot be converted, or lacks a column that `meta` names; names source and row.
        """
        where = f"{example.get(SOURCE)}, row {example.get(ROW)}"
        names = self.meta if self.meta is not None else [name for name in example if name not in self.read]
        if missing := [name for name in names if name not in example]:
            raise ValueError(f"{where}: no column {', '.join(missing)}, which `columns` names under `meta`.")
        try:
            output = self.convert(example)
        except Exception as error:
            raise ValueError(f"{where}: cannot be converted ({type(error).__name__}: {error}).") from error
        output[ALIGNED_META] = json.dumps({name: _plain(example[name]) for name in names}, ensure_ascii=False)
        output[SOURCE], output[ROW] = example[SOURCE], example[ROW]
        return output

    def convert(self, example: Row) -> Row:
        """Return what LlamaFactory's converter makes of an example; raises what it raises."""
        return self.inner(self._answered(example))

    def _answered(self, example: Row) -> Row:
        """With an empty answer, if a conversation ends with a question."""
        role, content, user, assistant = self.tags
        messages = example.get(self.messages) if self.messages else None
        if not self.messages or not isinstance(messages, list) or not messages or messages[-1].get(role) != user:
            return example
        return {**example, self.messages: [*messages, {role: assistant, content: ""}]}


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def prompt_converter(inner: Callable[[Row], Row], attr: DatasetAttr) -> PromptConverter:
    """The converter of an entry in dataset_info.json, around LlamaFactory's."""
    named = [getattr(attr, name, None) for name in (*_READ, *MEDIA_COLUMNS)]
    tags: Any = tuple(getattr(attr, f"{name}_tag") for name in ("role", "content", "user", "assistant"))
    meta = getattr(attr, META, None)
    if problem := meta_problem(meta):
        raise ValueError(f"Dataset {attr}: its dataset_info.json entry cannot be used: {problem}.")
    return PromptConverter(
        inner=inner,
        messages=None if attr.formatting == "alpaca" else getattr(attr, "messages", None),
        tags=tags,
        meta=None if meta is None else tuple(meta),
        # aligned media columns are there before their time, for their types (`media_types`)
        read=(*(name for name in named if name), *(f"_{name}" for name in MEDIA_COLUMNS), SOURCE, ROW),
    )


class PromptEncoder(PairEncoder):
    """Encode prompts; what a template puts behind an answer is left out."""

    def __call__(self, row: Row) -> PairIds:
        """Encode one row: ``_prompt``, ``_system``, ``_tools`` and media."""
        return PairIds(super().__call__({**row, "_response": list(_NO_ANSWER)}).prompt, [], [])


class PromptDatasetProcessor(FitsRows, UnsupervisedDatasetProcessor):
    """Tokenize prompts whole. One that is too long is marked, as pairs are: `overlong/dataset` sees all of them."""

    def make_encoder(self) -> PromptEncoder:
        """Of prompts."""
        return PromptEncoder(self.template, self.tokenizer, self.processor)

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Tokenize a batch of aligned rows.

        Raises:
            ValueError: if a row cannot be encoded; names source and row.
        """
        rows = [dict(zip(examples, values, strict=True)) for values in zip(*examples.values(), strict=True)]
        return columns_of([self._tokenized(row) for row in rows])

    def _tokenized(self, row: Row) -> Row:
        found = tokenized(row, self.policy, lambda ids: {"input_ids": ids.prompt, "labels": ids.prompt})
        return found | {META: row[ALIGNED_META], MESSAGES: json.dumps(conversation(row), ensure_ascii=False)}


def tokenized(row: Row, policy: OverlongPolicy, inputs: Callable[[Any], dict[str, list[int]]]) -> Row:
    """A row of one sequence, tokenized, with its origin and what `overlong` did to it.

    Args:
        row: aligned.
        policy: encodes it, and applies the run's limits.
        inputs: from what the policy's encoder gives to `input_ids` and `labels`.

    Raises:
        ValueError: if it cannot be encoded; names source and row.
    """
    try:
        fitted: FittedPair = policy(row)
    except Exception as error:
        where = f"{row[SOURCE]}, row {row[ROW]}"
        told = f"{where}: cannot be tokenized ({type(error).__name__}: {error}).{undecodable([row])}"
        raise ValueError(told) from error
    found = inputs(fitted.ids)
    return {
        **found,
        "attention_mask": [1] * len(found["input_ids"]),
        **{name: row[f"_{name}"] for name in MEDIA_COLUMNS},
        SOURCE: row[SOURCE],
        ROW: row[ROW],
        OVERLONG: fitted.overlong.dumps() if fitted.overlong else "",
        IMAGE_SIZES: json.dumps(fitted.sizes) if fitted.sizes else "",
    }


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as `datasets` wants a batch of them; none of no rows."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def messages_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The conversation of a tokenized prompt, with placeholders of media in its texts.

    Raises:
        ValueError: it was tokenized by a version that did not keep it.
    """
    if MESSAGES not in row:
        raise ValueError(
            f"The tokenized set has no column '{MESSAGES}', because it was made by an earlier version. Give another "
            "`tokenized_path`, or delete the set to tokenize again."
        )
    return json.loads(row[MESSAGES])


def meta_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a tokenized prompt carries for rewards, by name; what objects hold also by its path."""
    return _with_parts(json.loads(row[META]))


def _with_parts(columns: Mapping[str, Any]) -> dict[str, Any]:
    """With "reward_model.ground_truth" beside `reward_model`; a column that has this very name stays."""
    parts = {
        f"{name}.{key}": part
        for name, value in columns.items()
        if isinstance(value, Mapping)
        for key, part in _with_parts(value).items()
    }
    return parts | dict(columns)


def columns_by_source(dataset: Any) -> dict[str, list[str]]:
    """Names of these columns in each file or hub set that a tokenized set is made of.

    Raises:
        ValueError: it was tokenized for another stage.
    """
    if META not in dataset.column_names:
        raise ValueError(
            f"The tokenized set has no column '{META}' (it has {', '.join(dataset.column_names)}), so it was not made "
            "for stage: ppo. Give another `tokenized_path`, or delete the set to tokenize again."
        )
    sources = dataset.with_format(None)[SOURCE]
    first = {source: i for i, source in reversed(list(enumerate(sources)))}
    return {source: list(meta_of(dataset[i])) for source, i in reversed(first.items())}
