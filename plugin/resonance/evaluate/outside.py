# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A model as other programs read it: by Transformers and PEFT alone, with the chat template of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from ..rollout.agreement import AROUND, Agreement
from ..rows.chat import ChatWriter
from ..rows.fields import MESSAGES, ROW, SOURCE
from .policy import SIDES, Pair, Writer
from .trained import ADAPTER, Trained

ADAPTER_FILE = "adapter_model.safetensors"


def messages_of(writer: Writer, pair: Pair) -> list[dict[str, Any]]:
    """A pair's conversation up to its answers, with the training's system message and images within its limits."""
    origin = {name: pair[name] for name in (SOURCE, ROW) if name in pair}
    row = {MESSAGES: json.dumps(pair["messages"]), "images": list(pair["images"]), **origin}
    return ChatWriter(writer.template, writer.processor)(row)


def prompt(processor: Any, writer: Writer, pair: Pair) -> dict[str, Any]:
    """Inputs of the model for a pair's prompt, by the processor's own chat template.

    Images are within the limits of the training, so that what differs is not their size alone.
    """
    messages = messages_of(writer, pair)
    if hasattr(processor, "image_processor"):  # in the layout that all chat templates for images know
        messages = [
            {**message, "content": [{"type": "text", "text": text}]}
            if isinstance(text := message["content"], str)
            else message
            for message in messages
        ]
    inputs = processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    return dict(inputs)


def prompt_difference(processor: Any, writer: Writer, pair: Pair) -> str | None:
    """Where the folder's chat template and the training's template part, or None; images are counted as one token."""
    agreement = Agreement(writer.encode.media_ids(writer.aligned(pair)), writer.tokenizer.decode, "")
    ours = agreement.collapsed(writer.ids(pair).prompt)
    try:
        theirs = agreement.collapsed(prompt(processor, writer, pair)["input_ids"][0].tolist())
    except Exception as error:  # whatever jinja, or a processor that finds no image in its text, raises
        return f"the chat template of the folder cannot write it ({type(error).__name__}: {error})"
    if ours == theirs:
        return None
    pairs = zip(ours, theirs, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
    shown = [writer.tokenizer.decode(ids[max(0, at - AROUND) : at + AROUND]) for ids in (ours, theirs)]
    return f"from token {at} on:\n  training {shown[0]!r}\n  folder   {shown[1]!r}"


class Outside:
    """A folder with a whole model or an adapter, loaded by Transformers and PEFT.

    Args:
        folder: its path.
        trained: of the run; names the model that an adapter belongs to.
        device: a name of torch.

    Attributes:
        missing: weights that the model has and the files have not.
        unexpected: weights that the files have and the model has not.
        tied: weights that the files lack because they are other weights.
    """

    def __init__(self, folder: str, trained: Trained, device: Any) -> None:
        adapter = trained.is_adapter and folder == trained.name
        name = str(trained.settings.base) if adapter else folder
        config = AutoConfig.from_pretrained(name)
        kind = (
            AutoModelForImageTextToText
            if type(config) in AutoModelForImageTextToText._model_mapping
            else AutoModelForCausalLM
        )
        self.folder, self.device = folder, device
        self.processor = AutoProcessor.from_pretrained(folder)
        model, info = kind.from_pretrained(name, dtype="auto", output_loading_info=True)
        missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
        mismatched = {str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"]}
        self.tied = sorted(getattr(model, "all_tied_weights_keys", None) or ())
        if adapter:
            for before in trained.settings.merged:
                model = PeftModel.from_pretrained(model, before).merge_and_unload()
            model = PeftModel.from_pretrained(model, folder)
            needed, found = set(get_peft_model_state_dict(model)), set(adapter_names(folder))
            missing, unexpected = missing | needed - found, unexpected | found - needed
        self.missing, self.unexpected = sorted(missing | mismatched), sorted(unexpected)
        self.model = model.to(device).eval()

    @property
    def dtype(self) -> torch.dtype:
        return next(p.dtype for name, p in self.model.named_parameters() if "lora_" not in name)

    def logps(self, writer: Writer, pair: Pair) -> dict[str, list[float]]:
        """Log-probability of each token of both answers, by the plain forward."""
        inputs = prompt(self.processor, writer, pair)
        ids, found = writer.ids(pair), {}
        for side in SIDES:
            answer = torch.tensor([getattr(ids, side)])
            batch = {**inputs, "input_ids": torch.cat([inputs["input_ids"], answer], 1)}
            for name in ("attention_mask", "mm_token_type_ids", "token_type_ids"):
                if name in inputs:
                    more = torch.full_like(answer, int(name == "attention_mask"))
                    batch[name] = torch.cat([inputs[name], more], 1)
            found[side] = self._read(batch, answer)
        return found

    def _read(self, batch: Mapping[str, Any], answer: torch.Tensor) -> list[float]:
        placed = {name: value.to(self.device) for name, value in batch.items()}
        with torch.no_grad():
            logits = self.model(**placed, use_cache=False).logits[0, -answer.shape[1] - 1 : -1].float()
        return logits.log_softmax(-1).gather(1, answer[0, :, None].to(logits.device))[:, 0].tolist()


def adapter_names(folder: str) -> Sequence[str]:
    """Names of the weights in an adapter's file; ValueError if there is none."""
    try:
        with safe_open(f"{folder}/{ADAPTER_FILE}", "pt") as file:
            return list(file.keys())
    except FileNotFoundError:
        raise ValueError(f"{folder} has {ADAPTER}, and no {ADAPTER_FILE} with its weights") from None
