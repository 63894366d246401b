# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Version 1 of what a judge is asked and what it answers. docs/judges.md explains it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

VERSION: Literal[1] = 1


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # which is 1 to Python, and to Literal, but not to JSON
        raise ValueError(f"{str(value).lower()} is not the number {VERSION}")
    return value


Version = Annotated[Literal[1], BeforeValidator(_number)]


class Strict(BaseModel):
    """No key that is not known, and no text in place of a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Message(Strict):
    """A turn of a conversation; `<image>` in its content stands for the next of the images."""

    role: str
    content: str


class ImageData(Strict):
    """An image as a data URI, `data:image/png;base64,...`."""

    data: str


class ImagePath(Strict):
    """An image as a path that the server can read."""

    path: str


class Item(Strict):
    """One completion to score."""

    id: str = Field(description="Unique in the request.")
    messages: list[Message] = Field(description="The prompt.")
    images: list[ImageData | ImagePath] = Field(default=[], description="Those of the prompt, in its order.")
    completion: str = Field(description="What is to be scored, without special tokens.")
    columns: dict[str, Any] = Field(default={}, description="Columns of the data that the recipe names.")


class ScoreRequest(Strict):
    """The body of POST /v1/score. No items are answered with no scores."""

    version: Version
    items: list[Item]


class Score(Strict):
    """The score of one item."""

    id: str = Field(description="Of the item.")
    score: float | None = Field(description="A finite number, or null to leave the reward out for this completion.")
    reason: str | None = Field(default=None, description="For people: it is shown beside the completion.")


class ScoreAnswer(Strict):
    """What is answered: one score for each item, in any order."""

    version: Version = VERSION
    scores: list[Score]


class TextsRequest(BaseModel):
    """LlamaFactory's form: texts of prompt and completion."""

    model: str = "model"
    messages: list[str]


def json_schema() -> dict[str, Any]:
    """Both as one JSON schema, `request` and `answer` under `$defs`."""
    from pydantic.json_schema import models_json_schema

    _, schema = models_json_schema(
        [(ScoreRequest, "validation"), (ScoreAnswer, "validation")], title="Reward server, version 1"
    )
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**dialect, **schema, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("ScoreRequest", "ScoreAnswer")]}
