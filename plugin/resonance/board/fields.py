# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From a field of LlamaFactory's argument classes to what a page asks for, and from what is typed to its value."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .keys import KEYS

_OPEN = ("advantage", "policy_loss", "rewards")  # which also take package.module:function
# LlamaFactory has defaults for these; in stage: ppo they are those of the preset, and of the trained distribution.
_OF_PRESET = ("temperature", "ppo_epochs")
SWITCHES = {"true": True, "false": False}
Kind = Literal["check", "switch", "choice", "int", "float", "json", "rewards", "text"]


@dataclass(frozen=True)
class Entry:
    """One key on the page.

    Attributes:
        name: of the recipe key.
        kind: check is a box; switch is true, false or unset; json may also be a plain text where the key takes one.
        default: what LlamaFactory has where a recipe is silent; None where that depends on other keys.
        help: of the command line.
        choices: to choose from.
        open: whether other values than those are taken.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    open: bool = False

    @property
    def untouched(self) -> Any:
        """The value of the component where nothing is chosen."""
        if self.kind == "check":
            return False
        return [] if self.kind == "rewards" else ""

    def read(self, given: Any) -> Any:
        """The recipe's value for what a component holds; None where it is the default.

        Raises:
            ValueError: it is not of the key's type; the message starts with the key.
        """
        if given in (None, "", [], False):
            return None
        text = given.strip() if isinstance(given, str) else given
        try:
            value = _READERS[self.kind](text)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.name}: {given!r} is not {_EXPECTED[self.kind]}") from error
        return None if value == self.default and type(value) is type(self.default) else value


def _reward(given: str) -> dict[str, Any]:
    """An entry of `rewards`: a built-in name, package.module:function, a URL, or the entry itself in JSON."""
    if given.lstrip().startswith("{"):
        return json.loads(given)
    if given.startswith(("http://", "https://")):
        return {"url": given}
    return {"function": given} if ":" in given else {"name": given}


def _json(given: str) -> Any:
    return json.loads(given) if given[:1] in "[{" else given


_READERS: dict[str, Any] = {
    "check": bool,
    "switch": SWITCHES.__getitem__,
    "choice": str,
    "text": str,
    "int": int,
    "float": float,
    "json": _json,
    "rewards": lambda given: [_reward(each) for each in given],
}
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "json": 'JSON, such as {"name": 0.5} or ["a", "b"]',
    "rewards": 'a list of names, package.module:function, URLs, or entries such as {"name": "exact", "weight": 0.5}',
}


def entries() -> dict[str, Entry]:
    """All keys of the page by name, as LlamaFactory's argument classes have them in this process."""
    from llamafactory.hparams import DataArguments, FinetuningArguments, GeneratingArguments

    found: dict[str, Entry] = {}
    for cls in (DataArguments, FinetuningArguments, GeneratingArguments):
        hints = get_type_hints(cls)
        found |= {f.name: _entry(f, hints[f.name]) for f in fields(cls) if f.name in KEYS}
    return {key: found[key] for key in KEYS}  # a key that has gone is a KeyError, and the page stays as it was


def _entry(field: Field, hint: Any) -> Entry:
    default = None if field.default is MISSING or field.name in _OF_PRESET else field.default
    kind, choices = _kind(hint, default)
    names = _names(field.name)
    if field.name == "rewards":
        kind, choices = "rewards", names
    elif names:
        kind, choices = "choice", names
    return Entry(field.name, kind, default, field.metadata.get("help", ""), choices, open=field.name in _OPEN)


def _kind(hint: Any, default: Any) -> tuple[Kind, tuple[str, ...]]:
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    wanted = [option for option in options if option is not NoneType]
    for option in wanted:
        if get_origin(option) is Literal:
            return "choice", get_args(option)
    if bool in wanted:
        return ("check", ()) if default is False else ("switch", tuple(SWITCHES))
    if dict in wanted or list in wanted:
        return "json", ()
    for number, name in ((float, "float"), (int, "int")):
        if number in wanted:
            return name, ()  # type: ignore[return-value]
    return "text", ()


def _names(key: str) -> tuple[str, ...]:
    """Of a key that is a text by its type and takes names of a table."""
    from ..policy import ADVANTAGES, AGGREGATIONS, POLICY_LOSSES, PRESETS
    from ..rewards import REWARDS

    tables: dict[str, Any] = {
        "ppo_variant": PRESETS,
        "advantage": ADVANTAGES,
        "policy_loss": POLICY_LOSSES,
        "loss_aggregation": AGGREGATIONS,
        "rewards": REWARDS,
        "group_prompts": ("auto", "true", "false"),
    }
    return tuple(tables.get(key, ()))
