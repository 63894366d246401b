# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""FLOPs of one micro-batch, by part. Standard library only.

A multiply and an add are 2 FLOPs. A weight matrix costs 2 FLOPs an element and position forward, as much for the
gradient of its input, and as much again for its own gradient if it trains; embeddings, norms, softmax and activations
are left out. Attention of n queries over m keys costs 4 n m d forward (d = heads x head size), half of it if causal
and the kernel skips what is masked. tests/checks/test_estimate_flops.py compares with torch's FlopCounterMode.
"""

from __future__ import annotations

from dataclasses import dataclass

from .shapes import Model, Part, Setup, Speedups, Workload, encodings, packs, padded, row_tokens


@dataclass(frozen=True)
class Counting:
    """How attention is counted.

    Attributes:
        causal: share of the n x n products that a causal kernel does: 0.5 for a kernel that skips the masked half,
            1.0 for one that does them all.
        backward: FLOPs of the backward over those of the forward: 2.5 for a kernel that computes the scores again
            (FlashAttention, arXiv:2307.08691), 2.0 for one that kept them.
    """

    causal: float = 0.5
    backward: float = 2.5


FLASH = Counting()


def step_flops(
    model: Model, setup: Setup, work: Workload, on: Speedups, counting: Counting = FLASH
) -> dict[str, float]:
    """FLOPs of forward, recompute and backward of one micro-batch: vision, decoder, output head, reference."""
    tokens = row_tokens(work, setup, on)
    attention = attention_flops(model, setup, work, on, counting)
    forward = 2 * model.layers.matmul * tokens + attention
    graph = model.decoder.graph if model.total("trained") else 0.0
    weights = 2 * tokens * (graph * model.layers.matmul + model.layers.matmul_trained)
    backward = weights + graph * counting.backward * attention
    recompute = model.decoder.trained * forward if setup.checkpointing else 0.0

    head_tokens = work.response * setup.responses * setup.batch if on.response_head else tokens
    head = 2 * model.head.matmul * head_tokens
    head_backward = 2 * (model.head.matmul + model.head.matmul_trained) * head_tokens
    if setup.stage == "rm":
        head_backward = 0.0  # the loss of a reward model comes from the value head; logits are computed and dropped

    reference = 0.0
    if setup.reference != "none":
        reference = 2 * (model.layers.matmul - model.layers.adapter) * tokens + attention
        reference += 2 * (model.head.matmul - model.head.adapter) * head_tokens
    return {
        "vision": vision_flops(model, setup, work, on, counting),
        "decoder": forward + backward + recompute,
        "output head": head + head_backward,
        "reference": reference,
    }


def attention_flops(model: Model, setup: Setup, work: Workload, on: Speedups, counting: Counting) -> float:
    """Forward FLOPs of the decoder's attention over all rows of a micro-batch.

    Within a shared row the later response looks at the prompt and itself: r queries over p + r keys.
    """
    response, prompt = work.response, work.prompt
    total = 0.0
    for span in model.decoder.spans:
        if on.shared_prefix and (counting.causal < 1 or packs(setup, on)):
            products = counting.causal * seen(prompt + response, span)
            later = min(span, prompt) if span is not None else prompt
            products += (setup.responses - 1) * (response * later + counting.causal * seen(response, span))
        elif on.shared_prefix:
            # one dense kernel with a mask
            products = padded((prompt + setup.responses * response) * work.spread) ** 2
        else:
            row = prompt + response if packs(setup, on) else padded((prompt + response) * work.spread)
            products = setup.responses * (row**2 if counting.causal == 1 else counting.causal * seen(row, span))
        total += 4 * model.decoder.attention * products * (0 if span == 0 else 1)
    return total * setup.batch


def seen(row: int, span: int | None) -> float:
    """Twice the query-key pairs of a causal row in which a token sees at most `span` tokens."""
    if span is None or span >= row:
        return row**2
    return row**2 - (row - span) ** 2


def encode_flops(model: Model, work: Workload) -> tuple[float, float]:
    """Forward FLOPs for the images of one prompt, without the patch embedding: of weights, of attention."""
    vision = model.vision
    if vision is None or not work.images:
        return 0.0, 0.0
    patches = work.visual * vision.patches
    tile = min(vision.tile or patches / work.images, patches)
    spans = vision.full * tile + (vision.depth - vision.full) * min(vision.window, tile)
    weights = 2 * (model.tower.matmul * patches + model.projector.matmul * work.visual)
    return weights, 4 * vision.width * patches * spans


def vision_flops(model: Model, setup: Setup, work: Workload, on: Speedups, counting: Counting) -> float:
    """FLOPs of the vision tower and projector of one micro-batch, policy and reference.

    LlamaFactory encodes the images of a pair four times: for chosen and rejected, in policy and reference. A frozen
    tower needs no backward, but PEFT makes the first layer of every sub-model require a gradient once checkpointing
    is on, and since transformers 5 that includes `patch_embed` (transformers PR 41993), so that the gradient of every
    input is computed through the frozen tower.
    """
    weights, attention = encode_flops(model, work)
    encodes = encodings(setup, on)
    same = on.vision_once and not model.vision_trains  # the reference comes first, and the policy takes its features
    passes = 2 if setup.reference != "none" and not same else 1
    pixels = 2 * work.visual * (model.vision.patches if model.vision else 0)
    total = passes * encodes * (weights + attention + pixels * model.pixels.matmul)
    if model.vision_trains:
        total += encodes * (vision_backward(model, work, counting) + pixels * model.pixels.matmul_trained)
        if setup.checkpointing and model.tower.trained:
            total += encodes * (weights + attention)
    elif has_tower_graph(model, setup, on):
        total += encodes * (weights + counting.backward * attention)
    return total


def has_tower_graph(model: Model, setup: Setup, on: Speedups) -> bool:
    """Whether a frozen tower keeps a graph: features taken over from a reference have none."""
    taken_over = on.vision_once and setup.reference != "none"
    return setup.tower_graph and not model.vision_trains and not on.frozen_tower and not taken_over


def vision_backward(model: Model, work: Workload, counting: Counting) -> float:
    """Backward FLOPs of the trained parts for the images of one prompt."""
    if model.vision is None:
        return 0.0
    _, attention = encode_flops(model, work)
    patches = work.visual * model.vision.patches

    def both(part: Part, positions: float) -> float:
        return 2 * (part.matmul + part.matmul_trained) * positions if part.trained else 0.0

    through_tower = counting.backward * attention if model.tower.trained else 0.0
    projector = model.projector
    if model.tower.trained and not projector.trained:
        through_tower += 2 * projector.matmul * work.visual
    return both(model.tower, patches) + both(projector, work.visual) + through_tower
