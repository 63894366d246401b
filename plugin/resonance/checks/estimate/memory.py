# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Bytes on one GPU, by part, and the peak. Standard library only.

What is not counted: the CUDA context, workspaces of kernels, communication buffers, what the optimizer's step takes
for a moment, fragmentation of the allocator. `RESERVE` stands for them. tests/checks/test_estimate_memory.py compares
with tensors counted on a CPU, and with peaks measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .flops import has_tower_graph
from .shapes import Model, Setup, Speedups, Workload, encodings, row_tokens

GIB = 2**30
RESERVE = 2 * GIB

# Bytes a token and entry of the vocabulary at the peak of LlamaFactory's step, float32 (0.9.5: train/dpo/trainer.py,
# get_batch_logps of train/trainer_utils.py). With a reference, whose forward runs while the policy's logits are alive:
# policy logits 4 + log_softmax 4, reference logits 4 + contiguous copy of logits[:, :-1] 4 + log_softmax 4.
LOGITS_WITH_REFERENCE = 20
LOGITS_ALONE = 12
LOGITS_SFT = 12  # logits 4, log_softmax 4, its gradient 4
LOGITS_RM = 4  # computed by the model, dropped by the trainer, no gradient

# The head on response rows makes logits of at most this many bytes at a time, as resonance.forward.head does.
HEAD_BUDGET = 2**30
HEAD_WORK = 2**26

