# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a batch is laid out for: the speed-ups in use, and what the models that read it can do.

Small and without tensors, so that the processes that load data can be given it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from . import attention, media, segments
from .cost import Layer
from .names import PADDING_FREE, SHARED_PREFIX, VISION_ONCE
from .prompts import CannotShareError

_AUDIO = ("audio_token_id", "audio_token_index")


@dataclass(frozen=True)
class Request:
    """Of one run, for one kind of batch.

    Attributes:
        on: the speed-ups in use, names of `names.SPEEDUPS`.
        always: use them whatever they cost, so that a comparison of one batch compares them.
        tokens: by kind of media, the ids that stand for it.
        attention: who attends over pieces, of `attention`.
        whole: why attention cannot be by pieces, or None.
        model_type: of the policy.
        layer: what a layer costs, for the choice of a way.
        device: of `cost.DEVICES`.
    """

    on: frozenset[str]
    always: bool
    tokens: tuple[tuple[str, frozenset[int]], ...]
    attention: str
    whole: str | None
    model_type: str
    layer: Layer
    device: str

    @classmethod
    def of(cls, models: Sequence[Any], on: Collection[str], always: bool) -> Request:
        """For unwrapped models that all read the batch; the first one is the policy."""
        policy = models[0]
        kinds = [attention.kind_of(model) for model in models]
        device = next(policy.parameters()).device.type
        half = segments.VARLEN in kinds or (segments.FLASH in kinds and device == "cuda")
        return cls(
            on=frozenset(on),
            always=always,
            tokens=tokens_by_kind(policy.config),
            attention=kinds[0],
            whole=_whole(models),
            model_type=policy.config.model_type,
            layer=Layer.of(policy.config),
            device="cuda half" if half else "cuda" if device == "cuda" else "cpu",
        )

    @property
    def shares(self) -> bool:
        return SHARED_PREFIX in self.on

    @property
    def packs(self) -> bool:
        return PADDING_FREE in self.on

    @property
    def encodes_once(self) -> bool:
        return VISION_ONCE in self.on


def _whole(models: Sequence[Any]) -> str | None:
    try:
        return next(filter(None, map(attention.cannot_split, models)), None)
    except CannotShareError as error:
        return str(error)


def tokens_by_kind(config: Any) -> tuple[tuple[str, frozenset[int]], ...]:
    """Ids of the tokens that stand for pictures, videos and sounds."""
    names = {**media.TOKENS, "audio": _AUDIO}
    found = {kind: {getattr(config, name, None) for name in of} for kind, of in names.items()}
    return tuple((kind, frozenset(t for t in ids if isinstance(t, int))) for kind, ids in found.items())


def media_tokens(config: Any) -> set[int]:
    """Those of all kinds."""
    return {token for _, ids in tokens_by_kind(config) for token in ids}


def install(models: Sequence[Any]) -> None:
    """Let the models be called with pieces where they can be."""
    for model in models:
        attention.install(model)
