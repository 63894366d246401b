# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The numbers that FLOPs and memory are computed from. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Part:
    """A part of a model, by its parameters.

    Attributes:
        params: parameters, adapters included.
        trained: those that train.
        stored: bytes of all of them as LlamaFactory puts them on the device: what trains in float32 unless
            `pure_bf16`, the rest as in the checkpoint or quantised.
        matmul: elements of weight matrices; each costs 2 FLOPs a position. Of experts, the share that is routed to.
        matmul_trained: those of them that train; each costs 2 FLOPs more a position, for its own gradient.
        adapter: elements of LoRA matrices within `matmul`, which a reference with adapters switched off does not use.
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
    """The language model. `attention` is heads x head size, `inner` the width of the MLP (of all routed experts).

    `spans`: for each layer how many earlier tokens a token can see: None all, 0 no attention (linear attention).
    `graph`: share of the layers that a gradient passes through; below 1 if the lowest ones are frozen.
    `trained`: share of the layers in which something trains; LlamaFactory checkpoints these alone.
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
    """The vision tower. Positions in it are patches.

    `patches`: patches that become one image token. `tile`: patches that see each other; None if those of a whole
    image do. `window`: patches that see each other in the layers that are not among the `full` ones.
    `saved`: bytes a patch and layer keeps for the backward in bfloat16; `saved_trained`: if the layer trains.
    `pixel_bytes`: float32 input of one patch. `token_pixels`: pixels of an image token, for towers that take images of
    any size; 0 for those that take `tiles` of one size, at most.
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
    """A model by parts. `embeddings` do no matrix product; `tower` works on patches, `projector` on image tokens.

    `pixels`: the tower's first layer, whose input needs no gradient.

    `plain`: bytes of a copy of the checkpoint without anything that trains, as a reference is loaded.
    """

    name: str
    decoder: Decoder
    embeddings: Part
    layers: Part
    head: Part
    vision: Vision | None = None
    pixels: Part = field(default_factory=Part)
    tower: Part = field(default_factory=Part)
    projector: Part = field(default_factory=Part)
    plain: float = 0.0

    @property
    def parts(self) -> dict[str, Part]:
        return {
            "embeddings": self.embeddings,
            "decoder": self.layers,
            "output head": self.head,
            "patch embedding": self.pixels,
            "vision tower": self.tower,
            "projector": self.projector,
        }

    @property
    def trained(self) -> int:
        return sum(part.trained for part in self.parts.values())

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts.values())

    @property
    def stored(self) -> float:
        return sum(part.stored for part in self.parts.values())

    @property
    def vision_trains(self) -> bool:
        return bool(self.pixels.trained or self.tower.trained or self.projector.trained)


@dataclass(frozen=True)
class Setup:
    """How the recipe trains.

    Attributes:
        stage: dpo, rm or sft.
        adapters: LoRA or OFT through PEFT.
        reference: `none`; `adapter off`, the policy itself; `copy`, a second model.
        reference_on_disk: its log-probabilities were computed before the training, for Resonance's trainer.
        checkpointing: gradient checkpointing.
        tower_graph: PEFT beside transformers >= 5 makes a frozen tower keep its graph (see `flops.vision_flops`).
        autocast: bfloat16 or float16 beside float32 weights, not under DeepSpeed.
        compute_bytes: 2 or 4, size of an activation.
        zero: DeepSpeed ZeRO stage; None without DeepSpeed.
        optimizer_bytes: optimizer states a trained parameter.
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
class Lengths:
    """Tokens of one example. `source` says where they come from.

    `spread`: length of the longest of a micro-batch over that of the mean row; rows are padded to it.
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
class Path:
    """Which of the forward room's speed-ups a step uses; none of them is LlamaFactory's own step."""

    frozen_tower: bool = False
    response_head: bool = False
    vision_once: bool = False
    shared_prefix: bool = False
    padding_free: bool = False

    @property
    def any(self) -> bool:
        return any(vars(self).values())


LLAMAFACTORY = Path()


def padded(tokens: float, multiple: int = 8) -> int:
    """Length of a row after LlamaFactory's collator has padded it."""
    return -(-int(tokens) // multiple) * multiple


def rows_of(setup: Setup, path: Path) -> int:
    """Rows of one micro-batch: plain rows, or one a prompt."""
    return setup.batch * (1 if path.shared_prefix else setup.responses)


def packs(setup: Setup, path: Path) -> bool:
    """Whether these rows become one without padding."""
    return path.padding_free and rows_of(setup, path) > 1


def row_tokens(lengths: Lengths, setup: Setup, path: Path) -> int:
    """Tokens of all rows that one micro-batch becomes: plain rows, or `[prompt | chosen | rejected]`."""
    row = lengths.prompt + lengths.response * (setup.responses if path.shared_prefix else 1)
    return rows_of(setup, path) * (int(row) if packs(setup, path) else padded(row * lengths.spread))
