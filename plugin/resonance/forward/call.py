# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One model call over a batch of K continuations of B prompts, with the speed-ups that are on.

Whatever is on, the result is the same to rounding: per-token log-probabilities in the columns of the
batch. With nothing on, the call is the plain one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from . import attention, head, layout, masks, packing, varlen, vision
from .names import FROZEN_TOWER, PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from .readers import DEFAULT, Reader
from .result import TokenLogps, collect

if TYPE_CHECKING:
    from .features import FeatureCache

_MEDIA_TOKEN = ("image_token_id", "image_token_index", "video_token_id", "video_token_index", "audio_token_id")
_NOISE = "neftune_noise_alpha"  # the recipe's key, and the attribute that Transformers gives the embeddings


@dataclass
class Prepared:
    """A batch laid out once for all models that read it. `reasons`: by name, why a speed-up is not used for it."""

    layout: layout.Layout
    on: Collection[str]
    reasons: dict[str, str] = field(default_factory=dict)
    features: dict[Any, Any] | None = field(default=None, repr=False)
    caches: dict[int, FeatureCache] = field(default_factory=dict, repr=False)  # by the id of the model they serve


class Forward:
    """Prepares batches and calls models.

    Args:
        on: the speed-ups in use, names of `names.SPEEDUPS`.
        continuations: K, of each prompt.
        pack_always: under `padding_free`, pack rows even if nothing is saved, so that a test of one batch tests it.
    """

    def __init__(self, on: Collection[str], continuations: int = 2, pack_always: bool = False) -> None:
        self.on = frozenset(on)
        self.continuations = continuations
        self.pack_always = pack_always
        self.feature_cache: FeatureCache | None = None  # of the policy, and of a reference with the same features
        self._same_features = vision.SameFeatures()

    def prepare(
        self, batch: dict[str, Any], policy: Any, reference: Any = None, on: Collection[str] | None = None
    ) -> Prepared:
        """Lay out a batch for the unwrapped models that will read it.

        `reference`: another model, the policy itself if the reference is the policy with its adapters off, or None if
        nothing but the policy reads the batch.
        """
        on = self.on if on is None else frozenset(on)
        models = list({id(model): model for model in (policy, reference or policy)}.values())
        rows, reasons = self._lay_out(batch, models, on)
        # all ranks compare or none: a cache may be switched off on one of them only
        compare = reference is not None and (VISION_ONCE in on or self.feature_cache is not None)
        same = compare and self._same_features(policy, reference)
        caches = {}
        if self.feature_cache is not None and self.feature_cache.serves(policy):
            caches = {id(model): self.feature_cache for model in ((policy, reference) if same else (policy,))}
        features: dict[Any, Any] | None = {} if same and VISION_ONCE in on else None
        return Prepared(rows, on, reasons, features, caches)

    def _lay_out(
        self, batch: dict[str, Any], models: list[Any], on: Collection[str]
    ) -> tuple[layout.Layout, dict[str, str]]:
        """The rows that all `models` can read, and why they are not shared or packed where they should be."""
        media, rows, reasons = media_tokens(models[0].config), None, {}
        for model in models:
            varlen.install(model)
        if SHARED_PREFIX in on:
            try:
                shared = layout.shared(batch, self.continuations, media)
                masks.check_token_types(shared.inputs.get("token_type_ids"), models[0].config)
                for model in models:
                    attention.install(model)
                rows = shared
            except layout.CannotShareError as error:
                reasons[SHARED_PREFIX] = str(error)
        rows = rows or layout.plain(batch, self.continuations)
        if PADDING_FREE in on:
            try:
                rows = self._packed(rows, models, media)
            except layout.CannotShareError as error:
                reasons[PADDING_FREE] = str(error)
        return rows, reasons

    def _packed(self, rows: layout.Layout, models: list[Any], media: Collection[int]) -> layout.Layout:
        """All rows in one; `rows` themselves if there is but one, or nothing to save."""
        if len(rows.inputs["input_ids"]) == 1 and not self.pack_always:
            return rows
        for model in models:
            if why := attention.cannot_split(model):
                raise layout.CannotShareError(why)
            attention.install(model)
        masks.check_token_types(rows.inputs.get("token_type_ids"), models[0].config)
        packed = packing.pack(rows, media)
        return packed if self.pack_always or packing.tokens(packed) < packing.tokens(rows) else rows

    @staticmethod
    def call(model: Any, inner: Any, prepared: Prepared, readers: Sequence[Reader] = DEFAULT) -> TokenLogps:
        """Call `model`, of which `inner` is the unwrapped module, on a prepared batch.

        Args:
            model: as it was wrapped for training.
            inner: unwrapped.
            prepared: of `prepare`.
            readers: what to read for each response token; see `readers.py`.
        """
        rows, on = prepared.layout, prepared.on
        inputs = {name: _own(name, value) for name, value in rows.inputs.items()}
        if rows.segments is not None:
            inputs |= attention.arguments(inner, rows.segments) or {
                "attention_mask": masks.attention_masks(rows.segments, inner.config, rows.inputs.get("token_type_ids"))
            }
        with ExitStack() as stack:
            copies = rows.copies if VISION_ONCE in on else 1
            cache = prepared.caches.get(id(inner))
            stack.enter_context(vision.pictures(inner, FROZEN_TOWER in on, prepared.features, copies, cache))
            stack.enter_context(head.reading(inner, rows, readers, RESPONSE_HEAD in on))
            readings = model(**inputs, return_dict=True, use_cache=False)
        return collect(readings, rows)


