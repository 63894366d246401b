# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Everything that is asked of one row of one data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...datafiles.columns import FORMATTINGS, NUMBERS, SCORE_FIELDS
from ...rows.validate.column_types import type_name
from ...rows.validate.findings import EMPTY_RESPONSE, INVALID_TURNS
from ...rows.validate.rules import answer_findings, medium_finding, placeholder_findings, text_finding
from ...rows.validate.useless import skip_reason
from .align import Aligner, Unreadable
from .duplicates import Duplicates, Leakage
from .entry import Entry
from .images import MAX_PIXELS, ImageProbe
from .kinds import Found, has_error
from .prompts import unasked

if TYPE_CHECKING:
    from .lengths import TokenCounter


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        decode: decode every image in full.
        score_range: the lowest and the highest score allowed.
        max_pixels: from how many pixels an image is called oversized.
        lengths: counts the tokens of rows; None not to.
        against: another set that must share no rows with this one.
        text_only: the template knows no media, so ``<image>`` is ordinary text.
    """

    decode: bool = False
    score_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    lengths: TokenCounter | None = None
    against: Leakage | None = None
    text_only: bool = False


@dataclass
class Judge:
    """Judge the rows of one data set: each for itself, then beside the others."""

    entry: Entry
    options: Options
    align: Aligner = field(init=False)
    probe: ImageProbe = field(init=False)

    def __post_init__(self) -> None:
        self.align = Aligner(self.entry)
        self.probe = ImageProbe(self.entry.media_dir, self.options.decode, self.options.max_pixels)

    def aligned(self, row: Any) -> tuple[dict[str, Any] | None, list[Found]]:
        """Return the aligned row, or None and why there is none."""
        if not isinstance(row, dict):
            return None, [("row unreadable", f"a row is {type_name(row)}, but a mapping is needed")]
        if not self.entry.columns or self.entry.formatting not in FORMATTINGS:  # the entry's complaint says so
            return None, []
        try:
            return self.align(row), []
        except Unreadable as problem:
            return None, [("row unreadable", str(problem))]

    def alone(self, row: dict[str, Any], aligned: dict[str, Any]) -> list[Found]:
        """What is wrong with a row whatever the others are; tokens are counted for rows without errors."""
        found = list(self._checks(row, aligned))
        if self.options.lengths is not None and not has_error(found):
            found += self.options.lengths(aligned)
        return found

    def beside(self, seen: Duplicates, file: str, number: int, aligned: dict[str, Any]) -> list[Found]:
        """What is wrong with a row because of others: those in `seen`, and those of the other set."""
        found = list(seen(file, number, aligned))
        if self.options.against is not None:
            found += self.options.against(aligned)
        return found

    def _checks(self, row: dict[str, Any], aligned: dict[str, Any]) -> Iterator[Found]:
        """Yield what is wrong with a raw row and its aligned form. A row that is no example has one finding."""
        useless = next(self._useless(row, aligned), None)
        if useless is not None:
            yield useless
            return
        answers = [] if self.entry.ranking else aligned["_response"]
        if answers and all(_blank(message["content"]) for message in answers):
            yield "empty answer", "the answer is empty"
        yield from self._texts(aligned)
        if self.entry.prompts is not None:
            yield from self.entry.prompts.findings(row, aligned)
        yield from self._media(aligned)
        yield from self._scores(row)

    def _useless(self, row: dict[str, Any], aligned: dict[str, Any]) -> Iterator[Found]:
        if (column := self.entry.columns.get("kto_tag")) and not isinstance(row.get(column), bool):
            yield "bad label", f"`kto_tag` (column `{column}`) is {row.get(column)!r:.60}, not true or false"
        if aligned["_broken"]:
            yield INVALID_TURNS, aligned["_broken"]
        elif self.entry.prompts is not None:
            yield from unasked(aligned)
        elif self.entry.ranking:
            if (kind := skip_reason(aligned)) is not None:
                yield kind, _why(kind, aligned)
        else:
            yield from self._no_answer(aligned)

    def _no_answer(self, aligned: dict[str, Any]) -> Iterator[Found]:
        """A supervised row without an answer."""
        prompt, response = aligned["_prompt"], aligned["_response"]
        if any(message["content"] is None for message in prompt):
            yield INVALID_TURNS, "a message has no content"
        elif self.entry.formatting == "alpaca" and "response" not in self.entry.columns:
            return
        elif all(message["content"] is None for message in response):
            yield EMPTY_RESPONSE, "the answer is missing"

    def _texts(self, aligned: dict[str, Any]) -> Iterator[Found]:
        odd = text_finding(aligned)
        if odd is not None:
            yield odd.kind, odd.message
            return
        system = aligned["_system"]
        if system is not None and not isinstance(system, str):
            yield "message not text", f"the system prompt is {type(system).__name__} {system!r:.80}"
        messages = [*aligned["_prompt"], *aligned["_response"]]
        for content in (*(message["content"] for message in messages), system if isinstance(system, str) else ""):
            if (place := half_character(content)) is not None:
                yield "not Unicode", f"a text holds half a character ({content[place]!r} at {place})"
                break
        if not self.options.text_only:
            if "kto_tag" in self.entry.columns:
                yield from (finding[:2] for finding in answer_findings(aligned))
            yield from self._placeholders(aligned)
        if not any(message["content"].strip() for message in aligned["_prompt"]):
            yield "empty prompt", "the prompt is empty"

    def _placeholders(self, aligned: dict[str, Any]) -> Iterator[Found]:
        if not self.entry.ranking:
            joined = "".join(message["content"] for message in aligned["_response"])
            aligned = {**aligned, "_response": [{"content": joined}]}
        for finding in placeholder_findings(aligned):
            yield "placeholder count", finding.message

    def _media(self, aligned: dict[str, Any]) -> Iterator[Found]:
        for image in aligned["_images"] or ():
            yield from self.probe(image).problems
        for video in aligned["_videos"] or ():
            for frame in video if isinstance(video, list) else ():
                yield from self.probe(frame).problems
        for name in ("video", "audio"):
            for item in aligned[f"_{name}s"] or ():
                if (finding := medium_finding(name, item, self.probe.media_dir)) is not None:
                    yield finding[:2]

    def _scores(self, row: dict[str, Any]) -> Iterator[Found]:
        scores: list[Any] = []
        for key, problem_of in NUMBERS.items() if self.entry.ranking or "kto_tag" in self.entry.columns else ():
            if (column := self.entry.columns.get(key)) is None:
                continue
            label = f"`{key}`" if key == column else f"`{key}` (column `{column}`)"
            value: Any = row.get(column)
            if problem := problem_of(value):
                yield "score gap" if self.entry.guessed else "bad score", f"{label} is {problem}"
                continue
            if key not in SCORE_FIELDS:
                continue
            scores.append(value)
            low, high = self.options.score_range or (value, value)
            if not low <= value <= high:
                yield "score out of range", f"{label} is {value}, not from {low} to {high}"
        if len(scores) == 2 and scores[0] < scores[1]:
            yield "score order", f"chosen has {scores[0]}, rejected has {scores[1]}"


def _blank(content: Any) -> bool:
    return content is None or (isinstance(content, str) and not content.strip())


def _why(kind: str, aligned: dict[str, Any]) -> str:
    """What makes a pair useless, in words; the kind is that of the training run."""
    prompt, response = aligned["_prompt"], aligned["_response"]
    if kind == EMPTY_RESPONSE:
        empty = [
            side for side, answer in zip(("chosen", "rejected"), response, strict=False) if _blank(answer["content"])
        ]
        return f"{' and '.join(empty)} {'are' if len(empty) == 2 else 'is'} empty"
    if kind != INVALID_TURNS:
        return "chosen and rejected are the same"
    if len(response) < 2:
        return "chosen and rejected are not both text"
    if any(message["content"] is None for message in prompt):
        return "a message has no content"
    return f"chosen and rejected are from {response[0]['role']} and {response[1]['role']}, not from the assistant"


def half_character(text: str) -> int | None:
    """The place of the first character that UTF-8 cannot hold, or None."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None
