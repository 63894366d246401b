# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Qwen2-VL at its real sizes with random weights, LlamaFactory's DPO trainer and ours, and their batches."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.small_step import Pair, as_collated, decided, make_batch, make_trainers, our_step

TEXT = 100
LADDER = ("frozen_tower", "response_head", "vision_once", "shared_prefix")
LLAMAFACTORY, AUTO = "llamafactory", "auto"
NO_CHECKPOINTING, CACHED = ", no checkpointing", ", cached reference"
# By way of training: what matters first, and then the rungs between and both switches at once.
VARIANTS = {
    "lora": (LLAMAFACTORY, AUTO, AUTO + CACHED, AUTO + NO_CHECKPOINTING),
    "full": (LLAMAFACTORY, AUTO, AUTO + CACHED),
}
MORE = (*("+".join(LADDER[:n]) for n in (1, 2, 3, 4)), AUTO + CACHED + NO_CHECKPOINTING)
UNEVEN = (1.0, 0.5, 1.5, 1.0)  # lengths of the responses of a micro-batch, pair by pair


@dataclass(frozen=True)
class Protocol:
    """What is run. `workloads`: height and width of a picture in visual tokens, and the tokens of a response."""

    name: str
    text: dict[str, Any]
    vision: dict[str, Any]
    workloads: tuple[tuple[int, int, int], ...]
    batches: tuple[int, ...]
    warm_up: int
    steps: int
    most: int  # where the search for the largest micro-batch ends
    jpegs: int  # pairs of the data cells
    tied: bool = True  # the head is the embeddings