# Parts that are there at once: in LlamaFactory's forward of the reference, at the end of the forward, in the backward
# of the last layer, and in that of the first one or of the tower.
MOMENTS = (
    ("held gradients", "half-precision copies", "vision graph", "activations", "policy's logits", "one layer at work"),
    ("held gradients", "half-precision copies", "vision graph", "activations", "logits"),
    ("held gradients", "copies in the graph", "vision graph", "activations", "one layer at work"),
    ("gradients", "vision graph", "one layer at work", "embeddings' second gradient"),
)


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU: `fixed`, always there, and `passing`, of which MOMENTS says what is there at once."""

    fixed: dict[str, float]
    passing: dict[str, float]

    @property
    def moments(self) -> list[float]:
        """Sums of what is there at once."""
        return [sum(self.fixed.values()) + sum(self.passing[part] for part in parts) for parts in MOMENTS]

    @property
    def peak(self) -> float:
        return max(self.moments)


def step_memory(model: Model, setup: Setup, work: Workload, on: Speedups) -> Memory:
    """Memory of a training step with micro-batches of `setup.batch` examples."""
    tokens, decoder = row_tokens(work, setup, on), model.decoder
    layer = layer_saved(model, setup) * tokens
    at_work = layer + setup.compute_bytes * 2 * decoder.inner * tokens  # with gradients of what it saved
    checkpointed = decoder.trained if setup.checkpointing else 0.0
    inputs = decoder.width * residual_bytes(model, setup) * tokens
    graph, vision_layer = vision_memory(model, setup, work, on)
    logits = logits_memory(model, setup, work, on)
    fixed, gradients = fixed_memory(model, setup), gradient_memory(model, setup)
    copies = 2.0 * model.total("trained") if setup.autocast else 0.0  # autocast's, while the model runs
    # without accumulation they are freed before the next forward; DDP and DeepSpeed keep their buffers
    held = setup.accumulation > 1 or setup.world_size > 1 or setup.zero is not None
    tied = model.head.matmul_trained and not model.head.trained
    second = gradients * model.embeddings.trained / max(model.total("trained"), 1)
    return Memory(
        fixed,
        {
            "gradients": gradients,
            "held gradients": gradients if held else 0.0,
            "embeddings' second gradient": second if tied or held else 0.0,  # made before it is added to the first
            "half-precision copies": copies,
            "copies in the graph": copies * (1 - checkpointed),
            "vision graph": graph,
            "activations": decoder.layers * (checkpointed * inputs + (decoder.graph - checkpointed) * layer),
            "logits": logits,
            "policy's logits": 0.0 if on.any or setup.reference == "none" else logits * 8 / LOGITS_WITH_REFERENCE,
            "one layer at work": max(at_work, vision_layer),
        },
    )


def fixed_memory(model: Model, setup: Setup) -> dict[str, float]:
    """Weights, optimizer and reference on one GPU.

    Without DeepSpeed LlamaFactory trains float32 weights (AdamW's two states in the same type). DeepSpeed (ZeRO paper,
    arXiv:1910.02054, section 3) holds the model in half precision and shares, over N GPUs, the optimizer's float32
    weights and states from stage 1, weights from stage 3. Its reference is split in stage 3 only (trl's
    prepare_deepspeed).
    """
    trained, size, stored = model.total("trained"), setup.compute_bytes, model.total("stored")
    reference = model.plain if setup.reference == "copy" else 0.0
    if setup.zero is None:
        states = setup.optimizer_bytes * trained * trained_bytes(setup) / 4
        return {"weights": stored, "optimizer": states, "reference": reference}
    master = 4 if size == 2 else 0
    states = (setup.optimizer_bytes + master) * trained / (setup.world_size if setup.zero >= 1 else 1)
    share = 1.0 / setup.world_size if setup.zero == 3 else 1.0
    share = 0.0 if setup.offload_weights and setup.zero == 3 else share
    return {
        "weights": share * min(stored, float(size * model.total("params"))),
        "optimizer": 0.0 if setup.offload_optimizer else states,
        "reference": share * reference,
    }


def gradient_memory(model: Model, setup: Setup) -> float:
    """All gradients: DDP holds them twice, DeepSpeed shares them over its GPUs from stage 2."""
    trained = model.total("trained")
    if setup.zero is None:
        return float(trained_bytes(setup) * trained * (2 if setup.world_size > 1 else 1))
    return setup.compute_bytes * trained / (setup.world_size if setup.zero >= 2 else 1)


def trained_bytes(setup: Setup) -> int:
    """Size of a trained weight without DeepSpeed: float32 unless `pure_bf16`."""
    return 2 if setup.compute_bytes == 2 and not setup.autocast and not setup.adapters else 4


def logits_memory(model: Model, setup: Setup, work: Workload, on: Speedups) -> float:
    """Logits at their peak.

    With the head on the response rows: the logits of 2 B R rows in the type of the model and their gradient, at most
    HEAD_BUDGET of them at a time, beside HEAD_WORK of float32. Resonance's trainer computes the reference first, when
    no logits of the policy are alive, and takes the log_softmax of the response rows alone: without the head on those
    rows it holds the logits of all of them once, and the work on the response rows.
    """
    vocab, size = model.decoder.vocab, setup.compute_bytes
    rows = setup.batch * setup.responses * work.response
    if on.response_head:
        return 2 * min(rows * vocab * size, HEAD_BUDGET) + min(HEAD_WORK, 4 * rows * vocab)
    half = 2 if size == 2 else 0  # alive beside its float32 copy
    whole = row_tokens(work, setup, on) * vocab
    if on.any:
        return (4 + half) * whole + 8 * rows * vocab
    dpo = LOGITS_WITH_REFERENCE if setup.reference != "none" else LOGITS_ALONE
    return ({"sft": LOGITS_SFT, "rm": LOGITS_RM}.get(setup.stage, dpo) + half) * whole


def residual_bytes(model: Model, setup: Setup) -> int:
    """Size of an element between layers: that of the embeddings, float32 under autocast if they train."""
    return 4 if setup.autocast and model.embeddings.trained else setup.compute_bytes


def layer_saved(model: Model, setup: Setup) -> float:
    """Bytes a token that a decoder layer keeps for its backward (D width, A heads x head size, I inner width).

    Norms: their float32 input, 2 x 4 D, and the normalized value if their weight trains. Attention: q, k, v, output,
    4 A. MLP: gate, act(gate), up, 3 I. Inputs of linear layers that train or have an adapter: under autocast each has
    a half-precision copy of its own, otherwise q, k, v share one, and gate, up another.
    """
    decoder, size = model.decoder, setup.compute_bytes
    width, inner = decoder.width, decoder.inner
    saved: float = 2 * 4 * width + size * (4 * decoder.attention + 3 * inner)
    if setup.adapters:
        inputs = model.layers.adapter_inputs / decoder.layers
        saved += size * (inputs if setup.autocast else min(inputs, 2 * width + inner))
    elif model.layers.trained:
        saved += 2 * residual_bytes(model, setup) * width
        saved += size * ((5 if setup.autocast else 2) * width + inner)
    return saved


def vision_memory(model: Model, setup: Setup, work: Workload, on: Speedups) -> tuple[float, float]:
    """Bytes of the tower's graph and pixels: what is kept to the backward, and what one of its layers has at work."""
    vision = model.vision
    if vision is None or not work.images:
        return 0.0, 0.0
    patches = encodings(setup, on) * work.visual * vision.patches
    pixels = patches * vision.pixel_bytes
    trains = model.tower.trained
    layer = setup.compute_bytes / 2 * patches * (vision.saved_trained if trains else vision.saved)
    if trains and setup.checkpointing:
        return pixels + patches * vision.width * (4 if setup.autocast else setup.compute_bytes) * vision.depth, layer
    # a frozen tower's layers are not checkpointed: LlamaFactory leaves out layers in which nothing trains
    return pixels + (vision.depth * layer if trains or has_tower_graph(model, setup, on) else 0.0), layer


def largest_batch(model: Model, setup: Setup, work: Workload, on: Speedups, gpu_bytes: float) -> int:
    """The largest micro-batch whose peak fits beside RESERVE; 0 if not even one example does."""

    def fits(batch: int) -> bool:
        return step_memory(model, replace(setup, batch=batch), work, on).peak + RESERVE <= gpu_bytes

    low, high = 0, 1
    while fits(high) and high < 2**16:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
