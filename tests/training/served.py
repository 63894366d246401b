# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A server with vLLM's routes that answers with a real model, whatever weights it was given."""

from __future__ import annotations

import base64
import io
import threading
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from resonance.rollout.local import LocalRollout
from resonance.rollout.types import Sampling

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"

LOCK = threading.Lock()  # of the random numbers of the process, whichever server draws them


class ModelAnswers:
    """`answer` of a FakeVllm, of a Qwen2-VL in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processor = folder, AutoProcessor.from_pretrained(folder)
        self.model = cache(self._model)

    def _model(self, weights: str) -> Any:
        adapter = weights and (Path(weights) / "adapter_config.json").is_file()
        whole = weights if weights and not adapter else self.folder
        model = AutoModelForImageTextToText.from_pretrained(whole, dtype=torch.float32).eval()
        return PeftModel.from_pretrained(model, weights).eval() if adapter else model

    def __call__(self, body: dict[str, Any], weights: str) -> tuple[list[int], int, list[Any]]:
        text, images = "", []
        for message in body["messages"]:
            parts = message["content"]
            text += f"<|im_start|>{message['role']}\n"
            for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
                if part["type"] == "image_url":
                    content = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    images.append(Image.open(io.BytesIO(content)))
                text += part.get("text", IMAGE)
            text += "<|im_end|>\n"
        text += "<|im_start|>assistant\n"
        with LOCK, torch.no_grad():
            inputs = dict(self.processor(text=[text], images=images or None, return_tensors="pt"))
            found = self._generated(self.model(weights), inputs, body)
        before = self.processor.tokenizer(text)["input_ids"]
        return before, inputs["input_ids"].shape[1], [(one.token_ids, one.logps, one.finish_reason) for one in found]

    def _generated(self, model: Any, inputs: dict[str, Any], body: dict[str, Any]) -> list[Any]:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        kinds = (inputs["input_ids"] == base.config.image_token_id).int()
        positions, deltas = base.model.get_rope_index(
            inputs["input_ids"],
            mm_token_type_ids=kinds,
            attention_mask=inputs["attention_mask"],
            image_grid_thw=inputs.get("image_grid_thw"),
        )
        inputs.pop("mm_token_type_ids", None)
        batch = {**inputs, "position_ids": torch.cat([positions[:1], positions]), "rope_deltas": deltas}
        greedy = body["temperature"] == 0
        sampling = Sampling(body["max_tokens"], body["temperature"] or 1.0, body["top_p"], body["top_k"], greedy)
        rollout = LocalRollout(base, lambda rows: batch, body["stop_token_ids"], 0, 1)
        return rollout.generate([{}], body["n"], sampling, 0, [body["seed"]])[0]
