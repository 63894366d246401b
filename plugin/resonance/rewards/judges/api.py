# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an API of judges is: how completions become the bodies of calls, and answers scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...wire import Client, data_uri
from ..spec import Completions, RewardError

SHOWN = 200  # characters of an answer in a message


class AnswerError(RewardError):
    """A server answered something else than its API has it answer."""

    def __init__(self, url: str, expected: str, got: object) -> None:
        super().__init__(f"{url} answered {shown(got)}; {expected}")


@dataclass(frozen=True)
class Answer:
    """What a judge answered about one completion.

    Attributes:
        score: None where it leaves the completion out; anything but a finite number only where it `refused`.
        reason: in its own words, or what came in place of a score.
        refused: True where it should have given a score and gave none that can be used.
    """

    score: float | None
    reason: str = ""
    refused: bool = False


class Api(Protocol):
    """How a kind of judge is asked. Items are what it is told about one completion, as JSON values."""

    @property
    def path(self) -> str:
        """Below the URL of the judge."""
        ...

    @property
    def batch_size(self) -> int:
        """Most completions of a call."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What else decides an answer beside the server and the item, as JSON values."""
        ...

    def item(self, batch: Completions, row: int, images: Images) -> Any:
        """Of one completion. RewardError where it cannot be made."""
        ...

    def body(self, rows: Sequence[int], items: Sequence[Any]) -> Any:
        """Of a call about these items, whose places in the batch are `rows`."""
        ...

    def answers(self, url: str, rows: Sequence[int], answer: Any) -> list[Answer]:
        """What `answer` says about each of the rows, in their order. AnswerError where it is none of this API."""
        ...

    def check(self, client: Client) -> None:
        """Raise AnswerError or ServerError where the server is none of this API, before it is needed."""
        ...


class Images:
    """The pictures of a batch as they travel, each made once; completions of one prompt share theirs.

    Args:
        how: `base64` for data URIs, `path` for absolute paths, `none` for no pictures.
        largest_side: pixels of data URIs; None sends each picture as it is.
    """

    def __init__(self, how: str, largest_side: int | None = None) -> None:
        self.how, self.largest_side = how, largest_side
        self._uris: dict[object, str] = {}

    def sent(self, images: Sequence[Any]) -> list[str]:
        """What is sent. RewardError for a picture that cannot be read, or has no path where paths are asked for."""
        if self.how == "none":
            return []
        return [self._path(image) if self.how == "path" else self.uri(image) for image in images]

    def uri(self, image: Any) -> str:
        """A picture as a data URI."""
        key = image if isinstance(image, str) else id(image)
        if key not in self._uris:
            try:
                self._uris[key] = data_uri(image, self.largest_side)
            except (OSError, KeyError, TypeError) as error:
                raise RewardError(f"an image cannot be sent to the judge: {type(error).__name__}: {error}") from error
        return self._uris[key]

    @staticmethod
    def _path(image: Any) -> str:
        path = image.get("path") if isinstance(image, Mapping) else image
        if not isinstance(path, str | os.PathLike):
            raise RewardError(f"an image is no file, so it has no path to send ({image!r:.80}); use `images: base64`")
        return os.path.abspath(path)


def number_of(value: object) -> float | None:
    """A JSON number as a float, which may be NaN or an infinity; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def shown(answer: object) -> str:
    """The beginning of an answer, for a message."""
    text = repr(answer)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
