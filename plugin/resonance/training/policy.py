# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The policy trainer: the update of a policy on its own completions, by PPO or one of its variants.

It moves tensors between the engine, `policy/` and the log. The sibling of the preference trainer, on the same engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras import logging
from torch.utils.data import DataLoader
from typing_extensions import override

from ..arguments.policy_settings import PolicySettings
from ..forward.readers import Entropy, Logp, Reader
from ..forward.result import TokenLogps
from ..forward.tower import switch_off_dropout
from ..policy import Aggregation, aggregate, entropy_bonus, kl, policy_loss, value_loss
from .completions import Completer
from .credit import Credit
from .critic import READERS, CriticTrainer
from .engine import Engine
from .experience import ExperienceSource
from .meters import BatchResult, MeteredTrainer, Split
from .phases import UpdateTimer
from .policy_eval import GeneratingEvaluation
from .rates import RatesTrainer
from .rollouts import MicroBatch, Sizes
from .samples import PageWriter, SampleLog
from .symptoms import SymptomWatch
from .together import on_all_ranks

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

# In a batch, beside model inputs.
CARRIED = (
    "columns",
    "response_mask",
    "advantages",
    "old_logps",
    "ref_logps",
    "values",
    "returns",
    "weights",
    "tokens",
    "sequences",
)
_PASSED = {"old_logps": "logp", "values": "value"}
STATE = "rollout_state_{}.pt"


