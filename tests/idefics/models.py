# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Tiny Idefics2, Idefics3, SmolVLM and SmolVLM2, with the chat templates of the published models and tokenizers of
their kinds: SentencePiece's for Idefics2, bytes for the others.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from llamafactory.hparams import ModelArguments
from llamafactory.model.patcher import patch_processor
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

KINDS = ("idefics2", "idefics3", "smolvlm", "smolvlm2")
DIFFERENT = ("idefics2", "idefics3", "smolvlm2")  # SmolVLM's first version is Idefics3 with other words
TEMPLATE = {"idefics2": "idefics2", "idefics3": "idefics3", "smolvlm": "smolvlm", "smolvlm2": "smolvlm"}
_CHAT = (
    "{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
    "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
CHAT = {"idefics2": _CHAT, "idefics3": f"<|begin_of_text|>{_CHAT}"}
MARKS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
GRID = ["<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))]
CORPUS = [
    "System: You are a helpful assistant, who looks at each image.",
    "User: What is this? What digit is in the image? Compare the two images, please. And then?",
    "Assistant: A zero, I think. The first image shows a cat; the second one does not.",
] * 4
# Idefics2's sides are bounded, the others' longest edge is scaled to four tiles.
SIZES = {"idefics2": {"size": {"shortest_edge": 20, "longest_edge": 56}}}
OTHERS = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 28}}


def _bytes(start: str, adds_start: bool) -> Any:
    """A tokenizer of bytes with some merges; whether it puts `start` before a text."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [start, "<|end|>", "<pad>", *MARKS, *GRID]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    if adds_start:
        ids = [(start, model.token_to_id(start))]
        model.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=ids)
    names = {"bos_token": start, "eos_token": "<|end|>", "pad_token": "<pad>"}
    return tf.PreTrainedTokenizerFast(tokenizer_object=model, **names)


def _pieces() -> Any:
    """A tokenizer of SentencePiece's kind, as `LlamaTokenizer` makes them."""
    learner = Tokenizer(models.BPE(byte_fallback=True))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    learner.train_from_iterator(CORPUS, trainer)
    found = json.loads(learner.model.__getstate__())
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found["merges"]]
    return tf.LlamaTokenizer(vocab=found["vocab"], merges=merges, pad_token="<unk>", add_bos_token=True)


def make_processor(kind: str, backend: str = "", **options: Any) -> Any:
    """A processor as LlamaFactory loads it; LlamaFactory leaves the sizes of pictures alone.

    Args:
        backend: suffix of another class of the image processor.
        options: of the image processor.
    """
    family = {"idefics2": "Idefics2", "smolvlm2": "SmolVLM"}.get(kind, "Idefics3")
    options = SIZES.get(kind, OTHERS) | {"do_image_splitting": True} | options
    parts = {"image_processor": getattr(tf, f"{family}ImageProcessor{backend}")(**options)}
    if kind == "idefics2":
        tokenizer = _pieces()
    else:
        tokenizer = _bytes(*(("<|begin_of_text|>", True) if kind == "idefics3" else ("<|im_start|>", False)))
    if kind == "smolvlm2":
        parts["video_processor"] = tf.SmolVLMVideoProcessor()
    chat = CHAT.get(kind, f"<|im_start|>{_CHAT}")
    with pytest.MonkeyPatch.context() as patch:  # SmolVLM2's wants a package that writes numbers in prompts of videos
        patch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)
        make = getattr(tf, f"{family}Processor")
        processor = make(**parts, tokenizer=tokenizer, image_seq_len=4, chat_template=chat)
    limits = {"image_max_pixels": 4096 * 4096, "image_min_pixels": 1}
    patch_processor(processor, tokenizer, ModelArguments(model_name_or_path=kind, **limits))
    return processor


def make_model(kind: str, processor: Any) -> Any:
    """A model of three layers whose log-probabilities differ from token to token."""
    tokenizer = processor.tokenizer
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text |= {"pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": False, "head_dim": 8}
    known = {"image_token_id": tokenizer.convert_tokens_to_ids("<image>"), "tie_word_embeddings": False}
    if kind == "idefics2":
        config = tf.Idefics2Config(
            text_config=tf.MistralConfig(**text),
            vision_config=tower | {"image_size": 56, "patch_size": 14},
            perceiver_config={
                "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8,
                "num_key_value_heads": 1, "hidden_size": 32,
            },
            **known,
        )  # fmt: skip
    else:
        make = tf.SmolVLMConfig if kind == "smolvlm2" else tf.Idefics3Config
        vision = tower | {"image_size": 28, "patch_size": 7}
        config = make(text_config=tf.LlamaConfig(**text), vision_config=vision, scale_factor=2, **known)
    torch.manual_seed(0)
    model = tf.AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(3.0)
    return model.eval()


def write_model(kind: str, folder: Path, **options: Any) -> Path:
    """A model and its processor on disk; `options` of the image processor."""
    processor = make_processor(kind, **options)
    processor.save_pretrained(folder)
    make_model(kind, processor).save_pretrained(folder)
    return folder


@lru_cache(64)
def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Some colours."""
    numbers = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.frombytes("RGB", (width, height), bytes(numbers.flatten().tolist()))
