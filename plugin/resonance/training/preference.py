# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The preference trainer: LlamaFactory's DPO trainer with the loss table in place of trl's `dpo_loss`.

It moves tensors from the model to a loss function and metrics to the log. The arithmetic is in
`losses/`; model, optimizer, scheduler, sampler, DeepSpeed and reference handling are LlamaFactory's.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from llamafactory.extras import logging
from llamafactory.train.dpo.trainer import CustomDPOTrainer
from transformers import Trainer
from typing_extensions import override

from ..arguments.parameters import loss_parameters, uses_means
from ..arguments.speedups import asked_speedups
from ..forward.call import Forward, Prepared
from ..forward.result import length_desensitized_sums, sums
from ..losses import Pairs, add_sft, get_loss, mix_bco, pairs_loss
from ..losses.baseline import mean_reward
from ..losses.metrics import pair_metrics
from ..rows.fields import SCORE_FIELDS
from .baseline import BaselineCallback
from .checkpoint import load_renamed
from .features import feature_cache
from .metrics import Meter, non_finite
from .planning import PlanBatches, planner_of
from .reference import REFERENCE_FIELDS, CachedReference
from .sampling import seeded, with_lengths
from .speedups import choose, may_share

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

_OFF = 1e-6  # LlamaFactory's threshold below which a modifier's coefficient is off
# Beside the metrics of a micro-batch, never logged: how many pairs they are means of, and the loss as it is. The
# Trainer leaves a loss that is not finite out of its average and then logs 0 (`logging_nan_inf_filter`).
PAIRS, UNFILTERED = "pairs", "unfiltered_loss"
_NO_INPUTS = (*SCORE_FIELDS, *REFERENCE_FIELDS)


