# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How long a row is: from the first rows of the recipe's data sets, from options, or from defaults.

Of an image only the header is read. LlamaFactory is imported inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ...datafiles.info import INFO
from ...datafiles.read import data_files, read_rows
from .shapes import Vision, Workload

ROWS = 64  # of each data set
DEFAULT_TEXT, DEFAULT_RESPONSE = 100, 200
MARKUP = 5  # tokens that a template puts around a message, about
CHARACTERS_PER_TOKEN = 4  # English text without a tokenizer at hand

ImageCounter = Callable[[tuple[int, int] | None], int]


class Row(NamedTuple):
    """Tokens of one row; `images` holds the tokens of each of its images."""

    text: int
    images: tuple[int, ...]
    response: int

    @property
    def total(self) -> int:
        return self.text + sum(self.images) + self.response


def workloads(
    given: Mapping[str, int | None], vision: Vision | None, args: tuple[Any, Any], batch: int = 1
) -> tuple[Workload, Workload]:
    """The mean row, from which FLOPs are computed, and the longest one, which memory has to hold.

    Args:
        given: `text`, `response`, `image_tokens` of the options; None where none was given.
        vision: the model's tower.
        args: LlamaFactory's model and data arguments.
        batch: examples of a micro-batch, which are padded to the longest of them.

    Raises:
        ValueError: the data set cannot be read.
    """
    model_args, data_args = args
    cutoff = data_args.cutoff_len
    rows: list[Row] = []
    why = "all lengths were given"
    if None in given.values():
        rows, why = sample_rows(vision, model_args, data_args)
        why = why if rows else f"defaults where no option was given, because {why}"
    image = default_image_tokens(vision, model_args)
    rows = rows or [Row(DEFAULT_TEXT, (image,) if vision else (), DEFAULT_RESPONSE)]
    rows = [_replaced(row, given) for row in rows]
    if len(rows) == 1:
        return cut(rows[0], cutoff, why), cut(rows[0], cutoff, why)
    images = max(1, round(sum(len(row.images) for row in rows) / len(rows)))
    mean = Row(
        round(sum(row.text for row in rows) / len(rows)),
        (round(sum(sum(row.images) for row in rows) / len(rows) / images),) * images,
        round(sum(row.response for row in rows) / len(rows)),
    )
    longest = max(rows, key=lambda row: row.total)
    uneven = spread([min(row.total, cutoff) for row in rows], batch)
    return replace(cut(mean, cutoff, f"mean of {why}"), spread=uneven), cut(longest, cutoff, f"longest of {why}")


def _replaced(row: Row, given: Mapping[str, int | None]) -> Row:
    text, response, image = given["text"], given["response"], given["image_tokens"]
    images = row.images if image is None else (image,) * len(row.images)
    return Row(row.text if text is None else text, images, row.response if response is None else response)


def spread(totals: Sequence[int], batch: int) -> float:
    """Expected longest of `batch` rows drawn from `totals` at random, over the mean row."""
    count = len(totals)
    shares = ((i / count) ** batch - ((i - 1) / count) ** batch for i in range(1, count + 1))
    longest = sum(total * share for total, share in zip(sorted(totals), shares, strict=True))
    return longest * count / sum(totals)


def cut(row: Row, cutoff: int, source: str) -> Workload:
    """A row after LlamaFactory has cut it to `cutoff_len`. Image tokens are not cut here: a run would fail on them."""
    from llamafactory.data.processor.processor_utils import infer_seqlen

    visual = sum(row.images)
    prompt, response = row.text + visual, row.response
    if prompt + response > cutoff:
        prompt, response = infer_seqlen(prompt, response, cutoff)
        source += f", cut to cutoff_len: {cutoff}"
        if visual > prompt:
            source += ", which cuts into the images: a run would fail, raise it"
    images = len([tokens for tokens in row.images if tokens])
    return Workload(max(prompt - visual, 0), images, round(visual / images) if images else 0, response, source)


def default_image_tokens(vision: Vision | None, model_args: Any) -> int:
    """The most tokens that one image can become: the cap of `image_max_pixels`, or the tiles of the tower."""
    if vision is None:
        return 0
    if vision.token_pixels:
        return model_args.image_max_pixels // vision.token_pixels
    return int((vision.tile or 0) / vision.patches) * vision.tiles


