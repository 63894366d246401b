# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every kind of problem that `resonance data check` tells, how bad it is, and what to do.

Errors are what stops a training run of this package, or what it leaves out; a test holds the two together. Four more
are errors because the command line asked for them (scores, lengths, leakage), or because no row can be read.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ...rows.fields import BAD_LABEL
from ...rows.validate.findings import CURES, EMPTY_RESPONSE, IDENTICAL_PAIR, IMAGE_IN_ANSWER, INVALID_TURNS

Found = tuple[str, str]  # a kind, and what was found


class Kind(NamedTuple):
    """How bad a problem is, and its cure."""

    severity: Literal["error", "warning"]
    fix: str


def _error(fix: str) -> Kind:
    return Kind("error", fix)


def _warning(fix: str) -> Kind:
    return Kind("warning", fix)


ROW_CHANGED = "Correct or remove the row; --fix OUT.json writes a copy without it."

KINDS: dict[str, Kind] = {
    # nothing, or not all, can be read
    "no rows": _error("Check that this is the file you mean, and that its download is complete."),
    "file unreadable": _error("Check that the file is whole and of the type that its name says."),
    "not JSON": _error(CURES["not JSON"]),
    "entry": _error("Correct the entry in dataset_info.json; `resonance data register` writes one from the file."),
    "unknown columns": _error(
        "`resonance data register --help` says how to name columns, `resonance data import --list` what is converted."
    ),
    "rejected unread": _error(
        'Name both answers in the entry, with "ranking": true; for the answers alone write "ranking": false. Rows of '
        "another layout are converted: `resonance data import --list`."
    ),
    "column missing": _error("Correct `columns` of the dataset_info.json entry, or the file."),
    "row unreadable": _error(CURES["row unreadable"]),
    "mixed column": _error(CURES["mixed column"]),
    "large number": _error(CURES["large number"]),
    "dates": _error(CURES["dates"] + " --fix OUT.json writes one."),
    "late column": _error(CURES["late column"] + " --fix OUT.json writes one."),
    # one row
    INVALID_TURNS: _error("Turns alternate, the first and the last one of the prompt are the user's. " + ROW_CHANGED),
    "message not text": _error(CURES["message not text"]),
    "media token": _error(CURES["media token"]),
    "not Unicode": _error("Replace the half characters (lone surrogates); --fix does."),
    EMPTY_RESPONSE: _error(ROW_CHANGED),
    IDENTICAL_PAIR: _error(ROW_CHANGED),
    "no question": _error(ROW_CHANGED),
    BAD_LABEL: _error(CURES[BAD_LABEL]),
    IMAGE_IN_ANSWER: _error(CURES[IMAGE_IN_ANSWER]),
    "bad score": _error(CURES["bad score"]),
    "score out of range": _error("Rescale the scores (`resonance data score-scale`), or correct --score-range."),
    "placeholder count": _error(CURES["placeholder count"]),
    "too long": _error("Raise `cutoff_len`, shrink images (`image_max_pixels`), or set `overlong` in the recipe."),
    "not measured": _error("Correct the row; the message is that of the model's own processor."),
    # media
    "image missing": _error(CURES["image missing"] + " `resonance data fix-paths` rewrites paths."),
    "not a path": _error(CURES["not a path"]),
    "image empty": _error("The file has no bytes: copy or download it again."),
    "image unreadable": _error(CURES["image unreadable"]),
    "image truncated": _error("The file breaks off: copy or download it again, or remove the row."),
    "video missing": _error(CURES["video missing"]),
    "audio missing": _error(CURES["audio missing"]),
    "video unreadable": _error(CURES["video unreadable"]),
    "audio unreadable": _error(CURES["audio unreadable"]),
    # between rows and sets
    "leaked row": _error("Remove the row from one of the two sets; --fix leaves it out."),
    "leaked image": _warning("Decide whether the sets may share images; the questions about them differ."),
    "duplicate row": _warning("Remove it, unless it is to count twice; --strict --fix leaves it out."),
    "duplicate prompt": _warning("Fine for several pairs a prompt; keep them on one side of a train/eval split."),
    "contradiction": _warning("Another row prefers the other answer; decide which one is right."),
    # worth knowing
    "media unread": _warning(
        "Name the column in the entry: `resonance data register FILE --set columns.images=NAME`."
    ),
    "score gap": _warning(
        "No loss but one that weighs pairs by scores needs them: give every row both, or leave them."
    ),
    "entry unread": _warning("Correct the name in dataset_info.json, or take it out."),
    "score order": _warning("If that is most rows, `score_chosen` and `score_rejected` may name each other's column."),
    "answer missing": _warning("Give the row an answer, or remove it: rewards that read it leave the row out."),
    "answer in prompt": _warning("Take it out of the prompt: completions that repeat it are rewarded."),
    "empty prompt": _warning("Check which column is the prompt."),
    "empty answer": _warning("LlamaFactory trains on it; remove the row unless it is meant."),
    "image animated": _warning("Only the first frame is seen: save it as an image, or use `videos`."),
    "image CMYK": _warning("Colours shift when it is converted: save it as RGB."),
    "image 16 bit": _warning("Converting to RGB clips it to white: scale it to 8 bits."),
    "image transparent": _warning("Save it on a white ground; an import that writes pictures does (--copy-images)."),
    "image turned": _warning("Its EXIF orientation is not applied in training: save the pixels turned."),
    "image oversized": _warning("It is decoded in full for every step: save it smaller."),
}


def has_error(found: list[Found]) -> bool:
    """Whether any finding is an error."""
    return any(KINDS[kind].severity == "error" for kind, _ in found)
