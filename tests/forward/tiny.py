# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tiny random models of the supported families, and batches of pairs as LlamaFactory's collator makes them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import transformers as tf
from llamafactory.model.model_utils.checkpointing import prepare_model_for_training
from peft import LoraConfig, get_peft_model

VOCABULARY, PICTURE, VIDEO, START, END, PAD = 256, 10, 11, 12, 13, 2
_TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    pad_token_id=PAD,
    bos_token_id=0,
    eos_token_id=1,
)
_QWEN_TOKENS = dict(image_token_id=PICTURE, video_token_id=VIDEO, vision_start_token_id=START, vision_end_token_id=END)


def _rope(*sections: int) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": list(sections), "rope_theta": 1e4}


def _towers(hidden: int = 16) -> dict[str, Any]:
    return dict(hidden_size=hidden, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)


def _qwen2_vl() -> Any:
    vision = dict(depth=2, embed_dim=16, hidden_size=32, num_heads=2, mlp_ratio=2)
    return tf.Qwen2VLConfig(
        text_config=dict(_TEXT, rope_parameters=_rope(2, 1, 1)), vision_config=vision, **_QWEN_TOKENS
    )


def _qwen2_5_vl() -> Any:
    vision = dict(
        depth=2, hidden_size=16, intermediate_size=32, num_heads=2, out_hidden_size=32, fullatt_block_indexes=[1]
    )
    return tf.Qwen2_5_VLConfig(
        text_config=dict(_TEXT, rope_parameters=_rope(2, 1, 1)), vision_config=vision, **_QWEN_TOKENS
    )


def _qwen3_vl() -> Any:
    vision = dict(depth=3, hidden_size=16, intermediate_size=32, num_heads=2, out_hidden_size=32)
    vision |= dict(deepstack_visual_indexes=[0, 1], num_position_embeddings=64)
    text = dict(_TEXT, head_dim=8, rope_parameters=_rope(2, 1, 1))
    return tf.Qwen3VLConfig(text_config=text, vision_config=vision, **_QWEN_TOKENS)


def _llava() -> Any:
    vision = tf.CLIPVisionConfig(**_towers(), image_size=28, patch_size=14)
    return tf.LlavaConfig(text_config=tf.LlamaConfig(**_TEXT), vision_config=vision, image_token_index=PICTURE)


def _llava_next() -> Any:
    vision = tf.CLIPVisionConfig(**_towers(), image_size=28, patch_size=14)
    return tf.LlavaNextConfig(
        text_config=tf.LlamaConfig(**_TEXT),
        vision_config=vision,
        image_token_index=PICTURE,
        image_grid_pinpoints=[[28, 56], [56, 28], [56, 56]],
    )


def _internvl() -> Any:
    vision = tf.InternVLVisionConfig(**_towers(), image_size=[56, 56], patch_size=[14, 14])
    return tf.InternVLConfig(
        text_config=tf.Qwen2Config(**_TEXT),
        vision_config=vision,
        image_token_id=PICTURE,
        image_seq_length=4,
        downsample_ratio=0.5,
    )


def _gemma3() -> Any:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    text = dict(_TEXT, head_dim=8, sliding_window=12, layer_types=layers, query_pre_attn_scalar=8)
    vision = tf.SiglipVisionConfig(**_towers(), image_size=56, patch_size=14)
    return tf.Gemma3Config(
        text_config=tf.Gemma3TextConfig(**text),
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=PICTURE,
        image_token_id=PICTURE,
    )


def _qwen2() -> Any:
    return tf.Qwen2Config(**_TEXT)


FAMILIES = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava": _llava,
    "llava_next": _llava_next,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "qwen2": _qwen2,
}


def make(config: Any, attention: str = "sdpa", dtype: torch.dtype = torch.float32) -> Any:
    """A random model with weights large enough that its log-probabilities differ from token to token."""
    torch.manual_seed(0)
    auto = tf.AutoModelForImageTextToText if hasattr(config, "vision_config") else tf.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation=attention, dtype=dtype)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(3.0)
    return model


