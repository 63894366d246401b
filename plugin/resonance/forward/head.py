# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The output head on the positions that predict response tokens, instead of on every token of prompt and padding.

The model's own head module is called once, by the model, so whatever is hooked to it stays in force (LoRA on the head,
modules to save, quantised weights, weights that DeepSpeed gathers for the call and again for its backward). So that
the hooks on what it returns see a gradient pass, it returns what was read of the logits in their place. Callers never
see that: the model returns `Readings`, made before the hooks that DDP, FSDP and DeepSpeed attach to its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from transformers.utils import ModelOutput

from .columns import Columns, read, read_in_pieces, read_plainly, wide
from .layout import Layout
from .readers import Asked, Reader, Value

LOGITS_BYTES = 1 << 30  # logits of the response rows larger than this are made in pieces, and again in the backward
# Configurations that transform logits after the head: there the head returns logits of the response rows.
_AFTER_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "logits_scale")


@dataclass
class Readings(ModelOutput):
    """What a model returns while it is read, in the place of its own output; N response tokens in the layout's order.

    A `ModelOutput`, because DDP, FSDP, DeepSpeed and Accelerate look for tensors in those.
    """

    logp: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    mean_logit: torch.Tensor | None = None
    log_collision: torch.Tensor | None = None
    topk_logps: torch.Tensor | None = None
    topk_ids: torch.Tensor | None = None
    value: torch.Tensor | None = None


def keeps_logits(config: Any) -> bool:
    """Whether the model does something to the logits between its head and its output."""
    text = config.get_text_config()
    return any(getattr(c, name, None) not in (None, 1, 1.0) for c in (config, text) for name in _AFTER_HEAD)


@contextmanager
def reading(
    model: Any, layout: Layout, readers: Sequence[Reader], on_rows: bool, budget: int = LOGITS_BYTES
) -> Iterator[None]:
    """Within it, a call of `model`, or of what wraps it, returns `Readings`.

    Args:
        model: unwrapped.
        layout: of the rows that it will be called with.
        readers: what to read.
        on_rows: run the head on the N rows of `layout` only; else on all, and read in plain torch.
        budget: bytes of logits above which they are made in pieces.

    Raises:
        ValueError: readers that do not go together, or that this model cannot serve.
        RuntimeError: the model calls its head more than once, or never.
    """
    asked = Asked.of(readers, model.config.get_text_config().vocab_size)
    head = _Head(model, layout, asked, on_rows, budget)
    with ExitStack() as stack:
        # not a hook of the model, because PEFT calls `forward` of the model in it, past its hooks
        stack.enter_context(_replaced(model, head.readings))
        if on_rows or asked.value is not None:
            stack.enter_context(_replaced(model.get_output_embeddings(), head.forward))
        yield
    head.check_calls()


@contextmanager
def _replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within it, `module.forward` is `forward`, whose first argument is the one that was there."""
    before, original = vars(module).get("forward"), module.forward
    module.forward = partial(forward, original)
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


class _Head:
    """The head of a model during one call; arguments as of `reading`."""

    def __init__(self, model: Any, layout: Layout, asked: Asked, on_rows: bool, budget: int) -> None:
        self.model, self.layout, self.asked, self.on_rows, self.budget = model, layout, asked, on_rows, budget
        self.value_head = None if asked.value is None else _module(model, asked.value.name)
        self.body = value_body(model, [asked.value] if asked.value is not None else [])
        self.inputs: tuple[tuple[Any, ...], dict[str, Any]] = (), {}
        self.value: torch.Tensor | None = None
        self.columns = Columns()
        self.calls = 0

    def forward(self, head: Callable[..., Any], hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits; or in their place, (1, N, C), what was read of them with a gradient."""
        self.calls += 1
        rows = hidden.reshape(-1, hidden.shape[-1])[self.layout.positions]
        if self.value_head is not None:
            self.value = _value(self.value_head, rows if self.body is None else self._hidden(self.body))
        if not self.on_rows:
            return head(hidden, *args, **kwargs)
        if keeps_logits(self.model.config):
            return head(rows, *args, **kwargs)[None]
        if self.asked.logits:
            row_bytes = self.model.config.get_text_config().vocab_size * rows.element_size()
            if len(rows) * row_bytes <= self.budget:
                self.columns = read(head(rows, *args, **kwargs), self.layout.targets, self.asked)
            else:
                size = max(1, self.budget // row_bytes)
                self.columns = read_in_pieces(head, rows, self.layout.targets, size, self.asked)
        learned = [column for column in (self.columns.logp, self.columns.entropy) if column is not None]
        return torch.stack(learned, -1)[None] if learned else rows[None, :, :0]

    def _hidden(self, body: torch.nn.Module) -> torch.Tensor:
        """The response rows of another body. Called inside the model, where the autocast around its forward holds."""
        args, kwargs = self.inputs
        hidden = body(*args, **kwargs).last_hidden_state
        return hidden.reshape(-1, hidden.shape[-1])[self.layout.positions]

    def readings(self, model: Callable[..., Any], *args: Any, **kwargs: Any) -> Readings:
        """What the model returns in the place of its output, whose `logits` are here what `forward` has returned."""
        self.inputs = args, kwargs
        output = model(*args, **kwargs)
        self.check_calls()
        if not self.asked.logits:
            return Readings(value=self.value)
        if not self.on_rows:
            rows = output.logits.reshape(-1, output.logits.shape[-1])[self.layout.positions]
            columns = read_plainly(rows, self.layout.targets, self.asked)
        elif keeps_logits(self.model.config):
            columns = read(output.logits[0], self.layout.targets, self.asked)
        else:
            names = [name for name in ("logp", "entropy") if getattr(self.columns, name) is not None]
            columns = self.columns._replace(**dict(zip(names, output.logits[0].unbind(-1), strict=True)))
        return Readings(**columns._asdict(), value=self.value)

    def check_calls(self) -> None:
        if self.on_rows and self.calls != 1:
            name = type(self.model).__name__
            raise RuntimeError(f"{name} called its output head {self.calls} times, not once")


def value_body(model: Any, readers: Sequence[Reader]) -> torch.nn.Module | None:
    """The body of its own that the value head of `readers` has in the model; None if there is none."""
    found = next((reader.body for reader in readers if isinstance(reader, Value)), None)
    return None if found is None else _module(model, found)


def _module(model: Any, name: str) -> torch.nn.Module:
    """The module of that name in the model, or in the model that adapters wrap."""
    try:
        found = attrgetter(name)(model)
    except AttributeError:
        found = None
    if not isinstance(found, torch.nn.Module):
        raise ValueError(
            f"Value({name!r}): {type(model).__name__} has no module of that name. Put one there before the model is "
            f"wrapped and the optimizer made: model.{name} = torch.nn.Linear(hidden_size, 1)."
        )
    return found


def _value(head: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """(N,) float32 or wider, in the precision of the head's weights: values of 16 bits differ by half a per cent."""
    weight = next(head.parameters(), rows)
    with torch.autocast(rows.device.type, enabled=False):
        found = head(rows.to(weight.dtype))
    if found.shape not in ((len(rows),), (len(rows), 1)):
        shapes = f"{tuple(found.shape)} of {tuple(rows.shape)}"
        raise ValueError(f"The value head makes {shapes}; it must make one value a row, (N, 1) or (N,).")
    return wide(found.reshape(-1))
