# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a request to completions: its body within a limit, its images, and nothing outside of one folder."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from ..rewards import Completions
from ..rewards.judges.chat import prompt_text
from .schema import ImageData, ImagePath, Item, ScoreRequest, TextsRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
DROPPED = 4  # times the limit of a body, that is read and dropped before the answer, so that the client gets to it
SHOWN = 5  # faults of a body


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the answer.
        wait: seconds after which it may be sent again; None where that is of no use.
    """

    def __init__(self, status: int, message: str, wait: int | None = None) -> None:
        super().__init__(message)
        self.status, self.wait = status, wait


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Refused with 413 where it is larger than `limit` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        else:
            parts.clear()
        if size > DROPPED * limit:
            break
    if size > limit:
        raise Refused(413, f"the body is larger than {limit} bytes; send fewer items, or start with --max-body-mib")
    return b"".join(parts)


async def drop_body(request: Request, limit: int) -> None:
    """Read and forget a body, so that the client gets to the answer."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > DROPPED * limit:
            break


def read_items(body: bytes, media_dir: Path | None) -> tuple[list[str], Completions]:
    """The ids and the completions of a request in our own form.

    Args:
        body: of the request.
        media_dir: the only folder from which images are read by path; None for none.

    Raises:
        Refused: it is not of this form, or has an image that cannot be read.
    """
    items = _validated(ScoreRequest, body).items
    ids = [item.id for item in items]
    if twice := sorted({name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else ()):
        raise Refused(422, f"ids must be unique in a request, these come again: {', '.join(twice[:SHOWN])}")
    names = {frozenset(item.columns) for item in items}
    if len(names) > 1:
        raise Refused(
            422, f"all items of a request must have the same columns, these have {sorted(map(sorted, names))}"
        )
    messages = [[message.model_dump() for message in item.messages] for item in items]
    images = [_images(item, media_dir) for item in items]
    columns = {name: [item.columns[name] for item in items] for name in (items[0].columns if items else ())}
    prompts = [prompt_text(conversation) for conversation in messages]
    try:
        completions = [item.completion for item in items]
        return ids, Completions(completions, prompts, images, columns=columns, messages=messages)
    except ValueError as error:
        raise Refused(422, str(error)) from None


def read_texts(body: bytes) -> Completions:
    """The texts of a request in LlamaFactory's form, as completions of nothing. Refused where it is none."""
    texts = _validated(TextsRequest, body).messages
    return Completions(texts, [""] * len(texts), [[] for _ in texts])


def _validated(form: Any, body: bytes) -> Any:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        listed = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults[:SHOWN])
        raise Refused(422, f"{listed}{'; ...' if len(faults) > SHOWN else ''}") from None


def _images(item: Item, media_dir: Path | None) -> list[Any]:
    try:
        return [_opened(image, media_dir) for image in item.images]
    except Refused as refused:
        raise Refused(refused.status, f"id {item.id!r}: {refused}") from None


def _opened(image: ImageData | ImagePath, media_dir: Path | None) -> Any:
    """A path inside the folder, or a picture. Its header is read here, its pixels by whoever needs them."""
    from PIL import Image

    by_path = isinstance(image, ImagePath)
    source: Any = _inside(image.path, media_dir) if isinstance(image, ImagePath) else io.BytesIO(_decoded(image.data))
    try:
        opened = Image.open(source, formats=FORMATS)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise Refused(
            422, f"an image cannot be read ({type(error).__name__}); formats: {', '.join(FORMATS)}"
        ) from None
    if by_path:
        opened.close()
    return str(source) if by_path else opened


def _inside(name: str, media_dir: Path | None) -> Path:
    if media_dir is None:
        raise Refused(422, "images by path are not read; start with --media-dir, or send `images: base64`")
    try:
        path = Path(media_dir, name).resolve()
        is_other = path.exists() and not path.is_file()  # to open a pipe is to wait without end
    except (OSError, ValueError) as error:
        raise Refused(422, f"an image has a path that is none ({type(error).__name__})") from None
    if not path.is_relative_to(media_dir.resolve()):
        raise Refused(422, "an image is outside of --media-dir")
    if is_other:
        raise Refused(422, "an image has a path that is no file")
    return path


def _decoded(uri: str) -> bytes:
    head, _, content = uri.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise Refused(422, "an image must be a data URI, data:image/...;base64,...")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Refused(422, "an image is no base64") from None


def joined(batches: Sequence[Completions]) -> Completions:
    """Batches with the same columns as one."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    return Completions(
        [text for batch in batches for text in batch.completions],
        [text for batch in batches for text in batch.prompts],
        [images for batch in batches for images in batch.images],
        columns={name: [value for batch in batches for value in batch.columns[name]] for name in first.columns},
        messages=None
        if first.messages is None
        else [messages for batch in batches for messages in batch.messages or ()],
    )
