# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows that cannot be used, and the reason each gets: what holds for all importers, and for those of `cases_rated`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from importers.case import picture
from importers.cases_rated import RATED, annotations


@dataclass
class Ugly:
    """A raw row (or a line that is no row), and what is said of it."""

    id: str
    row: Any
    reason: str
    detail: str = ""
    importer: str = "rlaif_v"
    flags: tuple[str, ...] = ()


# beside the raw file: 1.png is sound; see `test_ugly.py`
SOUND = {"question": "What?", "chosen": "A square.", "rejected": "A dog.", "image_path": "1.png"}
RATED_ROW = {"id": "1", "prompt": "What?", "img_path": "1.png", "completions": RATED}
VQA = {"question": "Is it?", "answer": "yes", "image_path": "1.png"}
THINKER = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A."}]}


def rlaif(**changes: Any) -> dict[str, Any]:
    return SOUND | changes


UGLY = [
    Ugly("a line that is no JSON", '{"question": ', "not JSON", "line 1 is not valid JSON"),
    Ugly("a row that is a list", ["What?"], "not an object", "list"),
    Ugly("a row that is null", None, "not an object", "NoneType"),
    Ugly("a column that is missing", {"chosen": "a", "rejected": "b"}, "no column question", "has chosen, rejected"),
    Ugly("a column that is null", rlaif(chosen=None), "no column chosen"),
    Ugly("a number for a text", rlaif(chosen=5), "chosen is not text", "int: 5"),
    Ugly("a list for a text", rlaif(question=["What?"]), "question is not text", "list"),
    Ugly("an empty answer", rlaif(rejected=" \n"), "empty rejected text"),
    Ugly("an empty question", rlaif(question=""), "empty user text"),
    Ugly("equal answers", rlaif(rejected=" A square.\n"), "chosen and rejected are the same", "A square."),
    Ugly("half a surrogate pair", rlaif(chosen="a \ud83d square"), "text that is not valid Unicode", "\\ud83d"),
    Ugly(
        "more placeholders than images",
        rlaif(question="<image><image>?"),
        "<image> does not match",
        "2 in the text, 1",
    ),
    Ugly("a placeholder in an answer", rlaif(chosen="see <image>"), "<image> in an answer", "see the same"),
    Ugly(
        "a film's placeholder without a film", rlaif(question="<video>?"), "<video> does not match", "1 in the text, 0"
    ),
    Ugly("a sound's placeholder", rlaif(question="<audio>?"), "<audio> in the text"),
    Ugly("no image column", {k: v for k, v in SOUND.items() if k != "image_path"}, "no column image or image_path"),
    Ugly("empty image columns", rlaif(image={"bytes": None, "path": None}, image_path=""), "no image in the row"),
    Ugly("an image that is missing", rlaif(image_path="2.png"), "image missing", "2.png"),
    Ugly("an image that is a folder", rlaif(image_path="folder"), "image missing", "folder"),
    Ugly("an image that is empty", rlaif(image_path="empty.png"), "image cannot be opened", "no known image format"),
    Ugly("an image that is text", rlaif(image_path="text.png"), "image cannot be opened", "no known image format"),
    Ugly(
        "an image cut short",
        rlaif(image_path="cut.jpg"),
        "image cannot be opened",
        "truncated",
        flags=("--copy-images",),
    ),
    Ugly("an image of 32 bits", rlaif(image_path="f.tiff"), "image cannot be opened", "32", flags=("--copy-images",)),
    Ugly(
        "an image's address",
        rlaif(image_path="https://x.org/1.png"),
        "image is not a path",
        "is an address: images, videos and audios are not fetched, download it",
    ),
    Ugly("an image that is a number", rlaif(image_path=7), "an image is neither a path nor bytes", "7"),
    Ugly("a name no file can have", rlaif(image_path="x" * 5000), "image missing"),
    Ugly("a name with a zero byte", rlaif(image_path="a\0b"), "image missing"),
    Ugly("a path that climbs", rlaif(image_path="../1.png"), "image path climbs out of its folder", "../1.png"),
    Ugly("a path that climbs later", rlaif(image_path="a/../../1.png"), "image path climbs out of its folder"),
    Ugly("a Windows path that climbs", rlaif(image_path="..\\1.png"), "image path climbs out of its folder"),
    Ugly(
        "an absolute path beside an image root",
        rlaif(image_path="/etc/1.png"),
        "image path climbs out of its folder",
        "/etc/1.png",
        flags=("--image-root", "{folder}"),
    ),
    Ugly(
        "text that is no JSON",
        {"text": "{'question': 1}", "image_path": "1.png"},
        "text is not JSON",
        importer="rlhfv",
    ),
    Ugly("text that is a list", {"text": "[]", "image_path": "1.png"}, "text is not an object", "list", "rlhfv"),
    Ugly("text without an answer", {"text": json.dumps({"question": "?"})}, "no column chosen", "question", "rlhfv"),
    Ugly("one completion", RATED_ROW | {"completions": RATED[:1]}, "fewer than two completions", "1", "vlfeedback"),
    Ugly(
        "completions that are text", RATED_ROW | {"completions": "x"}, "completions are not answers", "", "vlfeedback"
    ),
    Ugly(
        "completions of two lengths",
        RATED_ROW | {"completions": {"response": ["a"], "annotations": []}},
        "completions are not lists of one length",
        importer="vlfeedback",
    ),
    Ugly(
        "a rating that is no number",
        RATED_ROW | {"completions": [RATED[0], RATED[1] | {"annotations": annotations("N/A", "5", "5")}]},
        "a rating is not a number",
        "b: Helpfulness 'N/A'",
        "vlfeedback",
    ),
    Ugly(
        "a rating that is nan",
        RATED_ROW | {"completions": [RATED[0], RATED[1] | {"annotations": annotations("nan", "5", "5")}]},
        "a rating is not a number",
        importer="vlfeedback",
    ),
    Ugly(
        "no ratings at all",
        RATED_ROW | {"completions": [RATED[0], RATED[1] | {"annotations": None}]},
        "a rating is not a number",
        importer="vlfeedback",
    ),
    Ugly(
        "messages that are text",
        THINKER | {"messages": "Hi"},
        "messages is no list of messages",
        "Hi",
        "openvlthinker",
    ),
    Ugly(
        "messages in a wrong order",
        {"messages": THINKER["messages"][::-1]},
        "the turns are not user, assistant, ... in order",
        "['assistant', 'user']",
        "openvlthinker",
    ),
    Ugly(
        "a question without an answer",
        {"messages": THINKER["messages"][:1]},
        "the turns are not user, assistant, ... in order",
        "the answer last",
        "openvlthinker",
    ),
    Ugly(
        "fewer images than placeholders",
        THINKER | {"messages": [{"role": "user", "content": "<image>"}, THINKER["messages"][1]]},
        "<image> does not match",
        "1 in the text, 0",
        "openvlthinker",
    ),
    Ugly(
        "no wrong answer to be had",
        VQA | {"question": "Who?", "answer": "me"},
        "no wrong answer to be had",
        "'who'",
        "vqa_rad",
        ("--synthetic-pairs",),
    ),
]
SOUND_ROWS = {
    "rlaif_v": SOUND,
    "rlhfv": {"text": json.dumps(SOUND), "image_path": "1.png"},
    "vlfeedback": RATED_ROW,
    "openvlthinker": THINKER,
    "vqa_rad": VQA,
}
MEDIA = {
    "1.png": picture(1),
    "empty.png": b"",
    "text.png": b"no picture",
    "cut.jpg": picture(2, "JPEG")[:-40],
    "f.tiff": picture(1, "TIFF", "F"),
    "folder/1.png": picture(1),
}
