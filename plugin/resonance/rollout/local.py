# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The policy generates: each prompt is read once, and its cache serves all completions of the group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessorList

from .recorder import Recorder, media_tokens
from .states import generating
from .types import Completion, Sampling

Batch = dict[str, torch.Tensor]


class LocalRollout:
    """Generates with a model of this process.

    Args:
        model: the unwrapped policy.
        collate: makes a batch of tokenized prompts, padded on the left, with media and positions.
        end_tokens: a completion ends with one of these.
        pad_token: fills up completions that end earlier.
        size: prompts that are generated for at a time.
    """

    def __init__(
        self,
        model: Any,
        collate: Callable[[list[dict[str, Any]]], Batch],
        end_tokens: Sequence[int],
        pad_token: int,
        size: int,
    ) -> None:
        self.model, self.collate, self.size = model, collate, size
        self.end_tokens, self.pad_token = list(end_tokens), pad_token
        self.banned = media_tokens(model.config)

    def take(self, version: int) -> None:
        """Nothing to do: it is the policy."""

    def close(self) -> None:
        """Nothing is left."""

    def generate(
        self, rows: Sequence[Mapping[str, Any]], count: int, sampling: Sampling, version: int, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """`count` completions of each row; see `Rollout`. Rows that are generated together draw from the first's seed.

        The random numbers of the process stay as they are.
        """
        found: list[list[Completion]] = []
        device = next(self.model.parameters()).device
        with generating(self.model), torch.random.fork_rng([device] if device.type == "cuda" else []):
            for start in range(0, len(rows), self.size):
                part = [dict(row) for row in rows[start : start + self.size]]
                torch.manual_seed(seeds[start])
                tokens, logps = self.sample(self.collate(part), count, sampling)
                completions = [
                    self._completion(*row, version) for row in zip(tokens.tolist(), logps.tolist(), strict=True)
                ]
                found += [completions[i : i + count] for i in range(0, len(completions), count)]
        return found

    def sample(self, batch: Batch, count: int, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
        """New tokens of `count` completions a prompt, group after group, and their log-probabilities, (N, T) both."""
        device = next(self.model.parameters()).device
        batch = {name: value.to(device) for name, value in batch.items()}
        cache, ids, mask = self._prefill(batch, count)
        recorder = Recorder(ids.shape[1], sampling.temperature, self.banned)
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        sequences = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            synced_gpus=False,  # under ZeRO-3 the weights are whole, and ranks may have unequally many prompts
            do_sample=not sampling.greedy,
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.min_new_tokens or None,
            eos_token_id=self.end_tokens,
            pad_token_id=self.pad_token,
            logits_processor=LogitsProcessorList([recorder]),
            **(dict.fromkeys(drawn) if sampling.greedy else drawn),
        )
        return sequences[:, ids.shape[1] :], recorder.logps(sequences)

    def _prefill(self, batch: Batch, count: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Cache of all but the last token of every prompt, ids and mask, all repeated `count` times."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "rope_deltas")}
        if "position_ids" not in inputs:
            inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
        for name in ("input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids"):
            if name in inputs:
                inputs[name] = inputs[name][..., :-1]
        cache = DynamicCache(config=self.model.config.get_text_config())
        self.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(count)
        for module in self.model.modules():
            if hasattr(module, "rope_deltas"):
                deltas = batch.get("rope_deltas")
                module.rope_deltas = None if deltas is None else deltas.view(-1, 1).repeat_interleave(count, 0)
        return cache, ids.repeat_interleave(count, 0), mask.repeat_interleave(count, 0)

    def _completion(self, tokens: list[int], logps: list[float], version: int) -> Completion:
        end = next((i + 1 for i, token in enumerate(tokens) if token in self.end_tokens), None)
        return Completion(tokens[:end], logps[:end], "length" if end is None else "stop", version)