class PreferenceTrainer(CustomDPOTrainer):
    """Trains `pref_loss` for pairs of responses, with scores when the loss asks for them.

    Differences from LlamaFactory's trainer: the loss is looked up in `resonance.losses`; the model is called by
    `resonance.forward`, the reference first, when no graph of the policy holds memory yet; scores are taken out of the
    batch before the model sees it; `group_by_length` knows how long a pair is; metrics stay on the device until they
    are logged; the running baseline of `bco_pair` and `pref_bco_weight` survives a resume.
    """

    def __init__(self, model: Any, ref_model: Any, finetuning_args: Any, processor: Any, **kwargs: Any) -> None:
        self.spec = get_loss(finetuning_args.pref_loss)
        self.loss_params = loss_parameters(vars(finetuning_args))
        self.uses_means = uses_means(vars(finetuning_args))
        self.asked_speedups = asked_speedups(finetuning_args.pref_speedups)
        self.forward: Forward | None = None  # decided on the first batch, again on the first with a backward
        self.decided_in_training = False
        self.told_reasons: set[tuple[str, str]] = set()  # why some batches were laid out otherwise
        datasets = kwargs.get("train_dataset"), kwargs.get("eval_dataset")
        self._check_scores(*datasets)
        self.cached_reference = None
        if finetuning_args.precompute_ref_log_probs:
            self.cached_reference = CachedReference(finetuning_args.run_args, model, processor, *datasets)
            ref_model = self.cached_reference.model_to_prepare(model)
        self.meters = {"train": Meter(), "eval": Meter()}
        self.eval_prefix = "eval"
        super().__init__(model, ref_model, finetuning_args, processor, **kwargs)
        self.feature_cache = feature_cache(self, *datasets)
        self.planner = planner_of(self.data_collator)
        if self.planner is not None:
            self.add_callback(
                PlanBatches(self.planner, lambda: self.unwrapped(self.model_wrapped), self.asked_speedups)
            )
        self.uses_bco = finetuning_args.use_ref_model and self.bco_gemma > _OFF
        self.baseline = BaselineCallback()
        self.uses_baseline = self.spec.baseline or self.uses_bco
        if self.uses_baseline:
            self.add_callback(self.baseline)
        if self.cached_reference is not None:
            self.cached_reference.attach(self)

    def _check_scores(self, *datasets: Any) -> None:
        """A set tokenised earlier for another loss has no scores; say so before the first step."""
        flat = [part for data in datasets for part in (data.values() if isinstance(data, dict) else [data])]
        for part in flat:
            columns = getattr(part, "column_names", None)
            missing = [name for name in SCORE_FIELDS if columns and name not in columns]
            if self.spec.needs_scores and missing:
                raise ValueError(
                    f"pref_loss: {self.spec.name} needs {' and '.join(missing)}, but the tokenised set has only "
                    f"{', '.join(columns or [])}. A `tokenized_path` made for another loss has none: make it again."
                )

    # -- forward --------------------------------------------------------------------------------------------------

    def unwrapped(self, model: Any) -> tuple[Any, Any]:
        """The policy and the reference as `Forward.prepare` takes them."""
        policy = self.accelerator.unwrap_model(model)
        if not self.finetuning_args.use_ref_model or self.cached_reference is not None:
            return policy, None
        return policy, policy if self.ref_model is None else self.accelerator.unwrap_model(self.ref_model)

    def prepare_batch(self, model: Any, batch: dict[str, torch.Tensor]) -> Prepared:
        """Lay out a batch once for policy and reference; on the first one, decide which speed-ups the run uses.

        After an evaluation before step 1, which has no gradients to compare, the first training batch decides again.
        """
        inputs = {name: value for name, value in batch.items() if name not in _NO_INPUTS}
        if self.forward is None or (torch.is_grad_enabled() and not self.decided_in_training):
            self.decided_in_training = torch.is_grad_enabled()
            self.forward = choose(self, model, inputs, self.asked_speedups)
            self.forward.feature_cache, self.forward.planner = self.feature_cache, self.planner
        prepared = self.forward.prepare(inputs, *self.unwrapped(model))
        if prepared.chosen and ("", prepared.chosen) not in self.told_reasons:
            self.told_reasons.add(("", prepared.chosen))
            logger.info_rank0(f"pref_speedups: {prepared.chosen}.")
        for name, why in sorted(set(prepared.reasons.items()) - self.told_reasons):
            self.told_reasons.add((name, why))
            logger.info_rank0(f"pref_speedups: {name} is not used for some batches: {why}.")
        return prepared

    @override
    def concatenated_forward(self, model: Any, batch: Prepared, is_ref_model: bool = False) -> dict[str, Any]:
        """Log-probabilities of the responses, (B,) each: the sum over tokens, or the mean if the loss wants it.

        `batch` is what `prepare_batch` made of it. `tokens` are the log-probabilities a token.
        """
        tokens = Forward.call(model, self.accelerator.unwrap_model(model), batch)
        desensitized = self.ld_alpha is not None and not is_ref_model
        logps = length_desensitized_sums(tokens, self.ld_alpha, 2) if desensitized else sums(tokens)
        chosen_logps_avg = logps.chunk(2)[0] / tokens.lengths.chunk(2)[0]
        if self.uses_means:
            logps = logps / tokens.lengths
        output = {"tokens": tokens, "chosen_logps_avg": chosen_logps_avg}
        weighed, lengths = (part.view(2, -1).sum(1) for part in (tokens.mean_logits * tokens.lengths, tokens.lengths))
        mean_logits = weighed / lengths.clamp(min=1)
        for name, value in (("logps", logps), ("lengths", tokens.lengths), ("logits", mean_logits)):
            output[f"chosen_{name}"], output[f"rejected_{name}"] = value.chunk(2)
        return output

    @override
    def compute_reference_log_probs(self, model: Any, batch: Prepared) -> tuple[Any, Any]:
        """Those of the reference model, (B,) each; None without one, also if its log-probabilities are on disk."""
        return (None, None) if self.cached_reference is not None else super().compute_reference_log_probs(model, batch)

    # -- loss -----------------------------------------------------------------------------------------------------

    @override
    def get_batch_loss_metrics(
        self, model: Any, batch: dict[str, torch.Tensor], train_eval: Literal["train", "eval"] = "train"
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Loss of a batch of pairs (a scalar), its metrics (0-d tensors on the device) and the number of pairs."""
        prepared = self.prepare_batch(model, batch)
        if self.cached_reference is None:
            reference_chosen, reference_rejected = self.compute_reference_log_probs(model, prepared)
        else:
            reference_chosen, reference_rejected = (batch[name] for name in REFERENCE_FIELDS)
        policy = self.concatenated_forward(model, prepared)
        scores = {name: batch[name] for name in SCORE_FIELDS} if self.spec.needs_scores else {}
        pairs = Pairs(
            policy["chosen_logps"],
            policy["rejected_logps"],
            reference_chosen,
            reference_rejected,
            policy["chosen_lengths"],
            policy["rejected_lengths"],
            **scores,
        )

        delta = self._baseline_with(pairs, train_eval) if self.uses_baseline else None
        params = {**self.loss_params, "delta": delta} if self.spec.baseline else self.loss_params
        output = pairs_loss(self.spec, pairs, params)
        losses = output.losses
        if self.uses_bco:
            bco = pairs_loss(get_loss("bco_pair"), pairs, {"beta": self.beta, "delta": delta})
            losses = mix_bco(losses, bco.losses, self.bco_gemma)
        if self.ftx_gamma > _OFF:
            losses = add_sft(losses, policy["chosen_logps_avg"], self.ftx_gamma)
        metrics = pair_metrics(output)
        for name in ("logps", "logits"):
            metrics |= {f"{name}/{side}": policy[f"{side}_{name}"].detach() for side in ("chosen", "rejected")}
        prefix = "eval_" if train_eval == "eval" else ""
        means: dict[str, Any] = {f"{prefix}{name}": value.mean() for name, value in metrics.items()}
        return losses.mean(), means | {PAIRS: len(losses), UNFILTERED: losses.detach().mean()}

    def _baseline_with(self, pairs: Pairs, train_eval: str) -> torch.Tensor:
        """BCO's delta: the mean reward of all training batches so far, this one included, over all ranks."""
        reward = mean_reward(pairs, beta=self.beta)
        if train_eval == "train":
            reward = self.accelerator.reduce(reward, "mean")
            self.baseline.running.update(reward, count=self.accelerator.num_processes)
        return torch.as_tensor(self.baseline.running.mean, device=reward.device)

    # -- order of the rows ----------------------------------------------------------------------------------------

    @override
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        sampler = super()._get_train_sampler(with_lengths(rows, self.args, lambda: may_share(self)))
        return seeded(sampler, self.args, lambda: int(self.state.epoch or 0))

    @override
    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        sampler = super()._get_eval_sampler(with_lengths(eval_dataset, self.args, lambda: may_share(self)))
        return seeded(sampler, self.args, lambda: 0)

    # -- resume ---------------------------------------------------------------------------------------------------

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target = self.model if model is None else model
        if self.is_fsdp_enabled or not load_renamed(target, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    @override
    def _load_best_model(self) -> None:
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if sharded or not load_renamed(self.model, str(self.state.best_model_checkpoint)):
            super()._load_best_model()

    # -- log ------------------------------------------------------------------------------------------------------

    @override
    def store_metrics(self, metrics: dict[str, Any], train_eval: Literal["train", "eval"] = "train") -> None:
        self.meters[train_eval].add({name: metrics[name] for name in metrics if name != PAIRS}, metrics[PAIRS])

    @override
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """As upstream; with several evaluation sets each has metrics of its own, `eval_NAME_rewards/accuracies`."""
        self.eval_prefix = metric_key_prefix
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    @override
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the metrics since the last line to `logs`, in place: `evaluate` returns the same dict to its caller."""
        means = self.meters["train" if "loss" in logs else "eval"].means(self.accelerator)
        checked = {"loss": means.pop(UNFILTERED, 0.0)} | means
        if "loss" not in logs:
            means = {name.replace("eval", self.eval_prefix, 1): value for name, value in means.items()}
        logs.update(means)
        if wrong := non_finite(checked):
            step, names = self.state.global_step, ", ".join(wrong)
            logger.warning_rank0(f"Step {step}: not finite: {names}. The run is not learning.")
        Trainer.log(self, logs, *args, **kwargs)
