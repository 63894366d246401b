# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Keys of LlamaFactory and Transformers that a run does not read because of another key. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Reader(NamedTuple):
    """Keys, the key that has to have a value for them to be read, and which; no values stand for any that is on."""

    keys: tuple[str, ...]  # a name, or the beginning of names
    key: str
    values: tuple[Any, ...] = ()
    default: Any = None


_READERS = (
    Reader(("lora_", "use_rslora", "use_dora", "pissa_", "loraplus_"), "finetuning_type", ("lora",), "lora"),
    Reader(("oft_", "module_dropout"), "finetuning_type", ("oft",), "lora"),
    Reader(("freeze_trainable_", "freeze_extra_modules"), "finetuning_type", ("freeze",), "lora"),
    Reader(("galore_",), "use_galore"),
    Reader(("apollo_",), "use_apollo"),
    Reader(("badam_",), "use_badam"),
    Reader(("swanlab_",), "use_swanlab"),
    Reader(("quantization_method", "quantization_type", "double_quantization"), "quantization_bit"),
    Reader(("eval_steps",), "eval_strategy", ("steps",), "no"),
    Reader(("save_steps",), "save_strategy", ("steps",), "steps"),
)


def idle_warnings(given: Mapping[str, Any]) -> list[str]:
    """One warning a key that has no effect; what is off has none on purpose."""
    found = []
    for reader in _READERS:
        value = given.get(reader.key, reader.default)
        if value in reader.values if reader.values else value:
            continue
        needs = " or ".join(f"`{reader.key}: {each}`" for each in reader.values) or f"`{reader.key}`"
        has = f"this recipe has `{reader.key}: {value}`" if value else f"this recipe has no {reader.key}"
        found += [
            f"{key}: no effect without {needs}, and {has}; remove the key"
            for key in given
            if key.startswith(reader.keys) and given[key] not in (None, False)
        ]
    return found
