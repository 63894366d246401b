# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Processors of every family, small and made on the spot, and LlamaFactory's plugin of each."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "benchmark_image_tokens.py"
# Small outputs, so that the real path takes milliseconds.
SMALL: dict[str, dict[str, Any]] = {
    "qwen2_vl": {},
    "qwen2_5_vl": {"size": {"shortest_edge": 28 * 28, "longest_edge": 224 * 224}},
    "qwen3_vl": {"size": {"shortest_edge": 64 * 64, "longest_edge": 300 * 300}},
    "llava": {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    "llava_next": {
        "size": {"shortest_edge": 56},
        "crop_size": {"height": 56, "width": 56},
        "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]],
    },
    "intern_vl": {"size": {"height": 32, "width": 32}},
    "gemma3": {"size": {"height": 56, "width": 56}},
}


class Case(NamedTuple):
    """A plugin with a processor that fits."""

    plugin: Any
    processor: Any

    def real(self, messages: Any, images: Any, videos: Any = ()) -> Any:
        return outcome(type(self.plugin).process_messages, self.plugin, messages, images, videos, [], self.processor)


def outcome(function: Any, *args: Any) -> Any:
    """What a call returns, or the type of what it raises."""
    try:
        return function(*args)
    except Exception as error:  # to be compared, whatever it is
        return type(error)


@lru_cache(1)
def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_image_tokens", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_case(family: str, backend: str | None = None, **options: Any) -> Case:
    """A family's small processor; `backend` is the suffix of another class of its image processor."""
    from llamafactory.data.template import TEMPLATES

    script = load_script()
    processor = script.make_processor(family, backend, **SMALL[family] | options)
    return Case(TEMPLATES[script.FAMILIES[family].template].mm_plugin, processor)


@pytest.fixture
def qwen() -> Case:
    """A Qwen2-VL to be changed."""
    return make_case("qwen2_vl")


@pytest.fixture(scope="session")
def shared() -> Case:
    """A Qwen2-VL for tests that leave it as it is."""
    return make_case("qwen2_vl")


@pytest.fixture(scope="session")
def counter(shared: Case) -> Any:
    """The counter of `shared`."""
    from resonance.rows.vision.counter import make_counter

    return make_counter(shared.plugin, shared.processor)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Warnings of LlamaFactory's logger, which does not propagate."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("llamafactory")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
