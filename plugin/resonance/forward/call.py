# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One model call over a batch of K continuations of B prompts, with the speed-ups that are on.

Room: `forward/`. Whatever is on, the result is the same to rounding: per-token log-probabilities in the columns of the
batch. With nothing on, the call is the plain one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from . import attention, head, layout, masks, vision
from .names import FROZEN_TOWER, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from .result import TokenLogps

if TYPE_CHECKING:
    from .features import FeatureCache

_MEDIA_TOKEN = ("image_token_id", "image_token_index", "video_token_id", "video_token_index", "audio_token_id")


@dataclass
class Prepared:
    """A batch laid out once for all models that read it. `reason`: why its prompts are not shared, if they are not."""

    layout: layout.Layout
    on: Collection[str]
    reason: str | None = None
    features: dict[Any, Any] | None = field(default=None, repr=False)
    caches: dict[int, FeatureCache] = field(default_factory=dict, repr=False)  # by the id of the model they serve


class Forward:
    """Prepares batches and calls models. `on`: the speed-ups in use, names of `names.SPEEDUPS`."""

    def __init__(self, on: Collection[str], continuations: int = 2) -> None:
        self.on = frozenset(on)
        self.continuations = continuations
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
        rows, reason = None, None
        if SHARED_PREFIX in on:
            try:
                rows = layout.shared(batch, self.continuations, media_tokens(policy.config))
                masks.check_token_types(rows.inputs.get("token_type_ids"), policy.config)
                for model in {id(policy): policy, id(reference or policy): reference or policy}.values():
                    attention.install(model)
            except layout.CannotShareError as error:
                rows, reason = None, str(error)
        # all ranks compare or none: a cache may be switched off on one of them only
        compare = reference is not None and (VISION_ONCE in on or self.feature_cache is not None)
        same = compare and self._same_features(policy, reference)
        caches = {}
        if self.feature_cache is not None and self.feature_cache.serves(policy):
            caches = {id(model): self.feature_cache for model in ((policy, reference) if same else (policy,))}
        features: dict[Any, Any] | None = {} if same and VISION_ONCE in on else None
        return Prepared(rows or layout.plain(batch, self.continuations), on, reason, features, caches)

    @staticmethod
    def call(model: Any, inner: Any, prepared: Prepared) -> TokenLogps:
        """Call `model`, of which `inner` is the unwrapped module, on a prepared batch."""
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
            calls = stack.enter_context(head.on_response_rows(inner, rows)) if RESPONSE_HEAD in on else None
            logits = model(**inputs, return_dict=True, use_cache=False).logits
        if calls is not None and calls() != 1:
            raise RuntimeError(f"{type(inner).__name__} called its output head {calls()} times, not once")
        return _collect(logits, rows, on, inner.config)


def _collect(logits: torch.Tensor, rows: layout.Layout, on: Collection[str], config: Any) -> TokenLogps:
    """From the model's output to the columns of the batch."""
    count = len(rows.positions)
    if RESPONSE_HEAD in on and not head.keeps_logits(config):
        logps, mean_logits = logits[0, :count, 0], logits[0, count:, 0].detach()
    else:
        flat = logits.reshape(-1, logits.shape[-1])
        chosen = (flat if RESPONSE_HEAD in on else flat[rows.positions]).float()
        logps = chosen.log_softmax(-1).gather(1, rows.targets[:, None]).squeeze(1)
        mean_logits = head.block_means(chosen.mean(-1), rows)
    size = rows.shape[0] * rows.shape[1]
    values = logps.new_zeros(size, dtype=torch.float32).index_copy(0, rows.owners, logps.float())
    mask = torch.zeros(size, dtype=torch.bool, device=logps.device).index_fill_(0, rows.owners, True)
    return TokenLogps(values.view(rows.shape), mask.view(rows.shape), mean_logits)


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
    if any(model.get_output_embeddings() is None for model in models):
        reasons[RESPONSE_HEAD] = "no output head"
    if active := next(filter(None, map(vision.dropout, models)), None):
        reasons |= dict.fromkeys((SHARED_PREFIX, VISION_ONCE), f"dropout is on ({active})")
    for model in models:
        try:
            _check_shareable(model)
        except layout.CannotShareError as error:
            reasons.setdefault(SHARED_PREFIX, str(error))
    return reasons


def _check_shareable(model: Any) -> None:
    text = model.config.get_text_config()
    masks.windows(model.config)
    implementation = getattr(text, "_attn_implementation", None)
    if implementation not in ("sdpa", "eager", attention.NAME):
        raise layout.CannotShareError(f"attention {implementation} takes no mask of one's own")
    if getattr(model, "_is_stateful", False) or getattr(model.config, "is_encoder_decoder", False):
        raise layout.CannotShareError("the model carries a state from token to token")
    if getattr(text, "cross_attention_layers", None):
        raise layout.CannotShareError("the model attends to pictures across")
    if getattr(text, "output_router_logits", False):
        raise layout.CannotShareError("the auxiliary loss of the experts counts tokens")
