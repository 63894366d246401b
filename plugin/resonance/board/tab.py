# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The train tab with our losses and a fold of our keys; LlamaFactory builds the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import gradio as gr
from gradio.context import Context

from .fields import Entry, entries
from .keys import WATCHED, shown
from .runner import with_our_keys
from .words import PREFIX, locales

HIGHEST_BETA = 10.0


def create_train_tab(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """LlamaFactory's `create_train_tab`; what it cannot build upon is an error here, and the page stays stock."""
    from llamafactory.webui import common, runner
    from llamafactory.webui import locales as words

    from .command import Command

    if common._clean_cmd(Command({"asked": False}, ["asked"])) != {"asked": False}:
        raise RuntimeError("llamafactory.webui.common._clean_cmd is not ours, so values of false would be lost")
    keys = entries()
    runner_class = with_our_keys(runner.Runner, keys)

    @wraps(original)
    def wrapper(engine: Any) -> dict[str, Any]:
        words.LOCALES.update(locales(keys, words.LOCALES["pref_loss"]))
        engine.runner = runner_class(engine.manager, engine.demo_mode)
        parent = Context.block
        fold, ours = _fold(keys)
        base, known = engine.manager.get_base_elems, set(ours.values())
        engine.manager.get_base_elems = lambda: base() | known  # what preview and start are given
        try:
            theirs = original(engine)
        finally:
            engine.manager.get_base_elems = base
        _place_behind(parent, fold, theirs["rlhf_tab"])
        _offer_our_losses(theirs)
        named = {PREFIX + name: component for name, component in ours.items()}
        _show_what_belongs(theirs, ours)
        return {**theirs, f"{PREFIX}tab": fold, **named}

    return wrapper


def _fold(keys: Mapping[str, Entry]) -> tuple[Any, dict[str, Any]]:
    first = shown({"stage": "sft", "pref_loss": "sigmoid"})  # as the page opens
    with gr.Accordion(open=False) as fold, gr.Row():
        ours = {name: _component(entry, visible=name in first) for name, entry in keys.items()}
    return fold, ours


def _component(entry: Entry, visible: bool) -> Any:
    common: dict[str, Any] = {"value": entry.untouched, "visible": visible, "min_width": 240}
    default = "" if entry.default is None else str(entry.default)
    if entry.kind == "check":
        return gr.Checkbox(**common)
    if entry.kind == "rewards":
        return gr.Dropdown(choices=list(entry.choices), multiselect=True, allow_custom_value=True, **common)
    if entry.kind in ("choice", "switch"):
        unset = (f"({default or 'unset'})", "")
        choices = [unset, *((name, name) for name in entry.choices)]
        return gr.Dropdown(choices=choices, allow_custom_value=entry.open, **common)
    return gr.Textbox(placeholder=default, **common)


def _place_behind(parent: Any, fold: Any, other: Any) -> None:
    """Our fold was made first, so that the listeners know it; it belongs behind that of RLHF."""
    parent.children.remove(fold)
    parent.children.insert(parent.children.index(other) + 1, fold)


def _offer_our_losses(theirs: Mapping[str, Any]) -> None:
    from ..losses import LOSSES

    names = dict.fromkeys([*(name for name, _ in theirs["pref_loss"].choices), *LOSSES])
    # others are a mix with commas, or package.module:function
    _change(theirs["pref_loss"], choices=[(name, name) for name in names], allow_custom_value=True)
    _change(theirs["pref_beta"], maximum=HIGHEST_BETA)


def _change(component: Any, **properties: Any) -> None:
    """Set properties of a component, also for the copies that Gradio makes of it when a language is chosen."""
    for name, value in properties.items():
        setattr(component, name, value)
    component.constructor_args.update(properties)


def _show_what_belongs(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Update which of our components are visible whenever what that depends on changes."""
    watched = {"training_stage": theirs["training_stage"], "pref_loss": theirs["pref_loss"]}
    watched |= {name: ours[name] for name in WATCHED}
    update = partial(_visibility, tuple(watched), tuple(ours))
    for component in watched.values():
        component.change(update, list(watched.values()), list(ours.values()), queue=False, show_progress="hidden")


def _visibility(watched: tuple[str, ...], names: tuple[str, ...], *given: Any) -> list[Any]:
    from llamafactory.extras.constants import TRAINING_STAGES

    values = {name: value for name, value in zip(watched, given, strict=True) if value not in (None, "")}
    stage = TRAINING_STAGES[values.pop("training_stage")]
    belongs = shown({"pref_loss": "sigmoid", **values, "stage": stage})
    return [gr.update(visible=name in belongs) for name in names]