def _text(**sizes: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    return {"num_hidden_layers": 28, "rope_parameters": rope, **sizes}


REAL = Protocol(
    name="2B",
    text=_text(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_attention_heads=12,
        num_key_value_heads=2,
    ),
    vision=dict(depth=32, embed_dim=1280, hidden_size=1536, num_heads=16, mlp_ratio=4),
    workloads=((24, 24, 200), (15, 22, 100), (36, 36, 50)),  # the second is LlamaFactory's own example
    batches=(1, 4, 8),
    warm_up=3,
    steps=8,
    most=256,
    jpegs=200,
)
SEVEN = Protocol(
    name="7B",
    text=_text(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_attention_heads=28,
        num_key_value_heads=4,
    ),
    vision=dict(depth=32, embed_dim=1280, hidden_size=3584, num_heads=16, mlp_ratio=4),
    workloads=((24, 24, 200),),
    batches=(1, 4),
    warm_up=2,
    steps=4,
    most=64,
    jpegs=0,
    tied=False,
)
SHRUNKEN = Protocol(
    name="shrunken",
    text=_text(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
    ),
    vision=dict(depth=2, embed_dim=64, hidden_size=64, num_heads=4, mlp_ratio=2),
    workloads=((3, 5, 10), (4, 4, 20)),
    batches=(1, 2),
    warm_up=1,
    steps=2,
    most=4,
    jpegs=4,
)


class Bench:
    """One way of training at one precision: a model, its reference and both trainers."""

    def __init__(self, protocol: Protocol, mode: str, device: str, half: bool = True) -> None:
        import torch
        from llamafactory.hparams import FinetuningArguments, ModelArguments
        from llamafactory.model.adapter import init_adapter
        from llamafactory.model.model_utils.checkpointing import prepare_model_for_training

        self.protocol, self.mode, self.device, self.half = protocol, mode, device, half
        self.config = make_config(protocol)
        model_args = ModelArguments(model_name_or_path="random")
        args = FinetuningArguments(stage="dpo", finetuning_type=mode, lora_rank=8)
        model = make_model(self.config, device)
        if not half:
            model.float()
        torch.manual_seed(1)
        reference = None if mode == "lora" else copy.deepcopy(model).requires_grad_(False).eval()
        prepare_model_for_training(model, model_args)
        self.base = model
        self.model = init_adapter(self.config, model, model_args, args, is_trainable=True).train()
        generator = torch.Generator(device).manual_seed(1)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and (mode == "full" or "lora_B" in name):
                parameter.data.add_(torch.randn(parameter.shape, device=device, generator=generator) * 0.002)
        self.reference = reference
        with tempfile.TemporaryDirectory() as folder:
            options = dict(use_cpu=device == "cpu", bf16=half)
            self.theirs, self.ours = make_trainers(self.model, reference, folder, mode, **options)
        self.model = self.theirs.accelerator.prepare_model(self.model)  # autocast, as in a run

    def batch(self, work: tuple[int, int, int], pairs: int) -> dict[str, Any]:
        """On the host."""
        return make_batch(self.base, self.protocol.text["vocab_size"], sizes(work, pairs))

    def step(self, variant: str, batch: dict[str, Any], collated: bool = False) -> Callable[[], Any]:
        """A function that does one forward and gives the loss.

        Args:
            variant: one of `VARIANTS` or MORE.
            batch: of `batch`, or from one of the collators.
            collated: it is from a collator, and on the device.
        """
        import torch
        from accelerate.utils import send_to_device

        from resonance.training.reference import REFERENCE_FIELDS

        if variant == LLAMAFACTORY:
            batch = send_to_device(batch, self.device)
            return lambda: self.theirs.get_batch_loss_metrics(self.model, dict(batch))[0]
        on, pairs = speedups_of(variant), len(batch["labels"]) // 2
        if not collated:
            batch = as_collated(self.theirs.accelerator.unwrap_model(self.model), batch, on, [1] * pairs)
        nothing = dict.fromkeys(REFERENCE_FIELDS, torch.zeros(pairs, device=self.device))  # whatever the values
        batch = send_to_device(batch, self.device)
        return our_step(self.ours, self.model, batch, on, nothing if CACHED in variant else None)

    def chosen(self, work: tuple[int, int, int]) -> list[str]:
        """What `pref_speedups: auto` decides on."""
        from accelerate.utils import send_to_device

        return sorted(decided(self.ours, self.model, send_to_device(self.batch(work, 1), self.device)))

    @contextmanager
    def set_up_for(self, variant: str) -> Iterator[None]:
        """Checkpointing off if the variant says so, and no reference on the device if it is on disk."""
        checkpointed, leaving = NO_CHECKPOINTING not in variant, self.reference if CACHED in variant else None
        if not checkpointed:
            self.base.gradient_checkpointing_disable()
        if leaving is not None:
            leaving.to("cpu")
        try:
            yield
        finally:
            if not checkpointed:
                self.base.gradient_checkpointing_enable({"use_reentrant": True})
            if leaving is not None:
                leaving.to(self.device)

    @contextmanager
    def tokens_of(self, tokenizer: Any) -> Iterator[None]:
        """The ids of a tokenizer for pictures and their marks, instead of those of `make_config`."""
        names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
        names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
        before = {name: getattr(self.config, name) for name in names}
        for name, token in names.items():
            setattr(self.config, name, tokenizer.convert_tokens_to_ids(token))
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self.config, name, value)


def speedups_of(variant: str) -> tuple[str, ...]:
    """The speed-ups of a variant, by name."""
    from resonance.forward.names import SPEEDUPS

    names = variant.partition(",")[0]
    return () if names == LLAMAFACTORY else SPEEDUPS if names == AUTO else tuple(names.split("+"))


def responses(work: tuple[int, int, int], pairs: int) -> list[int]:
    """Tokens of the responses of each pair."""
    return [round(work[2] * UNEVEN[i % len(UNEVEN)]) for i in range(pairs)]


def sizes(work: tuple[int, int, int], pairs: int) -> list[Pair]:
    """Pairs of a picture, a question and two answers, uneven if there are several."""
    height, width, _ = work
    return [Pair((2 * height, 2 * width), TEXT - 4, count, count) for count in responses(work, pairs)]


def make_config(protocol: Protocol) -> Any:
    from transformers import Qwen2VLConfig

    text = dict(protocol.text, bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=protocol.tied)
    tokens = dict(image_token_id=10, video_token_id=11, vision_start_token_id=12, vision_end_token_id=13)
    return Qwen2VLConfig(text_config=text, vision_config=protocol.vision, tie_word_embeddings=protocol.tied, **tokens)


def make_model(config: Any, device: str) -> Any:
    """Random bfloat16 weights, made on the device."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    torch.manual_seed(0)
    with torch.device(device):
        return Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16)
