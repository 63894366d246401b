# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The numbers that FLOPs and memory are computed from. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Part:
    """A part of a model: its parameters, adapters included, those that train, and their bytes as loaded (`stored`).

    Attributes:
        matmul: elements of weight matrices, of experts the share that is routed to; 2 FLOPs a position each.
        matmul_trained: those of them that train; 2 FLOPs more a position each, for their gradient.
        adapter: elements of LoRA matrices within `matmul`.
        adapter_inputs: width of the inputs of all adapted linear layers, added up.
    """

    params: int = 0
    trained: int = 0
    stored: float = 0.0
    matmul: float = 0.0
    matmul_trained: float = 0.0
    adapter: float = 0.0
    adapter_inputs: int = 0


@dataclass(frozen=True)
class Decoder:
    """The language model.

    Attributes:
        attention: heads x head size.
        inner: width of the MLP, of all routed experts.
        spans: for each layer how many earlier tokens a token sees: None all, 0 no attention (linear attention).
        graph: share of the layers that a gradient passes through; below 1 if the lowest are frozen.
        trained: share of the layers in which something trains; LlamaFactory checkpoints these alone.
    """

    layers: int
    width: int
    attention: int
    inner: int
    vocab: int
    spans: tuple[int | None, ...]
    graph: float = 1.0
    trained: float = 1.0


@dataclass(frozen=True)
class Vision:
    """The vision tower, whose positions are patches.

    Attributes:
        patches: patches that become one image token.
        tile: patches that see each other in the `full` layers, in the others a `window`; None: those of an image.
        saved: bytes a patch and layer keeps for the backward in half precision; `saved_trained` if the layer trains.
        pixel_bytes: float32 input of one patch.
        token_pixels: pixels of an image token; 0 for towers that take `tiles` of one size, at most.
    """

    depth: int
    width: int
    patches: float
    tile: int | None
    full: int
    window: int
    saved: float
    saved_trained: float
    pixel_bytes: int = 0
    token_pixels: int = 0
    tiles: int = 1


@dataclass(frozen=True)
class Model:
    """A model by parts: `tower` works on patches, `projector` on image tokens, `pixels` is the tower's first layer.

    `plain`: bytes of a copy of the checkpoint in which nothing trains, as a reference is loaded.
    """

    name: str
    decoder: Decoder
    embeddings: Part
    layers: Part
    head: Part
    vision: Vision | None = None
    pixels: Part = Part()
    tower: Part = Part()
    projector: Part = Part()
    plain: float = 0.0

    @property
    def parts(self) -> dict[str, Part]:
        language = {"embeddings": self.embeddings, "decoder": self.layers, "output head": self.head}
        return language | {"patch embedding": self.pixels, "vision tower": self.tower, "projector": self.projector}

    def total(self, count: str) -> float:
        """A count of `Part`, over all parts."""
        return sum(getattr(part, count) for part in self.parts.values())

    @property
    def vision_trains(self) -> bool:
        return bool(self.pixels.trained or self.tower.trained or self.projector.trained)


@dataclass(frozen=True)
class Setup:
    """How a recipe trains.

    Attributes:
        stage: dpo, rm or sft.
        adapters: LoRA or OFT through PEFT.
        reference: `none`; `adapter off`, the policy itself; `copy`, a second model.
        tower_graph: PEFT beside transformers >= 5 makes a frozen tower keep its graph (see `flops.vision_flops`).
        autocast: half precision beside float32 weights, not under DeepSpeed.
        compute_bytes: 2 or 4, size of an activation.
        zero: DeepSpeed ZeRO stage; None without DeepSpeed.
        optimizer_bytes: optimizer states a trained parameter.
        reference_on_disk: its log-probabilities were computed before the training, for Resonance's trainer.
    """

    stage: str
    adapters: bool
    reference: str
    checkpointing: bool
    tower_graph: bool
    autocast: bool
    compute_bytes: int
    zero: int | None
    offload_optimizer: bool
    offload_weights: bool
    optimizer_bytes: float
    world_size: int
    batch: int
    accumulation: int
    reference_on_disk: bool = False

    @property
    def responses(self) -> int:
        """Rows that a prompt becomes."""
        return 1 if self.stage == "sft" else 2

    @property
    def on_resonance(self) -> Setup:
        """The same on Resonance's trainer, which calls no reference that is on disk."""
        return replace(self, reference="none") if self.reference_on_disk else self


@dataclass(frozen=True)
class Workload:
    """Tokens of one example, and in words where they come from (`source`).

    `spread`: length of the longest row of a micro-batch, which the others are padded to, over the mean one.
    """

    text: int
    images: int
    image_tokens: int
    response: int
    source: str = ""
    spread: float = 1.0

    @property
    def visual(self) -> int:
        return self.images * self.image_tokens

    @property
    def prompt(self) -> int:
        return self.text + self.visual


@dataclass(frozen=True)
class Speedups:
    """Those of the forward room that a step uses; none is LlamaFactory's own step."""

    frozen_tower: bool = False
    response_head: bool = False
    vision_once: bool = False
    shared_prefix: bool = False
    padding_free: bool = False

    @property
    def any(self) -> bool:
        return any(vars(self).values())


LLAMAFACTORY = Speedups()


def padded(tokens: float, multiple: int = 8) -> int:
    """Length of a row after LlamaFactory's collator has padded it."""
    return -(-int(tokens) // multiple) * multiple


def packs(setup: Setup, on: Speedups) -> bool:
    """Whether the rows of a micro-batch become one without padding."""
    return on.padding_free and setup.batch * (1 if on.shared_prefix else setup.responses) > 1


def encodings(setup: Setup, on: Speedups) -> int:
    """How often a prompt's images of a micro-batch go through the tower in one pass of one model."""
    return setup.batch * (1 if on.vision_once or on.shared_prefix else setup.responses)


def row_tokens(work: Workload, setup: Setup, on: Speedups) -> int:
    """Tokens of all rows of one micro-batch: `[prompt | response]`, or `[prompt | chosen | rejected]`."""
    rows, responses = (setup.batch, setup.responses) if on.shared_prefix else (setup.batch * setup.responses, 1)
    row = work.prompt + work.response * responses
    return rows * (row if packs(setup, on) else padded(row * work.spread))
