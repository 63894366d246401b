# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The preference trainer: LlamaFactory's DPO trainer with the loss table in place of trl's `dpo_loss`.

It moves tensors from the engine to a loss function and metrics to the log. The arithmetic is in
`losses/`; model, optimizer, scheduler, sampler, DeepSpeed and reference handling are LlamaFactory's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.train.dpo.trainer import CustomDPOTrainer
from typing_extensions import override

from ..arguments.features import feature_cache_bytes
from ..arguments.parameters import loss_parameters, uses_means
from ..arguments.speedups import asked_speedups
from ..forward.call import Prepared
from ..forward.readers import DEFAULT, Collision
from ..forward.result import TokenLogps, first_rows, length_desensitized_sums, mean_logits, on_policy, sums
from ..losses import LossOutput, Pairs, add_sft, get_loss, mix_bco, pairs_loss
from ..losses.baseline import mean_reward
from ..losses.metrics import accuracies, pair_metrics
from ..losses.pairs import LogpsRule
from ..rows.fields import NUMBERS, SCORE_FIELDS
from .context import current_run
from .engine import Engine
from .features import FeatureSummary, feature_cache
from .finite import ROWS, NamingCollator
from .meters import BatchResult, MeteredTrainer, Split
from .opening import opening
from .rates import RatesTrainer
from .reference import REFERENCE_FIELDS, BeforeTraining, CachedReference
from .resume import BaselineCallback, MarginsCallback, ResumableTrainer
from .run import check_columns, check_ranks
from .sampling import GroupingTrainer
from .speedups import Batches

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
SIDES = ("chosen", "rejected")
WEIGHT = "weight"
_OFF = 1e-6  # LlamaFactory's threshold below which a modifier's coefficient is off


