# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What makes an aligned row unusable. Reads image headers, decodes nothing. Imports PIL alone.

Training (`RowChecker`) and `resonance data check` both judge by these functions, so that they agree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...upstream import DataArguments
from ..fields import PLACEHOLDERS, ROW, SOURCE, own_answer
from ..media_paths import SHOWN, path_problem, shown
from ..media_tokens import media_token, media_tokens
from ..plan import RowPlan
from ..types import DatasetAttr, Row
from ..vision.opening import open_image
from .findings import IMAGE_IN_ANSWER, Finding
from .useless import SKIP_REASONS

if TYPE_CHECKING:
    import pyarrow


def answer_findings(row: Row) -> Iterator[Finding]:
    """Return media in the answer of a row that KTO reads behind the prompt of another one, too."""
    content = own_answer(row["_response"])["content"]
    for placeholder in PLACEHOLDERS.values():
        if placeholder in content:
            yield Finding(IMAGE_IN_ANSWER, f"`{placeholder}` in the answer")


def placeholder_findings(row: Row) -> Iterator[Finding]:
    """Compare media with placeholders, for the prompt with each of its answers, as the template will.

    Without responses the prompt is looked at alone.
    """
    for name, placeholder in PLACEHOLDERS.items():
        media = len(row[f"_{name}s"] or [])
        in_prompt = sum(message["content"].count(placeholder) for message in row["_prompt"])
        if not row["_response"] and in_prompt != media:
            plural = "s" * (media != 1)
            yield Finding("placeholder count", f"{media} {name}{plural} but {in_prompt} `{placeholder}` in the prompt")
        places = ("prompt + chosen", "prompt + rejected") if len(row["_response"]) > 1 else ("the messages",)
        for place, message in zip(places, row["_response"], strict=False):
            wanted = in_prompt + message["content"].count(placeholder)
            if wanted != media:
                plural = "s" * (media != 1)
                text = f"{media} {name}{plural} but {wanted} `{placeholder}` in {place}"
                yield Finding("placeholder count", text)
                break


def text_finding(row: Row) -> Finding | None:
    """Return the first message whose content is no text; call it on rows that are not skipped."""
    for message in (*row["_prompt"], *row["_response"][:2]):
        content = message["content"]
        if not isinstance(content, str):
            found = f"a message's content is {type(content).__name__} {content!r:.80}"
            return Finding("message not text", found)
    return None


def image_finding(image: Any, media_dir: str | None) -> Finding | None:
    """Return what is wrong with one image, or None if its header can be read.

    Args:
        image: what LlamaFactory accepts: a path, bytes, ``{"path", "bytes"}`` or a PIL image.
        media_dir: where relative paths were looked up first; only named in the message.
    """
    if isinstance(image, Image.Image):
        return None
    source = image_source(image, media_dir)
    if isinstance(source, Finding):
        return source
    try:
        with open_image(BytesIO(source) if isinstance(source, bytes) else source):
            return None
    except Exception as error:
        return unreadable(source, error)


def image_source(image: Any, media_dir: str | None) -> str | bytes | Finding:
    """Return the path or the bytes that LlamaFactory will open, or what is wrong; opens nothing.

    Args:
        image: a path, bytes or ``{"path", "bytes"}``.
        media_dir: as for `image_finding`.
    """
    if isinstance(image, dict):
        if "bytes" not in image or (image["bytes"] is None and image.get("path") is None):
            found = f"an image is a mapping with {sorted(image)}, but `bytes` and `path` are needed"
            return Finding("image unreadable", found)
        image = image["bytes"] if image["bytes"] is not None else image["path"]
    if isinstance(image, str):
        return file_finding("image", image, media_dir) or image
    if isinstance(image, bytes):
        return image
    found = f"an image is {type(image).__name__} {image!r:.80}, but a path or bytes are needed"
    return Finding("image unreadable", found)


def unreadable(source: str | bytes, error: Exception) -> Finding:
    """Return why an image cannot be read. PIL raises OSError, ValueError, SyntaxError and its own, by format."""
    label = f"image {source!r}" if isinstance(source, str) else f"an image of {len(source)} bytes"
    return Finding("image unreadable", f"{label} cannot be read ({type(error).__name__}: {error})")


