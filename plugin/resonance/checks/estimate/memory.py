# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Bytes on one GPU, by part, and the peak. Standard library only.

What is not counted: the CUDA context, workspaces of kernels, communication buffers, fragmentation of the allocator.
`RESERVE` stands for them. tests/checks/test_estimate_memory.py compares with tensors counted on a CPU; nothing here
was compared with a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .flops import has_tower_graph
from .shapes import Lengths, Model, Path, Setup, row_tokens

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


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        fixed: by part; does not grow with the micro-batch.
        kept: by part; lives from the forward to the backward.
        passing: by part; comes and goes, at different moments: the largest of them counts.
    """

    fixed: dict[str, float]
    kept: dict[str, float]
    passing: dict[str, float]

    @property
    def peak(self) -> float:
        return sum(self.fixed.values()) + sum(self.kept.values()) + max(self.passing.values())


def step_memory(model: Model, setup: Setup, lengths: Lengths, path: Path) -> Memory:
    """Memory of a training step with micro-batches of `setup.batch` examples."""
    tokens = row_tokens(lengths, setup, path)
    layer = layer_saved(model, setup) * tokens
    decoder = model.decoder
    inputs = decoder.width * residual_bytes(model, setup) * tokens
    checkpointed = decoder.trained if setup.checkpointing else 0.0
    kept = decoder.layers * (checkpointed * inputs + (decoder.graph - checkpointed) * layer)
    vision_kept, vision_passing = vision_memory(model, setup, lengths, path)
    return Memory(
        fixed=fixed_memory(model, setup),
        kept={
            "vision graph": vision_kept,
            "decoder activations": kept,
        },
        passing={
            "logits": logits_memory(model, setup, lengths, path),
            "one layer at work": max(layer, vision_passing),
        },
    )


def fixed_memory(model: Model, setup: Setup) -> dict[str, float]:
    """Weights, gradients, optimizer and reference on one GPU.

    Without DeepSpeed LlamaFactory trains float32 weights (AdamW's two states in the same type); autocast holds a
    half-precision copy of the trained weights while the model runs, and DDP a second copy of the gradients.
    DeepSpeed (ZeRO paper, arXiv:1910.02054, section 3) holds the model in half precision and shares, over N GPUs, the
    optimizer's float32 weights and states from stage 1, gradients from stage 2, weights from stage 3. Its reference
    is split in stage 3 only (trl's prepare_deepspeed).
    """
    trained, size = model.trained, setup.compute_bytes
    reference = model.plain if setup.reference == "copy" else 0.0
    if setup.zero is None:
        weight = 2 if setup.compute_bytes == 2 and not setup.autocast and not setup.adapters else 4
        several = 2 if setup.world_size > 1 else 1
        return {
            "weights": model.stored + (2.0 * trained if setup.autocast else 0.0),
            "gradients": float(weight * trained * several),
            "optimizer": setup.optimizer_bytes * trained * (weight / 4),
            "reference": reference,
        }
    shares = setup.world_size
    master = 4 if size == 2 else 0
    weights = min(model.stored, float(size * model.params))
    split = shares if setup.zero == 3 else 1
    on_gpu = 0 if setup.offload_weights and setup.zero == 3 else 1
    return {
        "weights": on_gpu * weights / split,
        "gradients": size * trained / (shares if setup.zero >= 2 else 1),
        "optimizer": (
            0.0
            if setup.offload_optimizer
            else (setup.optimizer_bytes + master) * trained / (shares if setup.zero >= 1 else 1)
        ),
        "reference": on_gpu * reference / split,
    }


def logits_memory(model: Model, setup: Setup, lengths: Lengths, path: Path) -> float:
    """Logits at their peak.

    With the head on the response rows: the logits of 2 B R rows in the type of the model and their gradient, at most
    HEAD_BUDGET of them at a time, beside HEAD_WORK of float32. Resonance's trainer computes the reference first, when
    no logits of the policy are alive, and takes the log_softmax of the response rows alone: without the head on those
    rows it holds the logits of all of them once, and the work on the response rows.
    """
    vocab, size = model.decoder.vocab, setup.compute_bytes
    rows = setup.batch * setup.responses * lengths.response
    if path.response_head:
        return 2 * min(rows * vocab * size, HEAD_BUDGET) + min(HEAD_WORK, 4 * rows * vocab)
    half = 2 if size == 2 else 0  # alive beside its float32 copy
    whole = row_tokens(lengths, setup, path) * vocab
    if path.any:
        return (4 + half) * whole + 8 * rows * vocab
    bytes_each = {"sft": LOGITS_SFT, "rm": LOGITS_RM}.get(
        setup.stage, LOGITS_WITH_REFERENCE if setup.reference != "none" else LOGITS_ALONE
    )
    return (bytes_each + half) * whole


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
        saved += size * (5 * width if setup.autocast else 2 * width) + size * inner
    return saved


def vision_memory(model: Model, setup: Setup, lengths: Lengths, path: Path) -> tuple[float, float]:
    """Bytes of the tower's graph and pixels: what is kept to the backward, and what one of its layers has at work."""
    vision = model.vision
    if vision is None or not lengths.images:
        return 0.0, 0.0
    scale = setup.compute_bytes / 2
    encodes = setup.batch * (1 if path.vision_once or path.shared_prefix else setup.responses)
    patches = encodes * lengths.visual * vision.patches
    pixels = patches * vision.pixel_bytes
    layer = scale * patches * (vision.saved_trained if model.tower.trained else vision.saved)
    if model.tower.trained:
        inputs = patches * vision.width * (4 if setup.autocast else setup.compute_bytes) * vision.depth
        return pixels + (inputs if setup.checkpointing else vision.depth * layer), layer
    # a frozen tower's layers are not checkpointed: LlamaFactory leaves out layers in which nothing trains
    return pixels + (vision.depth * layer if has_tower_graph(model, setup, path) else 0.0), layer


def largest_batch(model: Model, setup: Setup, lengths: Lengths, path: Path, gpu_bytes: float) -> int:
    """The largest micro-batch whose peak fits beside RESERVE; 0 if not even one example does."""

    def fits(batch: int) -> bool:
        return step_memory(model, replace(setup, batch=batch), lengths, path).peak + RESERVE <= gpu_bytes

    if not fits(1):
        return 0
    most = 1
    while fits(2 * most) and most < 2**16:
        most *= 2
    low, high = most, 2 * most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