def for_training(model: Any, mode: str, checkpointing: str = "off") -> Any:
    """As LlamaFactory prepares it. `mode`: lora, full, frozen (tower), trainable (only the tower and projector)."""
    options = dict(upcast_layernorm=False, use_unsloth_gc=False, upcast_lmhead_output=False)
    options |= dict(
        disable_gradient_checkpointing=checkpointing == "off", use_reentrant_gc=checkpointing == "reentrant"
    )
    prepare_model_for_training(model, SimpleNamespace(**options))
    if mode == "lora":
        names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and is_language(n)]
        model = get_peft_model(model, LoraConfig(r=4, target_modules=names, task_type="CAUSAL_LM"))
        generator = torch.Generator().manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05, generator=generator)
    else:
        for name, parameter in model.named_parameters():
            language = is_language(name)
            parameter.requires_grad_({"full": True, "frozen": language, "trainable": not language}[mode])
    return model.train()


def is_language(name: str) -> bool:
    return not any(part in name for part in ("visual", "vision_tower", "multi_modal_projector", "image_newline"))


def inner(model: Any) -> Any:
    return model.base_model.model if hasattr(model, "peft_config") else model


@dataclass
class Picture:
    """Inputs of one picture, and how many tokens stand for it."""

    inputs: dict[str, torch.Tensor]
    tokens: int
    token: int = PICTURE