def _own(name: str, value: Any) -> Any:
    """Token ids and masks as a copy: some models write into them, and another model reads them next."""
    tokens = isinstance(value, torch.Tensor) and not value.is_floating_point() and not layout.is_media(name)
    return value.clone() if tokens else value


def media_tokens(config: Any) -> set[int]:
    """Ids of the tokens that stand for pictures, videos and sounds."""
    found = {getattr(config, name, None) for name in _MEDIA_TOKEN}
    return {token for token in found if isinstance(token, int)}


def capabilities(policy: Any, reference: Any = None) -> dict[str, str]:
    """Which speed-ups cannot be used with these unwrapped models, and why."""
    reasons: dict[str, str] = {}
    models = [model for model in (policy, reference) if model is not None]
    if any(hasattr(model, "_orig_mod") for model in models):
        return dict.fromkeys(SPEEDUPS, "torch.compile")
    if vision.owner_of_features(policy) is None:
        reasons |= dict.fromkeys((FROZEN_TOWER, VISION_ONCE), "no vision tower")
    heads = [model.get_output_embeddings() for model in models]
    if any(head is None for head in heads):
        reasons[RESPONSE_HEAD] = "no output head"
    elif active := next(filter(None, map(vision.dropout, heads)), None):
        reasons[RESPONSE_HEAD] = f"dropout is on in the head ({active})"
    if active := next(filter(None, map(vision.dropout, models)), None):
        reasons |= dict.fromkeys((PADDING_FREE, SHARED_PREFIX, VISION_ONCE), f"dropout is on ({active})")
    if any(getattr(model.get_input_embeddings(), _NOISE, None) for model in models):
        reasons |= dict.fromkeys((PADDING_FREE, SHARED_PREFIX), f"embeddings are noisy ({_NOISE})")
    for model in models:
        try:
            _check_shareable(model)
        except layout.CannotShareError as error:
            reasons = dict.fromkeys((PADDING_FREE, SHARED_PREFIX), str(error)) | reasons
            continue
        if why := attention.cannot_split(model):
            reasons.setdefault(PADDING_FREE, why)
    return reasons


def _check_shareable(model: Any) -> None:
    text = model.config.get_text_config()
    masks.windows(model.config)
    implementation = getattr(text, "_attn_implementation", None)
    if implementation not in ("sdpa", "eager", attention.NAME) and not varlen.serves(model):
        raise layout.CannotShareError(f"attention {implementation} takes no mask of one's own")
    if getattr(model, "_is_stateful", False) or getattr(model.config, "is_encoder_decoder", False):
        raise layout.CannotShareError("the model carries a state from token to token")
    if getattr(text, "cross_attention_layers", None):
        raise layout.CannotShareError("the model attends to pictures across")
    if getattr(text, "output_router_logits", False):
        raise layout.CannotShareError("the auxiliary loss of the experts counts tokens")
