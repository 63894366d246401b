# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Models by name: the template that LlamaFactory has for them, or what to take in their place."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import NamedTuple

_NO_PLUGIN = "LlamaFactory has no template that puts images into {name}"
_OTHER_FORM = "Transformers reads the -hf checkpoint"


class Model(NamedTuple):
    """What becomes of a model.

    Attributes:
        pattern: of the last part of its name or path, in lower case.
        template: LlamaFactory's.
        instead: the model to take in its place; empty if it can stay.
        why: it cannot.
    """

    pattern: str
    template: str
    instead: str = ""
    why: str = ""


MODELS = (
    Model(r"qwen2\.?5?-vl", "qwen2_vl"),
    Model(r"qwen3-vl.*thinking", "qwen3_vl"),
    Model(r"qwen3-vl", "qwen3_vl_nothink"),
    Model(r"qwen-vl", "qwen2_vl", "Qwen/Qwen2.5-VL-7B-Instruct", _NO_PLUGIN),
    Model(r"llava-1\.5.*-hf", "llava"),
    Model(r"llava-v1\.6-mistral.*-hf", "llava_next_mistral"),
    Model(r"llava-v1\.6-vicuna.*-hf", "llava_next"),
    Model(r"llava-v1\.6-34b.*-hf", "llava_next_yi"),
    Model(r"llama3-llava-next.*-hf", "llava_next_llama3"),
    Model(r"llava-v1\.5-7b", "llava", "llava-hf/llava-1.5-7b-hf", _OTHER_FORM),
    Model(r"llava-v1\.5-13b", "llava", "llava-hf/llava-1.5-13b-hf", _OTHER_FORM),
    Model(r"llava-v1\.6-mistral", "llava_next_mistral", "llava-hf/llava-v1.6-mistral-7b-hf", _OTHER_FORM),
    Model(r"llava-v1\.6-vicuna", "llava_next", "llava-hf/llava-v1.6-vicuna-7b-hf", _OTHER_FORM),
    Model(r"internvl.*-hf", "intern_vl"),
    Model(r"gemma-3", "gemma3"),
    Model(r"idefics2", "idefics2"),
    Model(r"idefics3", "idefics3"),
    Model(r"smolvlm", "smolvlm"),
    Model(r"instructblip|internlm-xcomposer|idefics", "qwen2_vl", "Qwen/Qwen2.5-VL-7B-Instruct", _NO_PLUGIN),
    Model(r"dialogpt|^gpt2", "qwen2_vl", "Qwen/Qwen2-VL-2B-Instruct", "{name} is a text model, which reads no image"),
)
# Linear layers of Qwen-VL's first version, which the guide's examples name, by their names in the models above.
RENAMED_LAYERS = {
    "c_attn": "q_proj,k_proj,v_proj",
    "attn.c_proj": "o_proj",
    "w1": "up_proj",
    "w2": "gate_proj",
    "mlp.c_proj": "down_proj",
}


def find(name: str) -> Model | None:
    """The row that a model's name or path fits; None for a model that is not known."""
    last = PurePath(name.rstrip("/")).name.lower()
    return next((model for model in MODELS if re.search(model.pattern, last)), None)
