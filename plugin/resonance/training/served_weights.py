# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The policy's weights in a folder of the run, where servers read them, and whether servers answered with them."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import Trainer

from ..rollout.server import Weights
from ..rollout.states import is_sharded
from .critic import HEAD, MODEL
from .rollouts import MicroBatch
from .together import on_all_ranks

FOLDER = "rollout_weights"


class WeightFolder:
    """Writes each version once, from the first rank, and removes the one before when all servers have moved on.

    Args:
        trainer: of the policy.
        adapter: whether its adapter alone is written, not the whole model.
    """

    def __init__(self, trainer: Trainer, adapter: bool) -> None:
        self.trainer, self.adapter = trainer, adapter
        self.folder = Path(trainer.args.output_dir, FOLDER).resolve()
        self.family = f"rollout-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}-"
        run = [uuid.uuid4().hex[:8]]
        broadcast_object_list(run)  # the same on all ranks
        self.run = run[0]
        self._newest: Path | None = None

    def write(self, version: int) -> Weights:
        """Write the weights of now; all ranks call it together."""
        name, state = f"{self.family}{self.run}-{version}", self._state()
        folder = self.folder / name

        def save() -> None:
            if self.trainer.args.should_save:
                partial = folder.with_suffix(".partial")
                model = self.trainer.accelerator.unwrap_model(self.trainer.model)
                model.save_pretrained(partial, state_dict=state)
                if folder.exists():
                    shutil.rmtree(folder)
                partial.rename(folder)

        on_all_ranks(save)
        self._newest = folder
        return Weights(name, self.family, str(folder), self.adapter)

    def hand_out(self, load: Callable[[], None]) -> None:
        """Load on each rank, then remove what earlier versions and runs have left; all ranks call it together.

        Raises:
            ValueError: a server cannot load them; on all ranks.
        """
        on_all_ranks(load)
        if self.trainer.args.should_save:
            for folder in self.folder.iterdir():
                if folder != self._newest:
                    shutil.rmtree(folder)

    def remove(self) -> None:
        """Remove the folder; all ranks call it together."""
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.args.should_save and self.folder.exists():  # a run without a step has written nothing
            shutil.rmtree(self.folder)

    def _state(self) -> dict[str, Any] | None:
        """Whole weights without the critic's, on ranks that write."""
        trainer = self.trainer
        if trainer.is_fsdp_enabled or is_sharded(trainer.model):
            found = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        else:
            found = trainer.model.state_dict() if trainer.args.should_save else None
        if not found:
            return None
        return {key: value for key, value in found.items() if not {HEAD, MODEL} & set(key.split("."))}


def logp_differences(batch: MicroBatch, logps: torch.Tensor, version: int) -> torch.Tensor:
    """By how much log-probabilities of servers differ from the trainer's, one after the other.

    Args:
        batch: of completions.
        logps: the trainer's, (B, T).
        version: of the trainer's weights; completions of others are left out.
    """
    found = [torch.zeros(0)]
    for row, sample in zip(logps, batch.samples, strict=True):
        if sample.completion.version == version:
            given = torch.tensor(sample.completion.logps)
            found.append((row[: len(given)] - given).abs())
    return torch.cat(found)


def check_logps(
    batches: Sequence[MicroBatch], version: int, limit: float, total: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, float]:
    """Compare the log-probabilities of servers with the trainer's; returns the largest difference on this rank.

    Args:
        batches: of a rollout, with `old_logps`.
        version: of the trainer's weights; completions of earlier ones are not compared.
        limit: of the mean difference.
        total: sums a tensor of the host over ranks.

    Raises:
        ValueError: the mean is over the limit: the weights there are not the weights here.
    """
    differences = torch.cat([logp_differences(batch, batch.tensors["old_logps"], version) for batch in batches])
    summed, count = total(torch.stack([differences.sum(), torch.tensor(float(len(differences)))])).tolist()
    if count and not summed / count <= limit:
        raise ValueError(
            f"rollout_logp_limit: the servers' log-probabilities differ from the trainer's by {summed / count:.3g} a "
            f"token, more than {limit:g}: they have other weights than the policy (a model of another name or "
            "precision, a quantized one, an adapter that is loaded in part), or another `--logprobs-mode`. "
            "`resonance rollout-check RECIPE` compares both; a precision that differs on purpose takes a higher limit."
        )
    return {"rollout/logp_diff_max": float(differences.max())} if len(differences) else {}
