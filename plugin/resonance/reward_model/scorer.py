# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A folder with a reward model -> what scores completions with it, by its own base, tokenizer, template and limits."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer
from transformers.integrations import deepspeed

from ..forward.call import Forward, capabilities
from ..forward.names import RESPONSE_HEAD, SHARED_PREFIX, VISION_ONCE
from ..rows.encode import PairEncoder
from ..rows.fields import PLACEHOLDERS, ROW, SOURCE
from ..rows.rollouts import RolloutCollator
from ..rows.templates import own_template
from .head import READER, add_head, closed, load_head, rewards
from .settings import Settings, read_settings

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

Message = Mapping[str, str]
_SPEEDUPS = frozenset({RESPONSE_HEAD, SHARED_PREFIX, VISION_ONCE})
_ROUNDING = {torch.float32: 1e-4}  # largest difference of two exact ways, of rewards of about 1; others: 16 bits
_ROUNDING_OF_HALF = 5e-2


def load(
    folder: str,
    *,
    device: str | None = None,
    dtype: str = "auto",
    batch_size: int = 16,
    trust_remote_code: bool = False,
    **given: Any,
) -> Scorer:
    """The reward model that a `stage: rm` run, ours or LlamaFactory's, has left in a folder.

    Args:
        folder: with the model or the adapter, and the value head.
        device: a name of torch; None for the GPU of this process, or the CPU.
        dtype: float32, bfloat16, float16, or auto for that of the files.
        batch_size: completions that the model reads together.
        trust_remote_code: as in a recipe; never taken from the folder.
        given: `base`, and keys of `settings.DATA_KEYS` and `MODEL_KEYS`, in place of what the folder says.

    Raises:
        ValueError: all that is missing in the folder, or what does not fit together.
    """
    settings = read_settings(folder, given)
    place = torch.device(device or (f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"))
    keys = settings.arguments(folder) | {"infer_dtype": dtype, "trust_remote_code": trust_remote_code}
    model_args, data_args, finetuning_args, _ = get_infer_args(keys)
    model_args.device_map = {"": place}
    modules = load_tokenizer(model_args)
    template = own_template(modules["tokenizer"], data_args)
    gpus = [place] if place.type == "cuda" else []
    with _outside_zero3(), torch.random.fork_rng(gpus):  # a run that goes on loads it at another time
        model = load_model(modules["tokenizer"], model_args, finetuning_args, is_trainable=False)
        head = add_head(model)
    load_head(head, folder)
    head.requires_grad_(False).to(place)
    return Scorer(model.to(place).eval(), template, modules, settings, batch_size)


@contextmanager
def _outside_zero3() -> Iterator[None]:
    """Within it, Transformers does not spread a model over the ranks: each one scores completions of its own."""
    known = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = known


class Scorer:
    """Scores completions. One thread at a time is in the model; others wait.

    Args:
        model: with a value head, for evaluation.
        template: LlamaFactory's, of the reward model.
        modules: its `tokenizer` and `processor`.
        settings: of its folder.
        batch_size: completions that the model reads together.
    """

    def __init__(
        self, model: Any, template: Any, modules: Mapping[str, Any], settings: Settings, batch_size: int
    ) -> None:
        self.model, self.settings, self.batch_size = model, settings, batch_size
        self.encode = PairEncoder(template, modules["tokenizer"], modules["processor"])
        self.collator = RolloutCollator(template=template, model=model, pad_to_multiple_of=8, **modules)
        self._lock = threading.Lock()
        self._forward: Forward | None = None
        self._is_long = False

    def __call__(
        self,
        conversations: Sequence[Sequence[Message]],
        completions: Sequence[str],
        images: Sequence[Sequence[Any]] | None = None,
    ) -> list[float]:
        """Rewards of B completions; those of one prompt are cheapest one after another.

        Args:
            conversations: what each completes, [{"role": ..., "content": ...}, ...], the system's first if there is
                one, `<image>` in a text for each image, the user's last.
            completions: their texts.
            images: of each conversation, as paths, PIL images or bytes; None for no images at all.

        Raises:
            ValueError: a conversation that the template cannot write, or an image that cannot be read.
        """
        shown = images or [()] * len(completions)
        rows = [
            self._row(number, *each) for number, each in enumerate(zip(conversations, completions, shown, strict=True))
        ]
        with self._lock, torch.no_grad():
            found = [
                self._scores(rows[start : start + self.batch_size]) for start in range(0, len(rows), self.batch_size)
            ]
        return torch.cat(found).tolist() if found else []

    def _row(
        self, number: int, messages: Sequence[Message], completion: str, images: Sequence[Any]
    ) -> tuple[dict[str, Any], list[int]]:
        """The tokens of a prompt, and those of its completion up to where the template ends, and one more."""
        system, *rest = messages if messages and messages[0]["role"] == "system" else ({"content": ""}, *messages)
        answer = {"role": "assistant", "content": self._harmless(completion)}
        row = {"_prompt": list(rest), "_response": [answer] * 2, "_system": system["content"], "_tools": ""}
        ids = self.encode({**row, "_images": list(images), "_videos": [], "_audios": []})
        limit = self.settings.data.get("cutoff_len")
        if not self._is_long and limit and len(ids.prompt) + len(ids.chosen) > limit:
            self._is_long = True
            logger.warning_rank0(
                f"A completion with its prompt has {len(ids.prompt) + len(ids.chosen)} tokens, more than the reward "
                f"model was trained with (cutoff_len: {limit}). Such ones are scored whole."
            )
        tokens, _ = closed(ids.chosen, ids.chosen)
        prompt = {"input_ids": ids.prompt, "images": list(images), SOURCE: "completions", ROW: number}
        return prompt, tokens

    def _harmless(self, text: str) -> str:
        """A completion without what the template would take for an image: it is text that a model has written."""
        for token in {*PLACEHOLDERS.values(), *self.encode.media_tokens}:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text

    def _scores(self, rows: Sequence[tuple[dict[str, Any], list[int]]]) -> torch.Tensor:
        batch, _ = self.collator.responses(rows)
        batch = {name: value.to(self.model.device) if hasattr(value, "to") else value for name, value in batch.items()}
        if self._forward is None:
            self._forward = self._decided(batch)
        return self._read(self._forward, batch).float().cpu()

    def _read(self, forward: Forward, batch: Mapping[str, Any]) -> torch.Tensor:
        prepared = forward.prepare(dict(batch), self.model)
        return rewards(Forward.call(self.model, self.model, prepared, (READER,)))

    def _decided(self, batch: Mapping[str, Any]) -> Forward:
        """With the speed-ups, if they agree with the plain path on a batch."""
        on: Collection[str] = _SPEEDUPS - set(capabilities(self.model))
        plain, fast = self._read(Forward(()), batch), self._read(Forward(on, always=True), batch)
        allowed = _ROUNDING.get(self.model.dtype, _ROUNDING_OF_HALF)
        apart = float(((plain - fast).abs() / plain.abs().clamp(min=1)).max())
        if apart <= allowed:
            return Forward(on)
        logger.warning_rank0(
            f"The reward model, {type(self.model).__name__}, is read without speed-ups: with {', '.join(sorted(on))} "
            f"rewards differ by {apart:.0e}. Please report it."
        )
        return Forward(())
