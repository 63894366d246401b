# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Shapes of usual models, so that they can be estimated before anything is downloaded. Standard library only.

What their published configurations say of sizes; the rest is Transformers' own default for the architecture. A test
counts the parameters of each and compares them with the published number.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

Config = dict[str, Any]


def _text(hidden: int, inner: int, layers: int, heads: int, kv: int, vocab: int, tied: bool = False) -> Config:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": vocab}
    return sizes | {"num_attention_heads": heads, "num_key_value_heads": kv, "tie_word_embeddings": tied}


def _qwen2_vl(*text: Any) -> Config:
    inner = _text(*text)
    inner["rope_scaling"] = {"type": "mrope", "mrope_section": [16, 24, 24]}
    vision = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": inner["hidden_size"]}
    return inner | {"model_type": "qwen2_vl", "vision_config": vision}


def _qwen2_5_vl(vision_inner: int, *text: Any) -> Config:
    inner = _text(*text)
    inner["rope_scaling"] = {"type": "mrope", "mrope_section": [16, 24, 24]}
    vision: Config = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": vision_inner,
        "num_heads": 16,
        "window_size": 112,
    }
    vision |= {"out_hidden_size": inner["hidden_size"], "fullatt_block_indexes": [7, 15, 23, 31], "hidden_act": "silu"}
    return inner | {"model_type": "qwen2_5_vl", "vision_config": vision}


def _qwen3_vl(large: bool, *text: Any) -> Config:
    inner = _text(*text) | {"head_dim": 128}
    sizes = (27, 1152, 4304, [8, 16, 24]) if large else (24, 1024, 4096, [5, 11, 17])
    names = ("depth", "hidden_size", "intermediate_size", "deepstack_visual_indexes")
    vision = dict(zip(names, sizes, strict=True)) | {"num_heads": 16, "out_hidden_size": inner["hidden_size"]}
    tied = {"tie_word_embeddings": inner["tie_word_embeddings"]}
    return {"model_type": "qwen3_vl", "text_config": inner, "vision_config": vision, **tied}


def _llava(inner: Config) -> Config:
    vision: Config = {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "image_size": 336,
    }
    vision |= {"num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14, "projection_dim": 768}
    return {"model_type": "llava", "text_config": inner | {"model_type": "llama"}, "vision_config": vision}


def _siglip(image_size: int) -> Config:
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    return vision | {"image_size": image_size, "patch_size": 14}


def _idefics2(inner: Config) -> Config:
    resampler = {"hidden_size": 4096, "resampler_n_latents": 64, "resampler_depth": 3, "resampler_n_heads": 16}
    resampler |= {"resampler_head_dim": 96, "num_key_value_heads": 4}
    text = inner | {"model_type": "mistral"}
    return {
        "model_type": "idefics2", "text_config": text, "vision_config": _siglip(980), "perceiver_config": resampler,
        "tie_word_embeddings": False,
    }  # fmt: skip


def _idefics3(inner: Config, image_size: int, scale: int) -> Config:
    parts = {"text_config": inner | {"model_type": "llama"}, "vision_config": _siglip(image_size)}
    return {"model_type": "idefics3", "scale_factor": scale, "tie_word_embeddings": False, **parts}


def _gemma3(hidden: int, inner: int, layers: int, heads: int, kv: int) -> Config:
    text = _text(hidden, inner, layers, heads, kv, 262208, True) | {"head_dim": 256, "sliding_window": 1024}
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    vision |= {"image_size": 896, "patch_size": 14, "vision_use_head": False}
    return {"model_type": "gemma3", "text_config": text, "vision_config": vision, "mm_tokens_per_image": 256}


# Name on the hub -> configuration, and the parameters that its page gives, in billions.
KNOWN: dict[str, tuple[Config, float]] = {
    "Qwen/Qwen2-VL-2B-Instruct": (_qwen2_vl(1536, 8960, 28, 12, 2, 151936, True), 2.21),
    "Qwen/Qwen2-VL-7B-Instruct": (_qwen2_vl(3584, 18944, 28, 28, 4, 152064), 8.29),
    "Qwen/Qwen2-VL-72B-Instruct": (_qwen2_vl(8192, 29568, 80, 64, 8, 152064), 73.4),
    "Qwen/Qwen2.5-VL-3B-Instruct": (_qwen2_5_vl(3420, 2048, 11008, 36, 16, 2, 151936, True), 3.75),
    "Qwen/Qwen2.5-VL-7B-Instruct": (_qwen2_5_vl(3420, 3584, 18944, 28, 28, 4, 152064), 8.29),
    "Qwen/Qwen2.5-VL-32B-Instruct": (_qwen2_5_vl(3456, 5120, 27648, 64, 40, 8, 152064), 33.5),
    "Qwen/Qwen2.5-VL-72B-Instruct": (_qwen2_5_vl(3456, 8192, 29568, 80, 64, 8, 152064), 73.4),
    "Qwen/Qwen3-VL-2B-Instruct": (_qwen3_vl(False, 2048, 6144, 28, 16, 8, 151936, True), 2.13),
    "Qwen/Qwen3-VL-4B-Instruct": (_qwen3_vl(False, 2560, 9728, 36, 32, 8, 151936, True), 4.44),
    "Qwen/Qwen3-VL-8B-Instruct": (_qwen3_vl(True, 4096, 12288, 36, 32, 8, 151936), 8.77),
    "Qwen/Qwen3-VL-32B-Instruct": (_qwen3_vl(True, 5120, 25600, 64, 64, 8, 151936), 33.4),
    "llava-hf/llava-1.5-7b-hf": (_llava(_text(4096, 11008, 32, 32, 32, 32064)), 7.06),
    "llava-hf/llava-1.5-13b-hf": (_llava(_text(5120, 13824, 40, 40, 40, 32064)), 13.4),
    "HuggingFaceM4/idefics2-8b": (_idefics2(_text(4096, 14336, 32, 32, 8, 32003)), 8.40),
    "HuggingFaceM4/Idefics3-8B-Llama3": (_idefics3(_text(4096, 14336, 32, 32, 8, 128259), 364, 2), 8.46),
    "HuggingFaceTB/SmolVLM-Instruct": (_idefics3(_text(2048, 8192, 24, 32, 32, 49155), 384, 3), 2.25),
    "google/gemma-3-4b-it": (_gemma3(2560, 10240, 34, 8, 4), 4.3),
    "google/gemma-3-12b-it": (_gemma3(3840, 15360, 48, 16, 8), 12.2),
    "Qwen/Qwen2.5-7B-Instruct": (_text(3584, 18944, 28, 28, 4, 152064) | {"model_type": "qwen2"}, 7.62),
    "Qwen/Qwen3-8B": (_text(4096, 12288, 36, 32, 8, 151936) | {"model_type": "qwen3", "head_dim": 128}, 8.19),
    "meta-llama/Llama-3.1-8B-Instruct": (_text(4096, 14336, 32, 32, 8, 128256) | {"model_type": "llama"}, 8.03),
}


def known_config(name: str) -> Config | None:
    """The configuration of a model by its name on the hub; that of an instruct model stands for its base too."""
    names = {_key(known): known for known in KNOWN}
    found = names.get(_key(name))
    return None if found is None else KNOWN[found][0] | {"dtype": "bfloat16"}


def nearest(name: str) -> list[str]:
    """The names that resemble one."""
    names = {_key(known): known for known in KNOWN}
    return [names[each] for each in get_close_matches(_key(name), names, n=3, cutoff=0.5)]


def _key(name: str) -> str:
    return name.lower().removesuffix("-instruct")
