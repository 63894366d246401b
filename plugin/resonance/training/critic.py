# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The critic of a policy, inside the model as it trains, in a file of its own else.

`shared`: a value head on the policy's hidden states. `separate`: a value model, which is a copy of the policy's body
with a value head of its own. The copy has its own of the weights that train, and shares those that do not with the
policy: with LoRA the base model, in a full run the vision tower if that is frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras import logging
from safetensors.torch import load_file, save_file
from typing_extensions import override

from ..forward.readers import Value
from ..reward_model.head import base_of
from .rates import set_apart
from .resume import ResumableTrainer

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files

HEAD, MODEL = "value_head", "value_model"  # a module in the model, and a file beside its weights
READERS = {HEAD: Value(HEAD), MODEL: Value(f"{MODEL}.head", body=f"{MODEL}.body")}


def _file(name: str, folder: str) -> Path:
    return Path(folder, f"{name}.safetensors")


def _head(base: Any) -> torch.nn.Linear:
    """It starts at 0: the first values are those of a critic that expects nothing. Its weights are in float32."""
    device = base.get_output_embeddings().weight.device
    head = torch.nn.Linear(base.config.get_text_config().hidden_size, 1, dtype=torch.float32, device=device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head


def add_value_head(model: Any) -> torch.nn.Module:
    """Put a value head into a model, or into the model that adapters wrap, and return it."""
    base = base_of(model)
    head = _head(base)
    setattr(base, HEAD, head)
    return head


def add_value_model(model: Any) -> torch.nn.Module:
    """Put a value model into a model with or without adapters, outside what adapters wrap, and return it.

    Configurations are the policy's, so that both always compute in the same way.

    Raises:
        ValueError: the model has no body apart from its output head.
    """
    base = base_of(model)
    body = base.base_model
    if body is base:
        raise ValueError(
            f"critic: separate: {type(base).__name__} has no body apart from its output head that could be copied; "
            "set `critic: shared`"
        )
    shared = [p for p in body.parameters() if not p.requires_grad]
    shared += [module.config for module in body.modules() if hasattr(module, "config")]
    own = copy.deepcopy(body, {id(one): one for one in shared})
    module = torch.nn.ModuleDict({"body": own, "head": _head(base)})
    setattr(model, MODEL, module)
    return module


def own_weights(critic: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Those that train; it shares the others with the policy."""
    return {name: p for name, p in critic.named_parameters() if p.requires_grad}


def save_critic(name: str, critic: torch.nn.Module, state: Mapping[str, torch.Tensor], folder: str) -> dict[str, Any]:
    """Write the critic of a model's state into a file of its own; returns the rest of the state.

    Args:
        name: HEAD or MODEL.
        critic: the module of that name.
        state: of the whole model.
        folder: of its files.
    """
    places = {key: key.rpartition(f"{name}.") for key in state}
    rest = {key: state[key] for key, (_, inside, _) in places.items() if not inside}
    own, found = own_weights(critic), {}
    for key, (_, inside, weight) in places.items():
        if inside and weight in own:
            found[weight] = state[key].contiguous().cpu()
    if found:  # ZeRO-3 may keep all weights in its own files
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(found, _file(name, folder))
    return rest


def load_critic(name: str, critic: torch.nn.Module, folder: str) -> bool:
    """Load what `save_critic` wrote; False if there is no such file.

    Raises:
        ValueError: it has other weights, or of another shape.
    """
    path = _file(name, folder)
    if not path.is_file():
        return False
    state = load_file(path)
    own = {weight: tuple(value.shape) for weight, value in own_weights(critic).items()}
    found = {weight: tuple(value.shape) for weight, value in state.items()}
    if wrong := sorted(weight for weight in own | found if own.get(weight) != found.get(weight)):
        of = [{weight: held[weight] for weight in wrong[:5] if weight in held} for held in (found, own)]
        raise ValueError(
            f"{path}: holds {of[0]}, the critic of this model has {of[1]}"
            f"{f' ({len(wrong)} weights differ)' if len(wrong) > 5 else ''}. It is of another model."
        )
    critic.load_state_dict(state, strict=False)
    return True


def continue_critic(name: str, critic: torch.nn.Module, folder: str) -> None:
    """Start where a run that left its model in `folder` has stopped, if it had a critic.

    A value model starts as the policy that it was copied from, so that the value head of a shared critic fits it, too.
    """
    if name == MODEL and load_critic(MODEL, critic, folder):
        logger.info_rank0(f"The critic starts with the value model of {_file(MODEL, folder)}.")
        return
    if _file(MODEL, folder).is_file():
        logger.warning_rank0(f"critic: shared: {_file(MODEL, folder)} is not read; it is of `critic: separate`.")
    head, path = (critic["head"] if isinstance(critic, torch.nn.ModuleDict) else critic), _file(HEAD, folder)
    # LlamaFactory's reward models have a file of this name with other weights in it
    if path.is_file() and set(load_file(path)) == set(head.state_dict()):
        load_critic(HEAD, head, folder)
        logger.info_rank0(f"The critic starts with the value head of {path}.")


@contextmanager
def without_critic(model: Any) -> Iterator[None]:
    """Within it, the model has the weights that its files have."""
    with taken_out((base_of(model), HEAD), (model, MODEL)):
        yield


@contextmanager
def taken_out(*places: tuple[Any, str]) -> Iterator[None]:
    """Within it, modules lack those of that name that they have.

    Args:
        places: a module, and the name of one in it.
    """
    taken = [(holder, name, holder._modules.pop(name)) for holder, name in places if name in holder._modules]
    try:
        yield
    finally:
        for holder, name, module in taken:
            setattr(holder, name, module)


class CriticTrainer(ResumableTrainer):
    """A Trainer of a model with a critic, or without.

    Args:
        critic: `shared` or `separate`; None for none.
        critic_learning_rate: of its weights.
        critic_folder: of the model that the run starts with; its critic is taken, if it has one. None where
            adapters are new, which those of a value model are not for.
        kwargs: of Transformers' Trainer.
    """

    def __init__(
        self, critic: str | None, critic_learning_rate: float, critic_folder: str | None, **kwargs: Any
    ) -> None:
        self.critic: torch.nn.Module | None = None
        self.critic_name = MODEL if critic == "separate" else HEAD
        if critic is not None:
            add = add_value_model if critic == "separate" else add_value_head
            self.critic = add(kwargs["model"])
            if critic_folder is None:
                logger.info_rank0("The critic starts as a copy of the policy, because the adapters are new.")
            else:
                continue_critic(self.critic_name, self.critic, critic_folder)
        self.critic_learning_rate = critic_learning_rate
        super().__init__(**kwargs)

    @override
    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        made = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.critic is None or not made:
            return optimizer
        own, base = list(own_weights(self.critic).values()), self.args.learning_rate
        set_apart(optimizer, "critic", own, self.critic_learning_rate, base)
        return optimizer

    @override
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.critic is not None:
            state, folder = self.model.state_dict() if state_dict is None else state_dict, output_dir
            state_dict = save_critic(self.critic_name, self.critic, state, folder or str(self.args.output_dir))
        super()._save(output_dir, state_dict)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with without_critic(self.model if model is None else model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.critic is not None and not load_critic(self.critic_name, self.critic, resume_from_checkpoint):
            raise ValueError(
                f"resume_from_checkpoint: {_file(self.critic_name, resume_from_checkpoint)} is missing: the "
                "checkpoint was saved with another `critic`. Resume with the recipe of that run, or start anew with "
                "its weights as `model_name_or_path` (`adapter_name_or_path` for LoRA) and another output_dir."
            )

    @override
    def _load_best_model(self) -> None:
        if self.critic is None or self.is_deepspeed_enabled:  # DeepSpeed has the whole module in files of its own
            super()._load_best_model()
            return
        with without_critic(self.model):
            super()._load_best_model()
        load_critic(self.critic_name, self.critic, str(self.state.best_model_checkpoint))
