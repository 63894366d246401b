# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The value head of a reward model, in LlamaFactory's own file and under its own names, without trl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..forward.readers import Value
from ..forward.result import TokenLogps, at_last
from .settings import HEAD_FILE

HEAD = "v_head"
READER = Value(HEAD)


class ValueHead(torch.nn.Module):
    """From a hidden state to a reward, in float32. trl's has a dropout of 0.1 before; this one has none."""

    def __init__(self, size: int, device: Any) -> None:
        super().__init__()
        self.summary = torch.nn.Linear(size, 1, dtype=torch.float32, device=device)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., H) -> (..., 1)."""
        return self.summary(hidden)


def base_of(model: Any) -> Any:
    """The model that adapters wrap, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def add_head(model: Any) -> ValueHead:
    """Put a value head into a model, or into the model that adapters wrap, and return it.

    What would get no gradient is no longer trained: an output head that is not the input embeddings, too.
    """
    base = base_of(model)
    output, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    head = ValueHead(base.config.get_text_config().hidden_size, output.weight.device)
    setattr(base, HEAD, head)
    if output.weight is not embeddings.weight:
        output.requires_grad_(False)
    return head


def split_state(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of a whole model without its value head, and that of the head as its file has it."""
    rest, head = {}, {}
    for key, value in state.items():
        _, inside, weight = key.rpartition(f"{HEAD}.")
        if inside:
            head[f"{HEAD}.{weight}"] = value.contiguous().cpu()
        else:
            rest[key] = value
    return rest, head


def write_head(state: Mapping[str, torch.Tensor], folder: str) -> None:
    """Write the second part of `split_state`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file(dict(state), Path(folder, HEAD_FILE), metadata={"format": "pt"})


def load_head(head: ValueHead, folder: str) -> None:
    """Read what `write_head`, or LlamaFactory, wrote.

    Raises:
        ValueError: it is not there, or of another model.
    """
    path = Path(folder, HEAD_FILE)
    if not path.is_file():
        raise ValueError(f"{path} is missing: {folder} is no reward model that LlamaFactory or Resonance has saved.")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}. Copy it again, or take another checkpoint.") from None
    fill_head(head, state, str(path))


def fill_head(head: ValueHead, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Give a head its weights. ValueError if they are of another model."""
    own = {f"{HEAD}.{name}": tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if own != found:
        raise ValueError(f"{where} holds {found}, this model needs {own}. It is of another model.")
    head.load_state_dict({name.removeprefix(f"{HEAD}."): value for name, value in state.items()})


def rewards(tokens: TokenLogps) -> torch.Tensor:
    """(R,) rewards of the rows of a batch that `closed` made longer, where `READER` was read."""
    return at_last(tokens, "value")


def closed(ids: list[int], labels: list[int]) -> tuple[list[int], list[int]]:
    """A sequence with one token more, whose prediction is made where the template ends: there the reward stands.

    Which token it is does not matter, because nothing that is read comes after it.
    """
    return [*ids, ids[-1]], [*labels, ids[-1]]
