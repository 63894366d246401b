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

from ..arguments.curriculum import WARMED, warmup_steps
from ..arguments.parameters import loss_parameters, uses_means
from ..forward.readers import DEFAULT, Collision
from ..forward.result import TokenLogps, first_rows, length_desensitized_sums, mean_logits, on_policy, sums
from ..losses import LossOutput, Pairs, add_sft, get_loss, mix_bco, pairs_loss
from ..losses.baseline import mean_reward
from ..losses.metrics import accuracies, pair_metrics
from ..losses.pairs import LogpsRule
from ..losses.uni_dpo import warmed_up
from ..rows.changed import CHANGED, ChangedCollator
from ..rows.corrupt import Corrupter
from ..rows.fields import SCORE_FIELDS
from .beside import changed_pairs, corrupted_pairs, split_rows
from .context import current_run
from .finite import NamingCollator
from .meters import BatchResult, Split
from .opening import opening
from .pair_log import RecordingTrainer
from .rates import RatesTrainer
from .reference import BeforeTraining, CachedReference
from .referenced import Referenced, ReferencedTrainer
from .resume import BaselineCallback, MarginsCallback, ResumableTrainer
from .run import check_columns, check_ranks
from .sampling import GroupingTrainer

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files
REFERENCE = ("reference_chosen_logps", "reference_rejected_logps")
SIDES = ("chosen", "rejected")
WEIGHT = "weight"
_OFF = 1e-6  # LlamaFactory's threshold below which a modifier's coefficient is off