def image_tokens(size: tuple[int, int] | None, vision: Vision, model_args: Any) -> int:
    """Tokens of an image of (width, height): LlamaFactory's resize to its pixel limits, then whole tokens a side.

    An upper bound without a size, and for towers with tiles.
    """
    if size is None or not vision.token_pixels:
        return default_image_tokens(vision, model_args)
    width, height = size
    smallest, largest = model_args.image_min_pixels, model_args.image_max_pixels
    if not smallest <= width * height <= largest:
        scale = math.sqrt((largest if width * height > largest else smallest) / (width * height))
        width, height = int(width * scale), int(height * scale)
    side = math.sqrt(vision.token_pixels)
    return max(1, round(width / side)) * max(1, round(height / side))


def image_counter(vision: Vision, model_args: Any, data_args: Any) -> ImageCounter:
    """Tokens of an image by its size: for towers with tiles as the run counts them, if its processor is here."""
    from llamafactory.data.template import TEMPLATES
    from llamafactory.model.loader import load_tokenizer

    from ...rows.vision.counter import make_counter

    exact, template = None, TEMPLATES.get(data_args.template)
    if not vision.token_pixels and template is not None:
        try:
            exact = make_counter(template, load_tokenizer(model_args)["processor"])
        except (OSError, ValueError, KeyError, TypeError):  # no processor in the model's folder
            exact = None
    return lambda size: exact.image_tokens(size) if exact and size else image_tokens(size, vision, model_args)


def sample_rows(vision: Vision | None, model_args: Any, data_args: Any) -> tuple[list[Row], str]:
    """The first rows of each data set that lies on disk, and in words which they are, or why there are none."""
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list

    if not data_args.dataset:
        return [], "the recipe names no dataset"
    if not isinstance(data_args.dataset_dir, str) or not Path(data_args.dataset_dir, INFO).is_file():
        return [], f"{data_args.dataset_dir}/{INFO} is not there"
    rows: list[Row] = []
    named: list[str] = []
    tokens = token_counter(model_args)
    images = image_counter(vision, model_args, data_args) if vision else None
    for name, attr in zip(data_args.dataset, get_dataset_list(data_args.dataset, data_args.dataset_dir), strict=True):
        path = Path(data_args.dataset_dir, attr.dataset_name)
        if attr.load_from != "file" or not path.exists():
            return [], f"{name} is not on disk ({path if attr.load_from == 'file' else attr.dataset_name})"
        convert = get_dataset_converter(attr.formatting, attr, data_args)
        try:
            found = [convert(row) for _, row in islice(read_rows(data_files(path)[0]), ROWS)]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"dataset: {name}: a row of {path} is not as {INFO} says: {error!r}. "
                "Next: resonance data check, or give --text-tokens, --response-tokens and --image-tokens"
            ) from error
        rows += [row_lengths(row, images, tokens) for row in found if row["_response"]]
        named.append(f"the first {len(found)} rows of {name}")
    return rows, " and ".join(named)


def row_lengths(row: Mapping[str, Any], images: ImageCounter | None, tokens: Callable[[str], int]) -> Row:
    text = sum(tokens(message["content"]) + MARKUP for message in row["_prompt"])
    text += tokens(row["_system"] or "") + tokens(row["_tools"] or "")
    response = max(tokens(message["content"]) + MARKUP for message in row["_response"])
    return Row(text, tuple(images(_size(image)) for image in row["_images"] or []) if images else (), response)


def _size(image: Any) -> tuple[int, int] | None:
    """(width, height) of an image, None if there is nothing readable."""
    from ...rows.vision.header import image_size

    try:
        return image_size(image)
    except (OSError, AttributeError, TypeError, KeyError):
        return None


def token_counter(model_args: Any) -> Callable[[str], int]:
    """A function from text to a number of tokens: the model's tokenizer, or characters over 4 without one."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model_args.model_name_or_path, trust_remote_code=model_args.trust_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError):
        tokenizer = None
    # from a folder with nothing but config.json Transformers 5 makes a tokenizer without a vocabulary
    if tokenizer is None or tokenizer.decode(tokenizer("a", add_special_tokens=False)["input_ids"]).strip() != "a":
        return lambda text: len(text) // CHARACTERS_PER_TOKEN
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