class PolicyTrainer(RatesTrainer, GeneratingEvaluation, MeteredTrainer, CriticTrainer):
    """Trains a policy on its own completions.

    A step of the Trainer is an optimizer step. Before the first of `settings.updates` steps a rollout is made; its
    micro-batches are what the steps train on.

    Args:
        settings: of the recipe.
        engine: makes the engine of this trainer.
        completer: makes its completer.
        collate: rows with the tokens of a completion each -> a batch, and where the completions begin.
        kwargs: of Transformers' Trainer.
    """

    def __init__(
        self,
        settings: PolicySettings,
        engine: Callable[[PolicyTrainer], Engine],
        completer: Callable[[PolicyTrainer], Completer],
        collate: Callable[[list[tuple[Any, list[int]]]], tuple[dict[str, Any], list[int]]],
        **kwargs: Any,
    ) -> None:
        self.settings, self.collate = settings, collate
        if switch_off_dropout(kwargs["model"]):
            logger.warning_rank0(
                "Dropout is off in stage: ppo, as in LlamaFactory's DPO: log-probabilities under it would be those of "
                "other policies than the one that sampled."
            )
        trains_critic = settings.needs_critic and kwargs["args"].do_train
        super().__init__(critic=settings.values["critic"] if trains_critic else None, **kwargs)
        args = self.args
        self.sizes = Sizes(
            group=settings.preset.num_generations,
            micro=args.per_device_train_batch_size,
            accumulation=args.gradient_accumulation_steps,
            minibatches=settings.minibatches,
            epochs=settings.preset.ppo_epochs,
            world=args.world_size,
            rank=args.process_index,
        )
        self.engine = engine(self)
        self.completer = completer(self)
        self.temperature = self.completer.sampling.temperature
        self.credit = Credit(settings, self.sizes, self._sum)
        samples = SampleLog(args.output_dir) if self.is_world_process_zero() else None
        self.source = ExperienceSource(self.completer, self.credit, self._passes, samples, self._log_rollout)
        self.add_callback(UpdateTimer(self.completer.time, lambda: self.source.used_up, self._log_rollout))
        self.add_callback(SymptomWatch())
        if samples is not None:
            self.add_callback(PageWriter(samples, lambda row: self.completer.rows[row].get("images") or []))

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """Over ranks, of a tensor of the host."""
        return self.accelerator.reduce(x.to(self.args.device), "sum").to("cpu", x.dtype)

    def _log_rollout(self, metrics: dict[str, float]) -> None:
        found = {name: torch.tensor(value, device=self.args.device) for name, value in metrics.items()}
        self.meters["train"].add(found, 1)

    # -- batches --------------------------------------------------------------------------------------------------

    @override
    def get_train_dataloader(self) -> DataLoader:
        """The numbers of the micro-batches of an epoch, in which every prompt comes once."""
        rollouts = max(1, len(self.train_dataset) // self.sizes.prompts)
        steps: Any = [{"micro_step": i} for i in range(rollouts * self.sizes.micro_steps)]
        # of batches, which Accelerate can skip when a run goes on
        return DataLoader(steps, batch_size=1, collate_fn=itemgetter(0))

    @override
    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        micro, fresh = self.source.next(self.state.global_step, self.state.max_steps)
        return super().training_step(model, self._batch(micro, fresh), *args, **kwargs)

    def _batch(self, micro: MicroBatch, fresh: bool = False) -> dict[str, Any]:
        """Model inputs of a micro-batch and what its loss needs.

        Args:
            micro: of a rollout.
            fresh: the policy is still the one that sampled, so that its log-probabilities are the old ones.
        """
        rows = {number: self.completer.rows[number] for number in {sample.row for sample in micro.samples}}
        batch, starts = self.collate([(rows[s.row], s.completion.token_ids) for s in micro.samples])
        width, last = micro.mask.shape[1], batch["labels"].shape[1] - 2
        columns = (torch.tensor(starts)[:, None] - 1 + torch.arange(width)).clamp(max=last)
        tensors = {name: value for name, value in micro.tensors.items() if not (fresh and name == "old_logps")}
        beside = {
            "columns": columns,
            "response_mask": micro.mask,
            "tokens": micro.tokens,
            "sequences": micro.sequences,
        }
        return {**batch, **beside, **tensors}

    @torch.no_grad()
    def _passes(self, micro: MicroBatch) -> dict[str, torch.Tensor]:
        """What the update and the advantages need to know before, (B, T) on the host."""
        names = self.credit.needed
        if not names:
            return {}
        batch = self._prepare_inputs(self._batch(micro))
        prepared = self.engine.prepare(self.model_wrapped, batch)
        found: dict[str, torch.Tensor] = {}
        if "ref_logps" in names:
            reference = self.engine.reference_logps(self.model_wrapped, prepared, (Logp(self.temperature),))
            assert reference is not None  # a recipe that needs one has one
            found["ref_logps"] = self._responses(reference, batch)["logp"]
        if readers := self._readers(names):
            own = self._responses(self.engine.logps(self.model_wrapped, prepared, readers), batch)
            found |= {name: own[column] for name, column in _PASSED.items() if column in own}
        return {name: found[name].cpu() for name in names}

    def _readers(self, names: Sequence[str]) -> tuple[Reader, ...]:
        known: dict[str, Reader] = {
            "old_logps": Logp(self.temperature),
            "entropy": Entropy(self.temperature),
            "values": READERS[self.critic_name],
        }
        return tuple(reader for name, reader in known.items() if name in names)

    @staticmethod
    def _responses(tokens: TokenLogps, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """From the columns of the batch to the tokens of its responses, (B, T)."""
        return {name: values.gather(1, batch["columns"]) for name, values in tokens.columns.items()}

    # -- update ---------------------------------------------------------------------------------------------------

    @override
    def loss_of(self, model: Any, batch: dict[str, Any], split: Split) -> BatchResult:
        """This micro-batch's share of the loss of its optimizer step, and its metrics."""
        preset, mask = self.settings.preset, batch["response_mask"]
        prepared = self.engine.prepare(model, batch)
        readers = self._readers(["old_logps", "entropy", *(["values"] if self.critic is not None else [])])
        found = self._responses(self.engine.logps(model, prepared, readers), batch)
        logps, how = found["logp"], self._aggregation(batch)
        output = policy_loss(
            preset.loss,
            logps,
            batch.get("old_logps", logps.detach()),
            batch["advantages"],
            mask,
            aggregation=how,
            weights=batch.get("weights"),
            **preset.loss_params,
        )
        loss, metrics = output.loss, dict(output.stats)
        metrics["entropy"] = how.token_mean(found["entropy"], mask)
        if coef := self.settings.values["entropy_coef"]:
            loss = loss + entropy_bonus(found["entropy"], mask, entropy_coef=coef, aggregation=how)
        if "ref_logps" in batch:
            divergence = kl(preset.kl, logps, batch["ref_logps"])
            metrics["kl"] = how.token_mean(divergence, mask)
            if preset.kl_in == "loss":
                loss = loss + self.credit.kl.value * aggregate(divergence, mask, how)
        if self.critic is not None:
            clip = preset.critic.get("cliprange_value")
            old, returns = batch["values"], batch["returns"]
            error = value_loss(found["value"], old, returns, mask, cliprange_value=clip, aggregation=how)
            loss = loss + preset.critic["vf_coef"] * error
            metrics["value_loss"] = error.detach()
        return BatchResult(loss, metrics, 1)

    def _aggregation(self, batch: Mapping[str, Any]) -> Aggregation:
        """Means over the optimizer step on all ranks. The Trainer averages its parts, so each part is made larger."""
        parts = self.sizes.accumulation * self.sizes.world
        tokens, sequences = batch["tokens"] / parts, batch["sequences"] / parts
        return Aggregation(self.settings.preset.aggregation, tokens, sequences, self.completer.sampling.max_new_tokens)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    @override
    def save_rank_state(self, checkpoint: str) -> None:
        torch.save(self.source.state_dict(), Path(checkpoint, STATE.format(self.args.process_index)))

    @override
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            on_all_ranks(lambda: self._load_rollouts(checkpoint))

    def _load_rollouts(self, checkpoint: str) -> None:
        path = Path(checkpoint, STATE.format(self.args.process_index))
        if not path.is_file():
            raise ValueError(
                f"resume_from_checkpoint: {path} is missing: the checkpoint was saved by another stage, on fewer "
                "ranks, by another node on a disk of its own, or under `save_only_model: true`. To start anew with "
                f"its weights: `model_name_or_path: {checkpoint}` (`adapter_name_or_path` for LoRA) and another "
                "output_dir."
            )
        self.source.load_state_dict(torch.load(path, weights_only=True))