class PreferenceTrainer(RatesTrainer, MeteredTrainer, ResumableTrainer, GroupingTrainer, CustomDPOTrainer):
    """Trains `pref_loss` for pairs of responses, with scores when the loss asks for them.

    Differences from LlamaFactory's trainer: the loss is looked up in `resonance.losses`; models are called by an
    `Engine`, the reference first, when no graph of the policy holds memory yet; scores never reach a model;
    pairs of a prompt come together; `group_by_length` knows how long a pair is; metrics stay on the device until they
    are logged; the running baseline of `bco_pair` and `pref_bco_weight` survives a resume.
    """

    ref_model: Any
    data_collator: Any

    def __init__(self, model: Any, ref_model: Any, finetuning_args: Any, processor: Any, **kwargs: Any) -> None:
        self.spec = get_loss(finetuning_args.pref_loss)
        self.loss_params = loss_parameters(vars(finetuning_args))
        self.uses_means = uses_means(vars(finetuning_args))
        datasets = kwargs.get("train_dataset"), kwargs.get("eval_dataset")
        self.columns = (*SCORE_FIELDS * self.spec.needs_scores, *("margin",) * self.spec.needs_margin)
        check_columns(f"pref_loss: {self.spec.name}", self.columns, *datasets)
        if finetuning_args.sample_weights:
            check_columns("sample_weights", (WEIGHT,), datasets[0])
        cached = None
        if finetuning_args.precompute_ref_log_probs:
            cached = CachedReference(current_run(), model, processor, *datasets)
            ref_model = cached.model_to_prepare(model)
        super().__init__(model, ref_model, finetuning_args, processor, **kwargs)
        self.engine = self._make_engine(cached, *datasets)
        self.add_callback(BeforeTraining(lambda: self.engine.plan_batches(self.model_wrapped)))
        self.uses_bco = finetuning_args.use_ref_model and self.bco_gemma > _OFF
        self.uses_baseline = self.spec.baseline or self.uses_bco
        self.baseline = BaselineCallback()
        if self.uses_baseline:
            self.add_callback(self.baseline)
        self.margins = MarginsCallback(self.args.seed)
        if self.spec.needs_ranks:
            check_ranks(self.spec, self.args)
            self.add_callback(self.margins)
        self.readers = (*DEFAULT, Collision()) if self.spec.needs_on_policy else DEFAULT
        folder = str(cached.store.folder) if cached is not None else None
        logger.info_rank0(opening(finetuning_args, self.loss_params, self.uses_means, folder, datasets))
        if cached is not None:
            self._read_reference_from(cached)
        self.data_collator = NamingCollator(self.data_collator)
        self.stop_after, self.norm_counts = finetuning_args.stop_after_nonfinite, not self.args.fp16

    def _make_engine(self, cached: CachedReference | None, train: Any, evaluation: Any) -> Engine:
        recipe, reference = self.finetuning_args, None
        if recipe.use_ref_model and cached is None:
            reference = self.model if self.ref_model is None else self.ref_model
        carried = (*NUMBERS, *REFERENCE_FIELDS, ROWS)
        batches = Batches(self.data_collator, self._prepare_inputs, self.train_dataset, carried)
        engine = Engine(self.accelerator, self.model, reference, asked_speedups(recipe.pref_speedups), batches)
        budget = feature_cache_bytes(recipe.image_feature_cache)
        engine.feature_cache = feature_cache(engine, budget, train, evaluation, self.args, cached)
        if engine.feature_cache is not None:
            self.add_callback(FeatureSummary(engine.feature_cache))
        return engine

    def _read_reference_from(self, cached: CachedReference) -> None:
        """Compute what is missing on disk, now or when training begins, and let every batch carry its values."""
        if self.ref_model is not None:
            cached.fill(self.engine, self.ref_model)
            self.ref_model = None
            self.accelerator.free_memory()
        elif cached.missing:
            self.add_callback(BeforeTraining(lambda: cached.fill(self.engine, self.model_wrapped)))
        if cached.is_all:
            cached.end_run()
        self.data_collator = cached.collator(self.data_collator, self.uses_means)

    def loss_of(self, model: Any, batch: dict[str, torch.Tensor], split: Split) -> BatchResult:
        """Loss and metrics of a batch of pairs."""
        prepared = self.engine.prepare(model, batch)
        reference = self._reference_logps(model, prepared, batch)
        tokens = self.engine.logps(model, prepared, self.readers)
        pairs = self._pairs(tokens, reference, batch, split)
        output = self._output(pairs, split)
        losses, metrics = output.losses, pair_metrics(output)
        if self.finetuning_args.sample_weights and split == "train":
            # of these the mean over pairs: the same however pairs are put into micro-batches and ranks
            losses = losses * batch[WEIGHT].to(losses.dtype)
            metrics[WEIGHT] = batch[WEIGHT]
        metrics |= self._accuracies(tokens, reference)
        logps = pairs.policy_chosen_logps, pairs.policy_rejected_logps
        metrics |= {f"logps/{side}": v.detach() for side, v in zip(SIDES, logps, strict=True)}
        count, rows = self.rows_of(len(losses))
        means = {name: value[:rows].mean() for name, value in metrics.items()}
        logits = mean_logits(first_rows(tokens, 2, rows), 2)
        means |= {f"logits/{side}": v.detach() for side, v in zip(SIDES, logits, strict=True)}
        return BatchResult(losses[:rows].mean(), means, count)

    def _pairs(
        self, tokens: TokenLogps, reference: tuple[Any, ...], batch: dict[str, torch.Tensor], split: Split
    ) -> Pairs:
        """What the loss reads of a batch."""
        rule: LogpsRule = "mean" if self.uses_means else "sum"
        read: dict[str, Any] = {name: batch[name] for name in self.columns}
        read["reference_chosen_logps"], read["reference_rejected_logps"] = reference
        read["chosen_lengths"], read["rejected_lengths"] = tokens.lengths.chunk(2)
        chosen, rejected = self._response_logps(tokens, self.ld_alpha)
        pairs = Pairs(chosen, rejected, logps=rule, **read)
        if self.spec.needs_on_policy:
            chosen, rejected = on_policy(tokens).chunk(2)
            pairs = replace(pairs, chosen_on_policy=chosen, rejected_on_policy=rejected)
        if self.spec.needs_ranks:
            pairs = replace(pairs, ranks=self.margins.margins(pairs.logits, self.accelerator, split == "train"))
        return pairs

    def _output(self, pairs: Pairs, split: Split) -> LossOutput:
        """The loss of a batch, with what LlamaFactory's keys mix in."""
        delta = None
        if self.uses_baseline:
            delta = self.baseline.delta(mean_reward(pairs, beta=self.beta), self.accelerator, update=split == "train")
        params = {**self.loss_params, "delta": delta} if self.spec.baseline else self.loss_params
        output = pairs_loss(self.spec, pairs, params)
        losses = output.losses
        if self.uses_bco:
            bco = pairs_loss(get_loss("bco_pair"), pairs, {"beta": self.beta, "delta": delta})
            losses = mix_bco(losses, bco.losses, self.bco_gemma)
        if self.ftx_gamma > _OFF:
            losses = add_sft(losses, pairs.chosen_mean, self.ftx_gamma)
        return replace(output, losses=losses)

    def _accuracies(self, tokens: TokenLogps, reference: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        """Those that can be compared between losses: of means a token, whatever the loss itself reads."""
        lengths = tokens.lengths.chunk(2)
        policy = (sums(tokens).detach() / tokens.lengths).chunk(2)
        if reference[0] is None:
            return accuracies(policy, None)
        means = reference if self.uses_means else [logp / n for logp, n in zip(reference, lengths, strict=True)]
        return accuracies(policy, means)

    def _response_logps(self, tokens: TokenLogps, ld_alpha: float | None = None) -> tuple[torch.Tensor, ...]:
        """Of chosen and rejected responses, (B,) each: sums over tokens, or means if the loss is defined on them."""
        logps = sums(tokens) if ld_alpha is None else length_desensitized_sums(tokens, ld_alpha, 2)
        return (logps / tokens.lengths if self.uses_means else logps).chunk(2)

    def _reference_logps(self, model: Any, prepared: Prepared, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Those of the reference, from disk if the batch carries them; None each without a reference."""
        if REFERENCE_FIELDS[0] in batch:
            return tuple(batch[name] for name in REFERENCE_FIELDS)
        tokens = self.engine.reference_logps(model, prepared)
        return (None, None) if tokens is None else self._response_logps(tokens)

    @override
    def get_batch_loss_metrics(
        self, model: Any, batch: dict[str, Any], train_eval: Split = "train"
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """The loss of a batch and its metrics, as upstream names them."""
        result = self.loss_of(model, batch, train_eval)
        prefix = "eval_" if train_eval == "eval" else ""
        return result.loss, {f"{prefix}{name}": value for name, value in result.metrics.items()}
