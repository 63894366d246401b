# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Qwen2-VL at its real sizes with random weights, LlamaFactory's DPO trainer and ours, and their batches."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

TEXT = 100
LADDER = ("frozen_tower", "response_head", "vision_once", "shared_prefix")


LLAMAFACTORY = "llamafactory"
NO_CHECKPOINTING, CACHED = ", no checkpointing", ", cached reference"
ALL = "+".join(LADDER)
PACKED = ALL + "+padding_free"
# Both ends of the ladder first, and then what lies between and beyond.
VARIANTS = {
    "lora": (
        LLAMAFACTORY,
        ALL,
        *("+".join(LADDER[:n]) for n in (1, 2, 3)),
        PACKED,
        ALL + CACHED,
        ALL + NO_CHECKPOINTING,
        ALL + CACHED + NO_CHECKPOINTING,
    ),
    "full": (LLAMAFACTORY, ALL, ALL + CACHED),
}
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


REAL = Protocol(
    name="2B",
    text=dict(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    ),
    vision=dict(depth=32, embed_dim=1280, hidden_size=1536, num_heads=16, mlp_ratio=4),
    workloads=((15, 22, 100), (24, 24, 200), (36, 36, 50)),  # the first is LlamaFactory's own example
    batches=(1, 4, 8),
    warm_up=3,
    steps=8,
    most=256,
    jpegs=200,
)
SEVEN = Protocol(
    name="7B",
    text=dict(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        rope_parameters={"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
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
    text=dict(
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
        self.theirs, self.ours = self._trainers(reference)
        self.model = self.theirs.accelerator.prepare_model(self.model)  # autocast, as in a run

    def _trainers(self, reference: Any) -> tuple[Any, Any]:
        from llamafactory.hparams import FinetuningArguments, TrainingArguments
        from llamafactory.train.dpo.trainer import CustomDPOTrainer

        from resonance.training.preference import PreferenceTrainer

        cpu = self.device == "cpu"
        common: dict[str, Any] = dict(stage="dpo", finetuning_type=self.mode)
        recipes = FinetuningArguments(**common), FinetuningArguments(**common, pref_engine="resonance")
        with tempfile.TemporaryDirectory() as folder:
            args = TrainingArguments(
                output_dir=folder, use_cpu=cpu, bf16=self.half, report_to="none", remove_unused_columns=False
            )
            shared = dict(args=args, tokenizer=None, data_collator=lambda rows: rows, train_dataset=[{}])
            theirs, ours = (
                make(model=self.model, ref_model=reference, finetuning_args=recipe, processor=None, **shared)
                for make, recipe in zip((CustomDPOTrainer, PreferenceTrainer), recipes, strict=True)
            )
        return theirs, ours

    def step(self, variant: str, batch: dict[str, Any]) -> Callable[[], Any]:
        """A function that does one forward and gives the loss. `variant`: llamafactory, or as in `variants`."""
        import torch

        from resonance.forward.call import Forward
        from resonance.training.reference import REFERENCE_FIELDS

        if variant == LLAMAFACTORY:
            return lambda: self.theirs.get_batch_loss_metrics(self.model, dict(batch))[0]
        forward, on_disk = Forward(speedups_of(variant)), CACHED in variant
        if on_disk:  # their values make no difference to time and memory
            nothing = torch.zeros(len(batch["labels"]) // 2, device=self.device)
            batch = batch | dict.fromkeys(REFERENCE_FIELDS, nothing)

        def run() -> Any:
            self.ours.forward, self.ours.cached_reference = forward, on_disk or None
            return self.ours.get_batch_loss_metrics(self.model, dict(batch))[0]

        return run

    def chosen(self, batch: dict[str, Any]) -> list[str]:
        """What `pref_speedups: auto` decides on."""
        self.ours.forward = None
        self.ours.prepare_batch(self.model, batch)
        return sorted(self.ours.forward.on)

    @contextmanager
    def set_up_for(self, variant: str) -> Iterator[None]:
        """Checkpointing off if the variant says so, and no reference on the device if it is on disk."""
        checkpointed, leaves = NO_CHECKPOINTING not in variant, CACHED in variant and self.reference is not None
        if not checkpointed:
            self.base.gradient_checkpointing_disable()
        if leaves:
            self.reference.to("cpu")
        try:
            yield
        finally:
            if not checkpointed:
                self.base.gradient_checkpointing_enable({"use_reentrant": True})
            if leaves:
                self.reference.to(self.device)

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

    def estimate(self, work: tuple[int, int, int], pairs: int, variant: str) -> tuple[float, float]:
        """(FLOPs, peak bytes) by `resonance estimate`'s arithmetic; the optimizer's states are not on the device."""
        from resonance.checks.estimate.flops import step_flops
        from resonance.checks.estimate.memory import step_memory
        from resonance.checks.estimate.model import count
        from resonance.checks.estimate.shapes import Setup, Speedups, Workload

        height, width, _ = work
        lora, checkpointing = self.mode == "lora", NO_CHECKPOINTING not in variant
        setup = Setup(
            stage="dpo",
            adapters=lora,
            reference="none" if CACHED in variant else "adapter off" if lora else "copy",
            checkpointing=checkpointing,
            tower_graph=lora,
            autocast=True,
            compute_bytes=2,
            zero=None,
            offload_optimizer=False,
            offload_weights=False,
            optimizer_bytes=0,
            world_size=1,
            batch=pairs,
            accumulation=1,
        )
        plain = 2.0 * sum(p.numel() for p in self.base.parameters() if self.mode == "full")
        model = count(self.model, self.config, SimpleNamespace(quantization_bit=None), plain)
        path = Speedups(**dict.fromkeys(speedups_of(variant), True))
        answers = responses(work, pairs)
        mean, prompt = sum(answers) / pairs, TEXT + 2 + height * width
        spread = (prompt + 2 * max(answers)) / (prompt + 2 * mean)
        lengths = Workload(TEXT + 2, 1, height * width, round(mean), spread=spread)
        return sum(step_flops(model, setup, lengths, path).values()), step_memory(model, setup, lengths, path).peak


def variants(mode: str, pairs: int) -> tuple[str, ...]:
    """LlamaFactory, and speed-ups joined by +, without a reference or checkpointing where the name says so."""
    return tuple(variant for variant in VARIANTS[mode] if pairs > 1 or variant != PACKED)


def speedups_of(variant: str) -> tuple[str, ...]:
    names = variant.partition(",")[0]
    return () if names == LLAMAFACTORY else tuple(names.split("+"))


def responses(work: tuple[int, int, int], pairs: int) -> list[int]:
    """Tokens of the responses of each pair."""
    return [round(work[2] * UNEVEN[i % len(UNEVEN)]) for i in range(pairs)]


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


def make_batch(model: Any, work: tuple[int, int, int], pairs: int, device: str) -> dict[str, Any]:
    """Pairs as LlamaFactory's collator makes them, uneven if there are several: a picture, a question, two answers."""
    import torch

    height, width, _ = work
    generator = torch.Generator().manual_seed(7)
    vocabulary = model.config.get_text_config().vocab_size

    def text(count: int) -> Any:
        return torch.randint(100, vocabulary, (count,), generator=generator)

    picture = torch.full((height * width,), 10)
    prompts = [
        torch.cat([text(4), torch.tensor([12]), picture, torch.tensor([13]), text(TEXT - 4)]) for _ in range(pairs)
    ]
    rows = [torch.cat([p, text(n)]) for _ in range(2) for p, n in zip(prompts, responses(work, pairs), strict=True)]
    longest = max(map(len, rows))
    ids = torch.nn.utils.rnn.pad_sequence([*rows, torch.zeros(longest + -longest % 8).long()], True, 2)[:-1]
    place = torch.arange(ids.shape[1])
    mask = (place < torch.tensor([len(row) for row in rows])[:, None]).long()
    labels = torch.where((mask == 1) & (place >= len(prompts[0])), ids, -100)
    grid = torch.tensor([[1, 2 * height, 2 * width]] * len(ids))
    positions, _ = model.model.get_rope_index(
        ids, image_grid_thw=grid, mm_token_type_ids=(ids == 10).int(), attention_mask=mask
    )
    pixels = torch.randn(pairs * 4 * height * width, 1176, generator=generator).repeat(2, 1)
    batch = dict(input_ids=ids, attention_mask=mask, labels=labels, pixel_values=pixels, image_grid_thw=grid)
    batch["position_ids"] = torch.cat([positions[:1], positions])
    return {name: value.to(device) for name, value in batch.items()}
