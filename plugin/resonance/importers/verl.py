# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""verl's rows for reinforcement learning: `prompt` as messages, `images`, the answer in `reward_model`.

As `examples/data_preprocess/geo3k.py` of verl writes them. Its preference rows (`prompt`, `chosen` and `rejected` as
text, of `full_hh_rlhf.py`) are those of TRL: `resonance data register`, or the importer `trl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .columns import json_object, json_value, labels, value
from .plain_rl import prompted
from .spec import Example, Importer, Options


def convert(row: dict[str, Any], options: Options) -> Iterable[Example]:
    """One row, one prompt; the answer becomes the column `ground_truth`, `extra_info` is kept as JSON."""
    answer = json_object(value(row, "reward_model"), "reward_model").get("ground_truth")
    beside: dict[str, Any] = {"ground_truth": answer if isinstance(answer, str) else json.dumps(answer)}
    if row.get("extra_info") is not None:
        beside["extra_info"] = json.dumps(row["extra_info"])
    yield prompted(row, json_value(value(row, "prompt"), "prompt"), beside | labels(row, "data_source", "ability"))


IMPORTER = Importer(
    name="verl",
    summary="prompts in verl's format (parquet): prompt as messages, images, reward_model; for rewards",
    convert=convert,
    stage="ppo",
    layout="alpaca",
)