class PreferenceTrainer(
    RatesTrainer, RecordingTrainer, ResumableTrainer, GroupingTrainer, ReferencedTrainer, CustomDPOTrainer
):
    """Trains `pref_loss` for pairs of responses, with scores when the loss asks for them.

    Differences from LlamaFactory's trainer: the loss is looked up in `resonance.losses`; models are called by an
    `Engine`, the reference first, when no graph of the policy holds memory yet; scores never reach a model;
    pairs of a prompt come together; `group_by_length` knows how long a pair is; metrics stay on the device until they
    are logged; the running baseline of `bco_pair` and `pref_bco_weight` survives a resume.
    """

    def __init__(self, model: Any, ref_model: Any, finetuning_args: Any, processor: Any, **kwargs: Any) -> None:
        self.spec = get_loss(finetuning_args.pref_loss)
        self.loss_params = loss_parameters(vars(finetuning_args))
        self.uses_means = uses_means(vars(finetuning_args))
        datasets = kwargs.get("train_dataset"), kwargs.get("eval_dataset")
        self.columns = (*SCORE_FIELDS * self.spec.needs_scores, *("margin",) * self.spec.needs_margin)
        check_columns(f"pref_loss: {self.spec.name}", self.columns, *datasets)
        if finetuning_args.sample_weights:
            check_columns("sample_weights", (WEIGHT,), datasets[0])
        if finetuning_args.score_order:
            check_columns("score_order", SCORE_FIELDS, datasets[0])
        cached = None
        if finetuning_args.precompute_ref_log_probs:
            cached = CachedReference(current_run(), model, processor, *datasets)
            ref_model = cached.model_to_prepare(model)
        super().__init__(model, ref_model, finetuning_args, processor, **kwargs)
        reference, sides = None, 2
        if finetuning_args.use_ref_model and cached is None:
            reference = self.model if self.ref_model is None else self.ref_model
        if self.spec.needs_corrupted:
            self.data_collator.corrupt = Corrupter(finetuning_args.mdpo_image, self.args.seed)
            sides = 3
        self.engine = self.make_engine(reference, cached, datasets, sides)
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
            self.read_reference_from(cached, self.uses_means)
        if self.spec.needs_changed:
            self.data_collator = ChangedCollator(self.data_collator)
        self.data_collator = NamingCollator(self.data_collator)
        self.stop_after, self.norm_counts = finetuning_args.stop_after_nonfinite, not self.args.fp16
        if finetuning_args.record_pairs:
            self.record_pairs()

    def loss_of(self, model: Any, batch: dict[str, torch.Tensor], split: Split) -> BatchResult:
        """Loss and metrics of a batch of pairs."""
        prepared = self.engine.prepare(model, batch)
        reference = self.reference_of(model, prepared, batch)
        tokens = self.engine.logps(model, prepared, self.readers)
        beside: tuple[torch.Tensor, ...] = ()
        if self.spec.needs_corrupted and isinstance(reference, TokenLogps):
            both = [split_rows(each, 2 * len(each.mask) // 3) for each in (tokens, reference)]
            (tokens, _), (reference, _) = both
            beside = tuple(self._row_logps(each) for _, each in both)
        pairs = self._pairs(tokens, reference, batch, split)
        if beside:
            pairs = replace(pairs, corrupted=corrupted_pairs(pairs, *beside))
        output = self._output(pairs, split)
        losses, metrics = output.losses, pair_metrics(output)
        if self.finetuning_args.sample_weights and split == "train":
            # of these the mean over pairs: the same however pairs are put into micro-batches and ranks
            losses = losses * batch[WEIGHT].to(losses.dtype)
            metrics[WEIGHT] = batch[WEIGHT]
        metrics |= self._accuracies(tokens, pairs)
        logps = pairs.policy_chosen_logps, pairs.policy_rejected_logps
        metrics |= {f"logps/{side}": v.detach() for side, v in zip(SIDES, logps, strict=True)}
        count, rows = self.rows_of(len(losses))
        means = {name: value[:rows].mean() for name, value in metrics.items()}
        logits = mean_logits(first_rows(tokens, 2, rows), 2)
        means |= {f"logits/{side}": v.detach() for side, v in zip(SIDES, logits, strict=True)}
        return BatchResult(losses[:rows].mean(), means, count, self._recorded(pairs, output))

    def _recorded(self, pairs: Pairs, output: LossOutput) -> dict[str, torch.Tensor]:
        """What `pairs.jsonl` has of each pair: log-probabilities as the loss reads them, sums or means."""
        found = {
            "margin": pairs.pi_logratios,
            "reward_margin": output.chosen_rewards - output.rejected_rewards,
            "logp_chosen": pairs.policy_chosen_logps,
            "logp_rejected": pairs.policy_rejected_logps,
            "ref_logp_chosen": pairs.reference_chosen_logps,
            "ref_logp_rejected": pairs.reference_rejected_logps,
            "len_chosen": pairs.chosen_lengths,
            "len_rejected": pairs.rejected_lengths,
            **{name: output.stats.get(name) for name in ("w_qual", "w_perf")},
        }
        return {name: values for name, values in found.items() if values is not None}

    def _pairs(self, tokens: TokenLogps, reference: Referenced, batch: dict[str, torch.Tensor], split: Split) -> Pairs:
        """What the loss reads of a batch."""
        rule: LogpsRule = "mean" if self.uses_means else "sum"
        read: dict[str, Any] = {name: batch[name] for name in self.columns}
        if reference is not None:
            sides = reference if isinstance(reference, tuple) else self._row_logps(reference).chunk(2)
            read |= dict(zip(REFERENCE, sides, strict=True))
        read["chosen_lengths"], read["rejected_lengths"] = tokens.lengths.chunk(2)
        chosen, rejected = self._row_logps(tokens, self.ld_alpha).chunk(2)
        pairs = Pairs(chosen, rejected, logps=rule, **read)
        if self.spec.needs_on_policy:
            chosen, rejected = on_policy(tokens).chunk(2)
            pairs = replace(pairs, chosen_on_policy=chosen, rejected_on_policy=rejected)
        if self.spec.needs_changed and isinstance(reference, TokenLogps):
            pairs = replace(pairs, changed=changed_pairs(tokens, reference, batch[CHANGED]))
        if self.spec.needs_ranks:
            pairs = replace(pairs, ranks=self.margins.margins(pairs.logits, self.accelerator, split == "train"))
        return pairs

    def _output(self, pairs: Pairs, split: Split) -> LossOutput:
        """The loss of a batch, with what LlamaFactory's keys mix in."""
        delta = None
        if self.uses_baseline:
            delta = self.baseline.delta(mean_reward(pairs, beta=self.beta), self.accelerator, update=split == "train")
        params = {**self._params(split), "delta": delta} if self.spec.baseline else self._params(split)
        output = pairs_loss(self.spec, pairs, params)
        losses = output.losses
        if self.uses_bco:
            bco = pairs_loss(get_loss("bco_pair"), pairs, {"beta": self.beta, "delta": delta})
            losses = mix_bco(losses, bco.losses, self.bco_gemma)
        if self.ftx_gamma > _OFF:
            losses = add_sft(losses, pairs.chosen_mean, self.ftx_gamma)
        return replace(output, losses=losses)

    def _params(self, split: Split) -> dict[str, Any]:
        """Of the loss at this step; an evaluation has the final ones, so that its losses can be compared."""
        given = self.finetuning_args.uni_dpo_eta_warmup
        if not given or split == "eval":
            return self.loss_params
        steps = warmup_steps(given, self.state.max_steps)
        return {**self.loss_params, WARMED: warmed_up(self.loss_params[WARMED], self.state.global_step, steps)}

    def _accuracies(self, tokens: TokenLogps, pairs: Pairs) -> dict[str, torch.Tensor]:
        """Those that can be compared between losses: of means a token, whatever the loss itself reads."""
        lengths = tokens.lengths.chunk(2)
        policy = (sums(tokens).detach() / tokens.lengths).chunk(2)
        if pairs.reference_chosen_logps is None:
            return accuracies(policy, None)
        reference = pairs.need(*REFERENCE)
        means = reference if self.uses_means else [logp / n for logp, n in zip(reference, lengths, strict=True)]
        return accuracies(policy, means)

    def _row_logps(self, tokens: TokenLogps, ld_alpha: float | None = None) -> torch.Tensor:
        """Of the response of each row, (R,): the sum over tokens, or the mean if the loss is defined on means."""
        logps = sums(tokens) if ld_alpha is None else length_desensitized_sums(tokens, ld_alpha, 2)
        return logps / tokens.lengths if self.uses_means else logps

    @override
    def get_batch_loss_metrics(
        self, model: Any, batch: dict[str, Any], train_eval: Split = "train"
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """The loss of a batch and its metrics, as upstream names them."""
        result = self.loss_of(model, batch, train_eval)
        prefix = "eval_" if train_eval == "eval" else ""
        return result.loss, {f"{prefix}{name}": value for name, value in result.metrics.items()}