def picture(model: Any, seed: int, video: bool = False) -> Picture:
    """A random picture for a model's family; the seed decides content and, where sizes may differ, size."""
    config, generator = inner(model).config, torch.Generator().manual_seed(seed)
    if "qwen" in config.model_type:
        size = config.vision_config.patch_size
        grid = torch.tensor([[1 + video, 4, 4 + 2 * (seed % 2)]])
        pixels = torch.randn(int(grid.prod()), 3 * 2 * size * size, generator=generator)
        names = ("pixel_values_videos", "video_grid_thw") if video else ("pixel_values", "image_grid_thw")
        token = VIDEO if video else PICTURE
        return Picture(dict(zip(names, (pixels, grid), strict=True)), int(grid.prod()) // 4, token)
    side = config.vision_config.image_size
    side = side[0] if isinstance(side, list | tuple) else side
    shape: tuple[int, ...] = (1, 3, side, side)
    inputs = {}
    if config.model_type == "llava_next":
        shape = (1, 3 if seed % 2 else 5, 3, side, side)
        inputs["image_sizes"] = torch.tensor([[28, 50] if seed % 2 else [56, 56]])
    inputs["pixel_values"] = torch.randn(*shape, generator=generator)
    with torch.no_grad():
        # as the model calls it, so that its defaults apply
        keep = inner(model).model.get_image_features
        found = keep(**inputs, return_dict=True).pooler_output
    return Picture(inputs, sum(part.shape[-2] if part.ndim > 1 else 1 for part in found))


def join(values: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate; pictures with fewer tiles are filled up with zeros, as LLaVA-NeXT's processor does."""
    if values[0].ndim == 5:
        tiles = max(v.shape[1] for v in values)
        values = [torch.nn.functional.pad(v, (0, 0, 0, 0, 0, 0, 0, tiles - v.shape[1])) for v in values]
    return torch.cat(values)


def pairs(
    model: Any,
    prompts: list[list[Picture]],
    chosen: list[int] | None = None,
    rejected: list[int] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A batch of pairs: each prompt has the given pictures; responses have the given numbers of tokens."""
    generator = torch.Generator().manual_seed(seed)

    def text(count: int) -> torch.Tensor:
        return torch.randint(20, VOCABULARY, (count,), generator=generator)

    chosen = chosen or [7 + 5 * (i % 2) for i in range(len(prompts))]
    rejected = rejected or [11 - 4 * (i % 2) for i in range(len(prompts))]
    starts = []
    for i, pictures in enumerate(prompts):
        parts = [text(3 + 2 * i)]
        for one in pictures:
            parts += [torch.tensor([START]), torch.full((one.tokens,), one.token), torch.tensor([END]), text(2)]
        starts.append(torch.cat(parts))
    rows = [
        torch.cat([start, text(n)]) for lengths in (chosen, rejected) for start, n in zip(starts, lengths, strict=True)
    ]
    media = [one for pictures in prompts for one in pictures] * 2
    return collate(model, rows, [len(start) for start in starts] * 2, media)


@dataclass
class Prompt:
    """A prompt with its pictures, and how many tokens each of its answers has; equal seeds are equal answers."""

    pictures: list[Picture]
    lengths: list[int]
    seeds: list[int] | None = None


def answers(
    model: Any, prompts: list[Prompt], order: int | list[int] | None = None, left: bool = False
) -> dict[str, Any]:
    """Any number of answers to each prompt: prompt by prompt, shuffled by the seed `order`, or in that order."""
    rows, firsts, shown = [], [], []
    for i, prompt in enumerate(prompts):
        generator = torch.Generator().manual_seed(100 + i)
        parts = [torch.randint(20, VOCABULARY, (3 + 2 * i,), generator=generator)]
        for one in prompt.pictures:
            parts += [torch.tensor([START]), torch.full((one.tokens,), one.token), torch.tensor([END, 21])]
        start = torch.cat(parts)
        for k, length in enumerate(prompt.lengths):
            generator = torch.Generator().manual_seed(1000 * i + (prompt.seeds or range(len(prompt.lengths)))[k])
            rows.append(torch.cat([start, torch.randint(20, VOCABULARY, (length,), generator=generator)]))
            firsts.append(len(start))
            shown.append(prompt.pictures)
    places = list(range(len(rows))) if order is None else order
    if isinstance(places, int):
        places = torch.randperm(len(rows), generator=torch.Generator().manual_seed(places)).tolist()
    rows, firsts, shown = ([column[place] for place in places] for column in (rows, firsts, shown))
    return collate(model, rows, firsts, [one for pictures in shown for one in pictures], left)


def collate(
    model: Any, rows: list[torch.Tensor], firsts: list[int], media: list[Picture], left: bool = False
) -> dict[str, Any]:
    """Pad to the longest row and to a multiple of 8; a batch without any picture gets one that nobody attends to."""
    config = inner(model).config
    attended = [len(row) for row in rows]
    if not media and hasattr(config, "vision_config"):
        one = picture(model, 0)
        media = [one]
        rows = [
            torch.cat([rows[0], torch.tensor([START]), torch.full((one.tokens,), PICTURE), torch.tensor([END])]),
            *rows[1:],
        ]
    length = -(-max(map(len, rows)) // 8) * 8
    ids = torch.full((len(rows), length), PAD)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        at = length - len(row) if left else 0
        ids[i, at : at + len(row)] = row
        mask[i, at : at + attended[i]] = 1
        labels[i, at + firsts[i] : at + attended[i]] = row[firsts[i] : attended[i]]
    batch: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    for name in dict.fromkeys(key for one in media for key in one.inputs):
        batch[name] = join([one.inputs[name] for one in media if name in one.inputs])
    core = getattr(inner(model), "model", None)
    if hasattr(core, "get_rope_index"):
        kinds = (ids == PICTURE).int() + 2 * (ids == VIDEO).int()
        grids = {name: batch.get(name) for name in ("image_grid_thw", "video_grid_thw")}
        positions, _ = core.get_rope_index(ids, mm_token_type_ids=kinds, attention_mask=mask, **grids)
        batch["position_ids"] = torch.cat([positions[:1], positions])
    if config.model_type == "gemma3":
        batch["token_type_ids"] = (ids == PICTURE).long()
    return batch
