# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Shapes of decoders and vision towers, from Transformers' configurations. Standard library only."""

from __future__ import annotations

from typing import Any

from .shapes import Decoder, Vision

# Bytes of half precision an activation function keeps for each element of its input: quick GELU keeps x and its
# sigmoid, the others x alone.
_SAVED_BY_ACTIVATION = {"quick_gelu": 4}
# Into how many the published processors cut a picture up, at most: quarters and the whole, 4 x 4 and the whole.
_TILES = {"idefics2": 5, "idefics3": 17, "smolvlm": 17}


def routed_share(text: Any) -> float:
    """Share of the experts that a token passes through; 1 without experts."""
    count = next(
        (n for key in ("num_experts", "num_local_experts", "n_routed_experts") if (n := getattr(text, key, 0))), 0
    )
    routed = getattr(text, "num_experts_per_tok", 0) or getattr(text, "moe_topk", 0)
    return routed / count if count and routed else 1.0


def decoder_of(base: Any, config: Any) -> Decoder:
    text = config.get_text_config()
    layers, heads, width = text.num_hidden_layers, text.num_attention_heads, text.hidden_size
    head_size = getattr(text, "head_dim", None) or width // heads
    window = getattr(text, "sliding_window", None)
    spans = {"full_attention": None, "sliding_attention": window, "chunked_attention": window, "linear_attention": 0}
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * layers
    experts = getattr(text, "moe_intermediate_size", None)
    inner = experts * text.num_experts_per_tok if experts else text.intermediate_size
    trained = [any(p.requires_grad for p in block.parameters()) for block in layers_of(base)]
    below = [*base.get_input_embeddings().parameters(), *outside_decoder(base)]
    reached = layers if any(p.requires_grad for p in below) else layers - [*trained, True].index(True)
    return Decoder(
        layers=layers,
        width=width,
        attention=heads * head_size,
        inner=inner,
        vocab=text.vocab_size,
        spans=tuple(spans.get(kind) for kind in kinds),
        graph=reached / layers,
        trained=sum(trained) / layers,
    )


def layers_of(base: Any) -> Any:
    decoder = base.get_decoder()
    return decoder.layers if hasattr(decoder, "layers") else decoder.model.layers


def outside_decoder(base: Any) -> list[Any]:
    """Parameters of tower and projector: neither of the decoder nor of the head."""
    head = base.get_output_embeddings()
    inside = {id(p) for p in base.get_decoder().parameters()}
    inside |= {id(p) for p in head.parameters()} if head is not None else set()
    return [p for p in base.parameters() if id(p) not in inside]


def vision_of(config: Any) -> Vision:
    """Shape of the tower, from the configurations of the families that Transformers has."""
    vision = config.vision_config
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    depth = getattr(vision, "depth", None) or vision.num_hidden_layers
    inner = getattr(vision, "intermediate_size", None) or int(vision.mlp_ratio * width)
    activation = str(getattr(vision, "hidden_act", None) or getattr(vision, "hidden_activation", "gelu"))
    gated = activation == "silu"
    patch = first(vision.patch_size)
    merge = getattr(vision, "spatial_merge_size", None) or getattr(config, "spatial_merge_size", None)
    patches, tile = float(merge**2) if merge else 1.0, None
    size = first(getattr(vision, "image_size", 0))
    if not merge:
        tile = (size // patch) ** 2 or None
        if ratio := getattr(config, "downsample_ratio", None):
            patches = 1 / ratio**2
        elif scale := getattr(config, "scale_factor", None):
            patches = float(scale**2)
        elif (tokens := _tokens_of_a_tile(config)) and tile:
            patches = tile / tokens
    full = getattr(vision, "fullatt_block_indexes", None)
    window = (getattr(vision, "window_size", 0) // patch) ** 2 if full is not None else 0
    # Per patch and layer, in half precision under autocast, measured with saved-tensor hooks: two float32 norm inputs,
    # q, k, v and output, the activation; a trained layer adds the inputs of its linear layers.
    saved = 16 * width + (6 if gated else _SAVED_BY_ACTIVATION.get(activation, 2)) * inner
    return Vision(
        depth=depth,
        width=width,
        patches=patches,
        tile=tile,
        full=len(full) if full is not None else depth,
        window=window,
        saved=saved,
        saved_trained=saved + (16 if gated else 10) * width + 2 * inner,
        pixel_bytes=4 * 3 * patch**2 * getattr(vision, "temporal_patch_size", 1),
        token_pixels=(patch * merge) ** 2 if merge else 0,
        tiles=_TILES.get(config.model_type) or 1 + most_tiles(getattr(config, "image_grid_pinpoints", None), size),
    )


def _tokens_of_a_tile(config: Any) -> int | None:
    """Gemma3's, and what Idefics2's resampler makes of it."""
    resampler = getattr(config, "perceiver_config", None)
    found: int | None = getattr(config, "mm_tokens_per_image", None) or getattr(resampler, "resampler_n_latents", None)
    return found


def most_tiles(pinpoints: Any, size: int) -> int:
    """Tiles that LLaVA-NeXT cuts a large image into, beside the whole image; 0 for towers that do not."""
    return max(((height // size) * (width // size) for height, width in pinpoints or []), default=0)


def first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
