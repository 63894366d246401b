# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Learning rates of vision tower and projector: groups of an optimizer that LlamaFactory or Transformers made.

Which weights these are LlamaFactory knows (`COMPOSITE_MODELS`, by which it freezes them, too). A weight leaves its
group for a new one with the same settings but for the learning rate, so weight decay, GaLore's ranks and so on stay,
and with LoRA+ the ratio between two groups. Schedules multiply the rate that a group began with.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from llamafactory.extras import logging
from llamafactory.model import load_config
from llamafactory.model.model_utils.visual import COMPOSITE_MODELS
from transformers import Trainer
from typing_extensions import override

from ..arguments.rates import FROZEN_BY, PARTS, rates

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

_NAMES = {"vision_lr": "the vision tower", "projector_lr": "the projector"}
PART = "part"  # setting of a group: whose weights it holds
_WRAPPER = "_fsdp_wrapped_module."  # what FSDP puts into names


def check_model(model_args: Any, keys: Collection[str]) -> None:
    """Stop before anything is loaded if a model has no vision tower.

    Args:
        model_args: of the run.
        keys: that ask for one.

    Raises:
        ValueError: LlamaFactory does not know it as a vision-language model.
    """
    kind = getattr(load_config(model_args), "model_type", None)
    if keys and kind not in COMPOSITE_MODELS:
        raise ValueError(
            f"{' and '.join(keys)}: {model_args.model_name_or_path} is a {kind} model, in which LlamaFactory knows no "
            f"vision tower; remove the key, or take one of {', '.join(sorted(COMPOSITE_MODELS))}."
        )


def part_of(name: str, model_type: str) -> str | None:
    """The key whose learning rate a weight has; None for `learning_rate`.

    Args:
        name: of the weight.
        model_type: of the model's configuration.
    """
    name, model = name.replace(_WRAPPER, ""), COMPOSITE_MODELS[model_type]
    # projectors first: those of some models are inside what is called the tower
    if any(part in name for part in model.projector_keys):
        return "projector_lr"
    return "vision_lr" if any(part in name for part in model.vision_model_keys) else None


def set_apart(optimizer: Any, part: str, weights: Collection[torch.nn.Parameter], rate: float, base: float) -> int:
    """Move weights into groups of their own, after all others. Returns how many were found.

    Args:
        optimizer: that has not taken a step, and no schedule.
        part: whose weights they are.
        weights: to move; those that have been moved before stay.
        rate: their learning rate where the others' is `base`; groups with another one keep their ratio to it.
        base: `learning_rate`.
    """
    ids, moved = set(map(id, weights)), 0
    for group in [group for group in optimizer.param_groups if PART not in group]:
        own = [p for p in group["params"] if id(p) in ids]
        if not own:
            continue
        group["params"] = [p for p in group["params"] if id(p) not in ids]
        lr = rate if group["lr"] == base else rate * group["lr"] / base
        optimizer.add_param_group({**group, "params": own, "lr": lr, PART: part})
        moved += len(own)
    return moved


class RatesTrainer(Trainer):
    """A Trainer that reads `vision_lr` and `projector_lr`, before all other base classes.

    Attributes:
        finetuning_args: of the run; LlamaFactory's trainers have them.
    """

    finetuning_args: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._rates_now: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    @override
    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        made = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        asked = rates(vars(self.finetuning_args)) if self.finetuning_args is not None else {}
        if made and asked:
            self._set_apart(optimizer, asked, *args, **kwargs)
        return optimizer

    def _set_apart(self, optimizer: Any, asked: dict[str, float], model: Any = None) -> None:
        model, counts = self.model if model is None else model, []
        kind = model.config.model_type
        trained = [(part_of(name, kind), p) for name, p in model.named_parameters() if p.requires_grad]
        for key, rate in asked.items():
            weights = [p for part, p in trained if part == key]
            if not weights:
                raise ValueError(f"{key}: {rate} {_nothing_to_train(key, kind, self.finetuning_args)}")
            moved = set_apart(optimizer, PARTS[key], weights, rate, self.args.learning_rate)
            held = {id(p) for group in optimizer.param_groups if PART in group for p in group["params"]}
            if any(id(p) not in held for p in weights):
                raise ValueError(
                    f"{key}: {type(optimizer).__name__} does not hold the weights that it would be the learning rate "
                    "of in groups; take another optimizer, or remove the key."
                )
            counts.append(f"{rate:g} for {moved} weights of {_NAMES[key]}")
        # DeepSpeed leaves empty groups out, and the schedule would be of more groups than there are
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        logger.info_rank0(f"Learning rates: {', '.join(counts)}, {self.args.learning_rate:g} for all others.")

    @override
    def _get_learning_rate(self) -> float:
        rate = super()._get_learning_rate()
        self._rates_now = {}
        for group in self.optimizer.param_groups:
            if PART in group:  # of several groups the first, as for `learning_rate`
                self._rates_now.setdefault(f"learning_rate/{group[PART]}", float(group["lr"]))
        return rate

    @override
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "learning_rate" in logs:
            logs.update(self._rates_now)
        super().log(logs, *args, **kwargs)


def _nothing_to_train(key: str, model_type: str, finetuning_args: Any) -> str:
    model = COMPOSITE_MODELS[model_type]
    names = model.vision_model_keys if key == "vision_lr" else model.projector_keys
    text = f"has nothing to train: no weight of {', '.join(names)} is trained"
    if finetuning_args.finetuning_type != "lora":
        return f"{text}; set `{FROZEN_BY[key]}: false`, or remove the key."
    cure = f"`{FROZEN_BY[key]}: false` and `lora_target: all`" if key == "vision_lr" else None
    return f"{text}; set {cure or f'`additional_target: {names[0]}`, which trains it whole'}, or remove the key."
