# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Make a tiny, untrained Qwen2-VL with its tokenizer and image processor, on the spot and without network.

    python scripts/make_tiny_model.py OUT [--seed 0] [--size small]

LlamaFactory loads the folder like any Qwen2-VL: `model_name_or_path: OUT`, `template: qwen2_vl`. The same seed and
size give the same files. The output head is saved under its own name and the configuration says "not tied" on both
levels: transformers releases disagree on which level counts, and one that reads the other replaces a trained head.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2TokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What the merges are learnt from; anything else is spelt byte by byte.
CORPUS = [
    "system\nYou are a helpful assistant.",
    "user\nWhat digit is this? Which digit is written here? Read the handwritten digit. Describe the image.",
    "assistant\nThe digit is 7. Hmm, maybe it is something like a 3, but who knows? The image shows one digit.",
] * 8
MAX_VOCABULARY = 512


@dataclass(frozen=True)
class Size:
    """Widths and depths of the language model and of the vision tower."""

    hidden: int
    layers: int
    vision_embed: int
    vision_layers: int
    heads: int = 4


SIZES = {"tiny": Size(64, 2, 32, 1), "small": Size(128, 2, 64, 2), "medium": Size(192, 3, 96, 3)}


def make_tokenizer(out: Path) -> Qwen2TokenizerFast:
    """Qwen2's byte-level BPE with 256 bytes, a few merges and Qwen2-VL's special tokens; leaves its files in `out`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(out))
    return Qwen2TokenizerFast.from_pretrained(
        out,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL_TOKENS[1:],
        model_max_length=4096,
    )


def make_config(size: Size, tokenizer: Qwen2TokenizerFast) -> Qwen2VLConfig:
    """Qwen2-VL's own configuration at the given size; the rotary sections keep its 2:3:3 split."""
    token_id = tokenizer.convert_tokens_to_ids
    half_head = size.hidden // size.heads // 2
    sections = [half_head // 4, half_head * 3 // 8, half_head * 3 // 8]
    return Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden,
            "intermediate_size": size.hidden * 3,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads // 2,
            "max_position_embeddings": 4096,
            "rope_theta": 1e6,
            "rope_scaling": {"type": "mrope", "mrope_section": sections},
            "bos_token_id": token_id("<|endoftext|>"),
            "eos_token_id": token_id("<|im_end|>"),
            "pad_token_id": token_id("<|endoftext|>"),
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": size.vision_layers,
            "embed_dim": size.vision_embed,
            "hidden_size": size.hidden,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=False,
    )


def make_model(out: Path, size: Size, seed: int) -> int:
    """Write model, tokenizer and processor to `out`; return the number of parameters."""
    tokenizer = make_tokenizer(out)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(make_config(size, tokenizer))
    model.save_pretrained(out)
    pixels = {"min_pixels": 28 * 28, "max_pixels": 224 * 224}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default: 0)")
    parser.add_argument("--size", choices=list(SIZES), default="small", help="how tiny (default: small)")
    arguments = parser.parse_args(argv)
    parameters = make_model(arguments.out, SIZES[arguments.size], arguments.seed)
    print(f"{arguments.out}: Qwen2-VL, {parameters:,} parameters, seed {arguments.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
