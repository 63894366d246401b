# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One model call over a batch of responses to prompts, with the speed-ups that are on.

Whatever is on, the result is the same to rounding: per-token log-probabilities in the columns of the
batch. With nothing on, the call is the plain one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from . import attention, head, host, layout, masks, media, request, tower, varlen, vision
from .names import FROZEN_TOWER, PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from .prompts import CannotShareError
from .readers import DEFAULT, Reader
from .request import Request, media_tokens
from .result import TokenLogps, collect

if TYPE_CHECKING:
    from .features import FeatureCache
    from .planner import Planner

__all__ = ["Forward", "Prepared", "capabilities", "media_tokens"]

_NOISE = "neftune_noise_alpha"  # the recipe's key, and the attribute that Transformers gives the embeddings


@dataclass
class Prepared:
    """A batch laid out once for all models that read it.

    `reasons`: by name, why a speed-up is not used for it. `chosen`: how it is laid out and why, in words that are the
    same for all such batches; nothing if there was no choice. `way`: of `cost`, without the why.
    """

    layout: layout.Layout
    on: Collection[str]
    reasons: dict[str, str] = field(default_factory=dict)
    chosen: str = ""
    way: str = ""
    features: dict[Any, Any] | None = field(default=None, repr=False)
    caches: dict[int, FeatureCache] = field(default_factory=dict, repr=False)  # by the id of the model they serve


class Forward:
    """Prepares batches and calls models.

    Args:
        on: the speed-ups in use, names of `names.SPEEDUPS`.
        always: use them for every batch, whatever they cost, so that a test of one batch tests them.
    """

    def __init__(self, on: Collection[str], *, always: bool = False) -> None:
        self.on = frozenset(on)
        self.always = always
        self.feature_cache: FeatureCache | None = None  # of the policy, and of a reference with the same features
        self.planner: Planner | None = None  # of the collator, which is to lay out batches as they are needed here
        self._same_features = vision.SameFeatures()

    def prepare(
        self, batch: dict[str, Any], policy: Any, reference: Any = None, on: Collection[str] | None = None
    ) -> Prepared:
        """Lay out a batch for the unwrapped models that will read it.

        Args:
            batch: as LlamaFactory's collators make it; rows with equal prompts may be anywhere, in any number.
            policy: the model that trains.
            reference: another model, the policy itself if the reference is the policy with its adapters off, or None
                if nothing but the policy reads the batch.
            on: other speed-ups than the object's own.
        """
        on = self.on if on is None else frozenset(on)
        models = list({id(model): model for model in (policy, policy if reference is None else reference)}.values())
        batch = dict(batch)
        rows = self._lay_out(batch, models, on)
        # all ranks compare or none: a cache may be switched off on one of them only
        compare = reference is not None and (VISION_ONCE in on or self.feature_cache is not None)
        same = compare and self._same_features(policy, reference)
        caches = {}
        if self.feature_cache is not None and self.feature_cache.serves(policy):
            caches = {id(model): self.feature_cache for model in ((policy, reference) if same else (policy,))}
        features: dict[Any, Any] | None = {} if same and VISION_ONCE in on else None
        return Prepared(
            rows.layout(batch), on, dict(rows.choice.reasons), rows.chosen, rows.choice.way, features, caches
        )

    def _lay_out(self, batch: dict[str, Any], models: list[Any], on: Collection[str]) -> host.HostLayout:
        """The layout that came with the batch, if it is for these models and speed-ups; else another one."""
        for model in models:
            varlen.install(model)
        if PADDING_FREE in on:
            request.install(models)
        wanted, given = Request.of(models, on, self.always), batch.pop(host.KEY, None)
        if self.planner is not None:
            self.planner.request = wanted
        if given is None:
            return host.lay_out(batch, wanted)
        return given if given.request == wanted else host.lay_out(batch, wanted, given.media)

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
        body = head.value_body(inner, readers)
        one_tower = body is not None and VISION_ONCE in on and vision.one_tower(inner, body)
        features = {} if one_tower and prepared.features is None else prepared.features
        inputs = {name: _own(name, value) for name, value in rows.inputs.items()}
        if rows.segments is not None and rows.segments.pieces is not None:
            inputs |= attention.arguments(inner, rows.segments.pieces)
        elif rows.segments is not None:
            types = rows.inputs.get("token_type_ids")
            inputs["attention_mask"] = masks.attention_masks(rows.segments, inner.config, types)
        with ExitStack() as stack:
            cache = prepared.caches.get(id(inner))
            stack.enter_context(vision.pictures(inner, FROZEN_TOWER in on, features, rows.encoded, cache))
            if body is not None:
                memo = features if one_tower else None
                stack.enter_context(vision.pictures(body, FROZEN_TOWER in on, memo, rows.encoded))
            stack.enter_context(head.reading(inner, rows, readers, RESPONSE_HEAD in on))
            readings = model(**inputs, return_dict=True, use_cache=False)
        if not isinstance(readings, head.Readings):
            raise RuntimeError(
                f"{type(model).__name__} does not call the {type(inner).__name__} that it was said to wrap"
            )
        return collect(readings, rows)


def _own(name: str, value: Any) -> Any:
    """Token ids and masks as a copy: some models write into them, and another model reads them next."""
    tokens = isinstance(value, torch.Tensor) and not value.is_floating_point() and not media.is_media(name)
    return value.clone() if tokens else value


def capabilities(policy: Any, reference: Any = None) -> dict[str, str]:
    """Which speed-ups cannot be used with these unwrapped models, and why."""
    reasons: dict[str, str] = {}
    models = [model for model in (policy, reference) if model is not None]
    if any(hasattr(model, "_orig_mod") for model in models):
        return dict.fromkeys(SPEEDUPS, "torch.compile")
    if tower.owner_of_features(policy) is None:
        reasons |= dict.fromkeys((FROZEN_TOWER, VISION_ONCE), "no vision tower")
    heads = [model.get_output_embeddings() for model in models]
    if any(head is None for head in heads):
        reasons[RESPONSE_HEAD] = "no output head"
    elif active := next(filter(None, map(tower.dropout, heads)), None):
        reasons[RESPONSE_HEAD] = f"dropout is on in the head ({active})"
    if active := next(filter(None, map(tower.dropout, models)), None):
        reasons |= dict.fromkeys((PADDING_FREE, SHARED_PREFIX, VISION_ONCE), f"dropout is on ({active})")
    if any(getattr(model.get_input_embeddings(), _NOISE, None) for model in models):
        reasons |= dict.fromkeys((PADDING_FREE, SHARED_PREFIX), f"embeddings are noisy ({_NOISE})")
    for model in models:
        try:
            _check_shareable(model)
        except CannotShareError as error:
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
        raise CannotShareError(f"attention {implementation} takes no mask of one's own")
    if getattr(model, "_is_stateful", False) or getattr(model.config, "is_encoder_decoder", False):
        raise CannotShareError("the model carries a state from token to token")
    if getattr(text, "cross_attention_layers", None):
        raise CannotShareError("the model attends to pictures across")
    if getattr(text, "output_router_logits", False):
        raise CannotShareError("the auxiliary loss of the experts counts tokens")