def file_finding(name: str, path: str, media_dir: str | None) -> Finding | None:
    """Return that a text is no path, or that there is no such file, or None.

    Args:
        name: image, video or audio.
        path: opened as it is, because LlamaFactory has already joined ``media_dir`` to the paths it found there.
        media_dir: only named in the message.
    """
    if os.path.exists(path):
        return None
    if problem := path_problem(path):
        return Finding("not a path", f"{name} {problem}")
    tried = [path] if media_dir is None or os.path.isabs(path) else [os.path.join(media_dir, path), path]
    looked = " and ".join(each if len(each) <= SHOWN else shown(each) for each in tried)
    return Finding(f"{name} missing", f"{name} {shown(path)} does not exist (looked for {looked})")


def medium_finding(name: str, item: Any, media_dir: str | None) -> Finding | None:
    """Return what is wrong with a video or an audio, without opening it; frames of a video are images.

    Args:
        name: video or audio.
        item: a path, for a video also a list of frames, or what `datasets` decoded.
        media_dir: as for `file_finding`.
    """
    if isinstance(item, str):
        return file_finding(name, item, media_dir)
    if isinstance(item, dict):
        held = f"a mapping with {sorted(map(str, item))}"
    elif item is None or isinstance(item, (bool, int, float, bytes)) or (name == "audio" and isinstance(item, list)):
        held = f"{type(item).__name__} {item!r:.60}"
    else:
        return None
    wanted = "a path or a list of frames is" if name == "video" else "a path is"
    return Finding(f"{name} unreadable", f"{'an' if name == 'audio' else 'a'} {name} is {held}, but {wanted} needed")


@dataclass(frozen=True)
class RowChecker:
    """Check aligned rows, one by one or a table at a time.

    Attributes:
        media_dir: where relative media paths were looked up, None if they were not.
        counts_placeholders: whether the template expands ``<image>``; for a text-only one it is ordinary text.
        plan: what the run needs; part of the cache key of a check.
        media_tokens: what the template writes for parts of media.
    """

    media_dir: str | None
    counts_placeholders: bool
    plan: RowPlan
    media_tokens: tuple[str, ...] = ()

    def check_table(self, table: pyarrow.Table) -> dict[str, list[str]]:
        """Check a table of aligned rows; findings come back as JSON, empty text for a sound row."""
        findings = [self(row) for row in table.to_pylist()]
        return {"findings": [json.dumps(found, ensure_ascii=False) if found else "" for found in findings]}

    def __call__(self, row: Row) -> list[Finding]:
        """Return every finding of one row; a row to skip has exactly one."""
        return [finding.at(row[SOURCE], row[ROW]) for finding in self._findings(row)]

    def _findings(self, row: Row) -> Iterator[Finding]:
        if self.plan.kind == "prompts":  # an answer, if there is one, is not read
            row = {**row, "_response": []}
        reason = SKIP_REASONS[self.plan.kind](row)
        if reason is not None:
            yield Finding(reason, reason)
        elif (finding := text_finding(row)) is not None:
            yield finding
        elif (token := media_token(row, self.media_tokens)) is not None:
            yield Finding("media token", token)
        else:
            yield from self._media(row)
            if self.plan.needs_images and not (row["_images"] and self.counts_placeholders):
                found = "it has no image" if not row["_images"] else "its images are not shown by a text-only template"
                yield Finding("no image", found)
            if self.counts_placeholders and self.plan.kind == "feedback":
                yield from answer_findings(row)
                yield from placeholder_findings({**row, "_response": []})
            elif self.counts_placeholders:
                yield from placeholder_findings(row)

    def _media(self, row: Row) -> Iterator[Finding]:
        found = [image_finding(image, self.media_dir) for image in row["_images"] or []]
        for name in ("video", "audio"):
            found += [medium_finding(name, item, self.media_dir) for item in row[f"_{name}s"] or []]
        for video in row["_videos"] or []:
            frames = video if isinstance(video, list) else []
            found += [image_finding(frame, self.media_dir) for frame in frames]
        return filter(None, found)


def make_row_checker(dataset_attr: DatasetAttr, data_args: DataArguments, plan: RowPlan) -> RowChecker:
    """Return the checker of one dataset."""
    local = dataset_attr.load_from in ("script", "file")
    tokens = tokens_of(data_args.template)
    return RowChecker(data_args.media_dir if local else None, bool(tokens), plan, tuple(sorted(tokens)))


def tokens_of(template: str | None) -> frozenset[str]:
    """What a template writes for parts of media; none for a text-only one, to which ``<image>`` is ordinary text."""
    from llamafactory.data.template import TEMPLATES

    return media_tokens(getattr(TEMPLATES.get(template), "mm_plugin", None))
