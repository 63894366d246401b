# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a run of ours prepares before LlamaFactory's own `run_dpo`, `run_rm` or `run_kto` executes with our names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from llamafactory.extras import logging

from ..arguments import parameters, preference
from ..losses import LossSpec, get_loss
from ..rows.plan import Kind, RowPlan
from .context import RunArguments, running
from .empty import StepWatch
from .record import RunRecord

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


def prepare(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Plan the rows that the loss needs, and warn of what differs from stock LlamaFactory."""
    spec = get_loss(finetuning_args.pref_loss)
    prepare_rows(
        data_args,
        training_args,
        needs_scores=spec.needs_scores,
        needs_margins=spec.needs_margin,
        needs_weights=finetuning_args.sample_weights,
        score_order=finetuning_args.score_order is not None,
        needs_images=spec.needs_corrupted,
    )
    if training_args.dataloader_pin_memory:
        training_args.accelerator_config.non_blocking = True  # batches go to the device while the host goes on
    for message in notices(vars(finetuning_args), model_args.adapter_name_or_path):
        logger.warning_rank0(message)


def prepare_rows(
    data_args: Any,
    training_args: Any,
    *,
    needs_scores: bool = False,
    needs_margins: bool = False,
    needs_weights: bool = False,
    score_order: bool = False,
    needs_images: bool = False,
    kind: Kind = "pairs",
) -> None:
    """Plan what the recipe asks of its rows; all that LlamaFactory's own trainers need.

    Args:
        data_args: get the plan.
        training_args: of the same run.
        needs_scores: whether the loss reads scores.
        needs_margins: whether it reads margins.
        needs_weights: whether pairs have weights.
        score_order: whether scores put the training rows in order.
        needs_images: whether every row has to show an image.
        kind: what a row is.
    """
    data_args.row_plan = RowPlan(
        needs_scores=needs_scores,
        needs_margins=needs_margins,
        needs_weights=needs_weights,
        score_order=score_order,
        needs_images=needs_images,
        overlong=data_args.overlong or "error",
        max_prompt_length=data_args.max_prompt_length,
        max_target_length=data_args.max_target_length,
        data_ratio=data_args.data_ratio,
        score_margin=data_args.score_margin,
        kind=kind,
    )
    if data_args.streaming and training_args.accelerator_config.dispatch_batches is None:
        # Accelerate's default for streams cuts every tensor of a batch by rows, also those that hold the patches of
        # all images; without dispatching each rank reads its own part of the stream.
        training_args.accelerator_config.dispatch_batches = False


def watched(callbacks: list[Any] | None) -> list[Any]:
    """A run's callbacks, one that stops it if it took no step, and one that writes down what it depends on."""
    return [*(callbacks or []), StepWatch(), RunRecord()]


def until_precomputed(workflow: Callable[..., Any], *args: Any) -> Any:
    """Call LlamaFactory's workflow; under `precompute_only` it ends before it trains, which is no failure.

    Args:
        workflow: takes `args`.
        args: model, data, training and finetuning arguments, then whatever else it takes.
    """
    with running(RunArguments(*args[:4])):
        return workflow(*args)


def check_columns(why: str, needed: Collection[str], *datasets: Any) -> None:
    """A set tokenised earlier for another recipe has other columns; stop before the first step.

    Args:
        why: what needs the columns, as messages begin.
        needed: their names.
        datasets: tokenized sets, dicts of sets, or None.

    Raises:
        ValueError: a set lacks one.
    """
    flat = [part for data in datasets for part in (data.values() if isinstance(data, dict) else [data])]
    for part in flat:
        columns = getattr(part, "column_names", None)
        missing = [name for name in needed if columns and name not in columns]
        if missing:
            raise ValueError(
                f"{why} needs {' and '.join(missing)}, but the tokenised set has only "
                f"{', '.join(columns or [])}. A `tokenized_path` made for another recipe has none: make it again."
            )


def check_ranks(spec: LossSpec, training_args: Any) -> None:
    """A loss that compares the pairs of a batch on all ranks needs two or more; stop before the first step.

    Args:
        spec: of the loss.
        training_args: of the run.

    Raises:
        ValueError: there is one pair.
    """
    size = training_args.per_device_train_batch_size
    if training_args.do_train and size * training_args.world_size < 2:
        raise ValueError(
            f"pref_loss: {spec.name} compares the pairs of a micro-batch on all ranks, and here that is one pair: "
            f"per_device_train_batch_size: {size} on {training_args.world_size} rank. Set "
            "per_device_train_batch_size: 2 or more, or train on several ranks."
        )


def notices(values: dict[str, Any], adapters: list[str] | None) -> list[str]:
    """Warnings about what the recipe may not mean."""
    pref_loss = values["pref_loss"]
    messages = []
    if pref_loss in preference.MISTRAINED_LOSSES:
        messages.append(
            f"pref_loss: {pref_loss} trains the {pref_loss} loss here. LlamaFactory alone trains sigmoid under that "
            "name, because it does not pass the loss type on to trl."
        )
    spec = get_loss(pref_loss)
    if parameters.uses_default_smoothing(values):
        messages.append(
            f"dpo_label_smoothing: not given; pref_loss: {pref_loss} uses its own {spec.params['label_smoothing']}."
        )
    if spec.logps_fixed and values["dpo_average_log_prob"] is False:
        messages.append(
            f"dpo_average_log_prob: false has no effect: pref_loss: {pref_loss} is defined on mean log-probabilities."
        )
    if values["finetuning_type"] == "lora" and values["lora_dropout"]:
        messages.append("lora_dropout: no effect: LlamaFactory sets all dropout to 0 in preference training.")
    if adapters and not values["create_new_adapter"] and values["ref_model"] is None and spec.needs_reference:
        messages.append(
            f"The reference is the base model without {', '.join(adapters)}, because training continues that adapter. "
            "To keep the adapter in the reference, set `create_new_adapter: true`, or give the base model as "
            f"`ref_model` and `ref_model_adapters: {','.join(adapters)}`."
        )
    return messages
