# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys about data: which rows a run trains on, and what becomes of rows that are too long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from numbers import Real
from typing import Any

from ..rows.plan import POLICIES, WIDEST, Policy
from .preference import runs_on_resonance

PAIR_STAGES = ("dpo", "rm")
ANSWER_STAGES = (*PAIR_STAGES, "kto")
LENGTH_STAGES = (*ANSWER_STAGES, "ppo")
OVERLONG_STAGES = (*LENGTH_STAGES, "sft")
RATIO_STAGES = ("dpo", "rm", "sft", "pt", "kto", "ppo")


@dataclass
class DataKeys:
    r"""Resonance's keys about data. Their defaults change nothing in a recipe that does not use them."""

    overlong: Policy | None = field(
        default=None,
        metadata={
            "help": (
                "What becomes of a row that is longer than cutoff_len: error (stop, listing every such row), drop "
                "(leave it out), shrink_image (make its images smaller) or cut_text (shorten its text). None of these "
                "cuts through an image. Unset: error on Resonance's trainer and in any run with another of these "
                "keys about pairs, LlamaFactory's cut in the others, as in stage sft."
            )
        },
    )
    data_ratio: float = field(
        default=1.0,
        metadata={"help": "Fraction of the rows of each training set to keep, drawn with data_seed or seed."},
    )
    score_margin: float | None = field(
        default=None,
        metadata={
            "help": (
                "Keep training pairs with score_chosen - score_rejected of at least this; -1 keeps the pairs of each "
                "prompt whose scores are furthest apart."
            )
        },
    )
    image_root: str | None = field(
        default=None,
        metadata={"help": "Folder that the paths of images start from: another name for media_dir."},
    )
    max_prompt_length: int | None = field(
        default=None,
        metadata={
            "help": (
                "Most tokens of a pair's prompt, images included. With overlong: cut_text it is what a prompt is cut "
                "to when the pair is longer than cutoff_len."
            )
        },
    )
    max_target_length: int | None = field(
        default=None, metadata={"help": "Most tokens of each of a pair's responses; subject to overlong."}
    )


KEYS = tuple(f.name for f in fields(DataKeys))
DEFAULTS = {f.name: f.default for f in fields(DataKeys)}
# Keys by which LlamaFactory cuts conversations of stage sft although `overlong` is given.
_NOT_WHOLE = {
    "packing": "LlamaFactory packs conversations that it has cut at cutoff_len",
    "neat_packing": "LlamaFactory packs conversations that it has cut at cutoff_len",
    "predict_with_generate": "LlamaFactory cuts the prompts that it generates from at cutoff_len",
}
PAIR_KEYS = ("overlong", "score_margin", "max_prompt_length", "max_target_length")


def given_keys(values: Mapping[str, Any]) -> list[str]:
    """Our keys that differ from their defaults."""
    return [key for key in KEYS if values.get(key, DEFAULTS[key]) != DEFAULTS[key]]


def uses_rows(values: Mapping[str, Any]) -> bool:
    """Whether pairs are checked and tokenised by us although LlamaFactory's own trainer may train on them."""
    pairs = values.get("stage") in PAIR_STAGES
    return pairs and any(key in (*PAIR_KEYS, "data_ratio") for key in given_keys(values))


def uses_answers(values: Mapping[str, Any]) -> bool:
    """Whether conversations are checked and tokenised by us, for LlamaFactory's trainer of them."""
    return values.get("stage", "sft") == "sft" and values.get("overlong") is not None


def uses_selection(values: Mapping[str, Any]) -> bool:
    """Whether a run without pairs keeps only a fraction of its rows."""
    return values.get("stage", "sft") in RATIO_STAGES and "data_ratio" in given_keys(values)


def leaves_rows_out(values: Mapping[str, Any]) -> bool:
    """Whether training sets are used in part, and evaluation sets whole."""
    return any(key in ("data_ratio", "score_margin") for key in given_keys(values))


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything wrong with the data keys of a recipe, as messages that start with the key."""
    stage = values.get("stage", "sft")
    found = []
    for key in given_keys(values):
        where: tuple[str, ...] = PAIR_STAGES if key in PAIR_KEYS else RATIO_STAGES
        own = {"overlong": OVERLONG_STAGES, "max_prompt_length": LENGTH_STAGES, "max_target_length": ANSWER_STAGES}
        where = own.get(key, where)
        if stage not in where and key != "image_root":
            found.append(f"{key}: has no meaning in stage: {stage}; it holds in stage: {', '.join(where)}")
    found += value_problems(values)
    if values.get("streaming"):
        if "data_ratio" in given_keys(values):
            found.append("data_ratio: the rows of a stream cannot be counted; use `max_steps`, or `streaming: false`")
        if values.get("score_margin") == WIDEST:
            found.append(
                "score_margin: -1 compares all pairs of a prompt, which a stream does not have at once; give a "
                "threshold, or `streaming: false`"
            )
    if uses_answers(values):
        found += [f"{key}: {why}; remove the key, or `overlong`" for key, why in _NOT_WHOLE.items() if values.get(key)]
    ours = uses_rows(values) or runs_on_resonance(values)
    if ours and values.get("max_length") is not None and values.get("cutoff_len") is None:
        found.append(
            f"max_length: is the length of generated text, and stage: {stage} generates none; did you mean cutoff_len?"
        )
    return found


def value_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values themselves, in any stage."""
    values = {**DEFAULTS, **values}
    found = []
    policy, ratio, margin = values["overlong"], values["data_ratio"], values["score_margin"]
    if policy is not None and policy not in POLICIES:
        near = get_close_matches(str(policy), POLICIES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        found.append(f"overlong: {policy!r} is not one of {', '.join(POLICIES)}{hint}")
    if not (_is_number(ratio) and 0 < ratio <= 1):
        found.append(f"data_ratio: {ratio!r} is not allowed, it must be a number above 0 and at most 1")
    if margin is not None and not _is_number(margin):
        found.append(f"score_margin: {margin!r} is not allowed, it must be a finite number; -1 keeps the widest pairs")
    cutoff = values.get("cutoff_len", 2048)
    for key, rest in (("max_prompt_length", "response"), ("max_target_length", "prompt")):
        limit = values[key]
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            found.append(f"{key}: {limit!r} is not allowed, it must be a whole number of tokens, at least 1")
        elif _is_number(cutoff) and limit >= cutoff:
            found.append(f"{key}: {limit} leaves no room for a {rest} in cutoff_len: {cutoff}")
    root, media = values["image_root"], values.get("media_dir")
    if root is not None and media is not None and root != media:
        found.append(f"image_root: {root!r} and media_dir: {media!r} are the same key; give one of them")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
