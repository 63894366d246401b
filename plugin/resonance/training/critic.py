# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A critic on the policy's own hidden states: a value head, in the model as it trains, in a file of its own else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras import logging
from safetensors.torch import load_file, save_file
from typing_extensions import override

from .resume import ResumableTrainer

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

NAME = "value_head"  # of the module in the model, and of the file beside its weights
FILE = f"{NAME}.safetensors"


def add_value_head(model: Any) -> torch.nn.Module:
    """Put a value head into a model, or into the model that adapters wrap, and return it.

    It starts at 0: the first values are those of a critic that expects nothing. Its weights are in float32.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = base.get_output_embeddings().weight.device
    head = torch.nn.Linear(base.config.get_text_config().hidden_size, 1, dtype=torch.float32, device=device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    setattr(base, NAME, head)
    return head


def is_of_value_head(name: str) -> bool:
    """Whether a weight of a model's state is its value head's."""
    return name.rpartition(f"{NAME}.")[1] != ""


def save_value_head(state: Mapping[str, torch.Tensor], folder: str) -> dict[str, torch.Tensor]:
    """Write the value head of a model's state into a file of its own; returns the rest of the state."""
    head = {
        name.rpartition(".")[2]: value.contiguous().cpu() for name, value in state.items() if is_of_value_head(name)
    }
    if head:  # ZeRO-3 may keep all weights in its own files
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(head, Path(folder, FILE))
    return {name: value for name, value in state.items() if not is_of_value_head(name)}


def load_value_head(head: torch.nn.Module, folder: str) -> bool:
    """Load what `save_value_head` wrote; False if there is no such file.

    Raises:
        ValueError: it is of another shape.
    """
    path = Path(folder, FILE)
    if not path.is_file():
        return False
    state = load_file(path)
    own = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if own != found:
        raise ValueError(f"{path}: holds {found}, the value head of this model has {own}. It is of another model.")
    head.load_state_dict(state)
    return True


def continue_value_head(head: torch.nn.Module, folder: str) -> None:
    """Start where a run that left its model in `folder` has stopped, if it had a value head."""
    path = Path(folder, FILE)
    # LlamaFactory's reward models have a file of this name with other weights in it
    if path.is_file() and set(load_file(path)) == set(head.state_dict()):
        load_value_head(head, folder)
        logger.info_rank0(f"The critic starts with the value head of {path}.")


@contextmanager
def without_value_head(model: Any) -> Iterator[None]:
    """Within it, the model has the weights that its files have."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base._modules.pop(NAME, None)
    try:
        yield
    finally:
        if head is not None:
            setattr(base, NAME, head)


class CriticTrainer(ResumableTrainer):
    """A Trainer of a model with a value head, or without.

    Args:
        needs_critic: put one into the model.
        critic_learning_rate: of its weights.
        critic_folder: of the model that the run starts with; its value head is taken, if it has one.
        kwargs: of Transformers' Trainer.
    """

    def __init__(self, needs_critic: bool, critic_learning_rate: float, critic_folder: str, **kwargs: Any) -> None:
        self.critic = add_value_head(kwargs["model"]) if needs_critic else None
        if self.critic is not None:
            continue_value_head(self.critic, critic_folder)
        self.critic_learning_rate = critic_learning_rate
        super().__init__(**kwargs)

    @override
    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        made = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.critic is None or not made:
            return optimizer
        own = list(self.critic.parameters())
        ids = {id(p) for p in own}
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in ids]
        optimizer.add_param_group({"params": own, "lr": self.critic_learning_rate, "weight_decay": 0.0})
        return optimizer

    @override
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.critic is not None:
            state = self.model.state_dict() if state_dict is None else state_dict
            state_dict = save_value_head(state, output_dir or str(self.args.output_dir))
        super()._save(output_dir, state_dict)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with without_value_head(self.model if model is None else model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.critic is not None:
            load_value_head(self.critic, resume_from_checkpoint)

    @override
    def _load_best_model(self) -> None:
        if self.critic is None or self.is_deepspeed_enabled:  # DeepSpeed has the whole module in files of its own
            super()._load_best_model()
            return
        with without_value_head(self.model):
            super()._load_best_model()
        load_value_head(self.critic, str(self.state.best_model_checkpoint))
