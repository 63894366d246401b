# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`stage: ppo` from its arguments to a trained model: what LlamaFactory's workflows are for the other stages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from llamafactory.extras import logging
from llamafactory.model import load_model as llamafactory_load_model
from llamafactory.model import load_tokenizer
from llamafactory.train.callbacks import SaveProcessorCallback
from llamafactory.train.trainer_utils import create_modelcard_and_push

from ..arguments.policy_settings import PolicySettings
from ..arguments.serving import serve_commands
from ..arguments.speedups import asked_speedups
from ..rollout.local import LocalRollout
from ..rollout.server import Server
from ..rollout.types import Sampling
from ..rows.rollouts import RolloutCollator
from ..rows.templates import own_template
from ..rows.tokenized_path import get_dataset
from .completions import Completer
from .curves import plot_loss
from .engine import Engine
from .judge import Judge, make_judge
from .policy import CARRIED, PolicyTrainer
from .reference import BeforeTraining
from .rollout_check import check_servers
from .servers import make_servers, server_rollout
from .speedups import Batches
from .weights import complete_weights, load_reference, prepared_reference

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def run_policy(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: list[Any] | None = None,
) -> None:
    """Train, evaluate or both, and save."""
    settings: PolicySettings = finetuning_args.policy_settings
    servers = make_servers(settings)
    tokenizer_module = load_tokenizer(model_args)
    template = own_template(tokenizer_module["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="ppo", **tokenizer_module)
    judge = make_judge(settings.rewards, rows, partial(tokenizer_module["tokenizer"].decode, skip_special_tokens=True))
    with complete_weights(finetuning_args.allow_missing_weights):
        model = llamafactory_load_model(
            tokenizer_module["tokenizer"], model_args, finetuning_args, training_args.do_train
        )
    trains = training_args.do_train
    reference = load_reference(model_args, finetuning_args) if settings.needs_reference and trains else None
    parts = _Parts(model, reference, template, tokenizer_module, finetuning_args, generating_args, rows, judge)
    values = {key: value for args in (model_args, data_args, training_args) for key, value in vars(args).items()}
    values |= vars(finetuning_args) | vars(generating_args)
    if servers:
        parts.servers, parts.commands = servers, serve_commands(values)
    trainer = PolicyTrainer(
        settings,
        engine=parts.engine,
        completer=parts.completer,
        collate=parts.collator.responses,
        critic_folder=_critic_folder(settings, model_args, finetuning_args),
        critic_learning_rate=settings.values["critic_learning_rate"] or 10 * training_args.learning_rate,
        model=model,
        args=training_args,
        data_collator=parts.collator.prompts,
        callbacks=callbacks,
        processing_class=tokenizer_module["tokenizer"],
        **rows,
    )
    if settings.values["rollout_check_only"]:
        for line in check_servers(trainer, values):
            logger.info_rank0(line)
        return
    _follow(trainer, finetuning_args)
    if tokenizer_module["processor"] is not None:
        trainer.add_callback(SaveProcessorCallback(tokenizer_module["processor"]))
    _train_and_evaluate(trainer, training_args, finetuning_args.plot_loss)
    trainer.completer.rollout.close()
    create_modelcard_and_push(trainer, model_args, data_args, training_args, finetuning_args)


def _follow(trainer: PolicyTrainer, finetuning_args: Any) -> None:
    """What LlamaFactory's trainers are constructed with."""
    trainer.finetuning_args, trainer.stop_after = finetuning_args, finetuning_args.stop_after_nonfinite
    trainer.norm_counts = not trainer.args.fp16


def _train_and_evaluate(trainer: PolicyTrainer, training_args: Any, draws: bool) -> None:
    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and draws:
            plot_loss(training_args.output_dir, ["loss", "reward"])  # what LlamaFactory draws of PPO
    if training_args.do_eval:
        metrics = trainer.evaluate(metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)


def _critic_folder(settings: PolicySettings, model_args: Any, finetuning_args: Any) -> str | None:
    """Of the critic that the run goes on with; a value model goes on with adapters that it has, not with new ones."""
    if settings.values["critic"] == "separate" and finetuning_args.create_new_adapter:
        return None
    return str((model_args.adapter_name_or_path or [model_args.model_name_or_path])[-1])


class _Parts:
    """Makes what a trainer is made of, around a model that is loaded."""

    def __init__(
        self,
        model: Any,
        reference: Any,
        template: Any,
        tokenizer_module: Mapping[str, Any],
        finetuning_args: Any,
        generating_args: Any,
        rows: Mapping[str, Any],
        judge: Judge,
    ) -> None:
        self.settings: PolicySettings = finetuning_args.policy_settings
        self.model, self.reference, self.judge = model, reference, judge
        self.template, self.tokenizer = template, tokenizer_module["tokenizer"]
        self.processor = tokenizer_module["processor"]
        self.servers: list[Server] = []
        self.commands: list[str] = []
        self.finetuning_args, self.generating_args = finetuning_args, generating_args
        found = rows.get("train_dataset") or rows["eval_dataset"]
        self.rows = next(iter(found.values())) if isinstance(found, Mapping) else found
        self.collator = RolloutCollator(template=template, model=model, pad_to_multiple_of=8, **tokenizer_module)

    def engine(self, trainer: PolicyTrainer) -> Engine:
        reference = None
        if self.settings.needs_reference:
            reference = self.model if self.reference is None else prepared_reference(trainer, self.reference)
        batches = Batches(self.collator, trainer._prepare_inputs, None, CARRIED)
        asked = asked_speedups(self.finetuning_args.pref_speedups)
        engine = Engine(trainer.accelerator, trainer.model, reference, asked, batches)
        trainer.add_callback(BeforeTraining(lambda: engine.plan_batches(trainer.model_wrapped)))
        return engine

    def completer(self, trainer: PolicyTrainer) -> Completer:
        given = self.generating_args
        sampling = Sampling(given.max_new_tokens, given.temperature, given.top_p, given.top_k)
        ends = sorted({self.tokenizer.eos_token_id, *self.template.get_stop_token_ids(self.tokenizer)})
        rollout = server_rollout(self, trainer, ends) if self.servers else self._local(trainer, ends)
        return Completer(self.settings, trainer.sizes, sampling, self.rows, rollout, self.judge)

    def _local(self, trainer: PolicyTrainer, ends: list[int]) -> LocalRollout:
        sizes = trainer.sizes
        size = self.settings.values["rollout_batch_size"] or sizes.chunk * sizes.accumulation
        return LocalRollout(self.model, self.collator.prompts, ends, self.tokenizer.pad_token_id, size)
