# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaBoard's runner with our keys: what a command holds, what is saved, and how an error of ours is shown."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..arguments.preference import NAMES_OF_LLAMAFACTORY
from .command import Command
from .fields import Entry
from .keys import WATCHED, shown
from .words import PREFIX, alert

# Methods that we override, with their parameters.
OVERRIDDEN = {
    "_initialize": ("self", "data", "do_train", "from_preview"),
    "_parse_train_args": ("self", "data"),
    "_build_config_dict": ("self", "data"),
    "load_args": ("self", "lang", "config_path"),
    "check_output_dir": ("self", "lang", "model_name", "finetuning_type", "output_dir"),
    "monitor": ("self",),
}
# What LlamaBoard writes for its own PPO, which runs nowhere; ours takes `rewards`, and samples what it trains.
_OF_THEIR_PPO = ("reward_model", "reward_model_type", "top_k", "top_p")
# Where the message begins that a failed training ends with; see hooks/endings.py.
_CAUSE = re.compile(r"^(?:Rank \d+ was stopped by:|[\w.]*(?:Error|Exception|Interrupt)\b)", re.MULTILINE)
_ANY = "-"  # in the place of a reward model: as a text, and as a list of one


def with_our_keys(original: type, keys: Mapping[str, Entry]) -> type:
    """The class of runners that the page uses.

    Raises:
        TypeError: LlamaFactory's class has other methods than those that we override.
    """
    for name, parameters in OVERRIDDEN.items():
        found = tuple(inspect.signature(getattr(original, name)).parameters) if hasattr(original, name) else ()
        if found != parameters:
            raise TypeError(f"{original.__module__}.Runner.{name} takes ({', '.join(found)}), not {parameters}")

    class Runner(_Runner, original):
        entries = keys

    Runner.__qualname__ = Runner.__name__ = original.__name__
    return Runner


class _Runner:
    """What is laid over LlamaFactory's class."""

    entries: Mapping[str, Entry]
    manager: Any
    trainer: Any
    running_data: Mapping[Any, Any]
    do_train: bool

    def _get(self, data: Mapping[Any, Any], name: str) -> Any:
        return data[self.manager.get_elem_by_id(name)]

    def _initialize(self, data: dict[Any, Any], do_train: bool, from_preview: bool) -> str:
        if not do_train:
            return super()._initialize(data, do_train, from_preview)  # type: ignore[misc]
        error = super()._initialize(self._for_llamafactory(data), do_train, from_preview)  # type: ignore[misc]
        return error or self._problem(data)

    def _problem(self, data: Mapping[Any, Any]) -> str:
        """The first thing in our part of the page that cannot become a command; empty if all can."""
        language, extra = self._get(data, "top.lang"), json.loads(self._get(data, "train.extra_args"))
        if not isinstance(extra, dict):
            return alert("no_object", language)
        if "output_dir" in extra:
            return alert("output_dir", language)
        try:
            ours = self._ours(data, extra)
        except ValueError as error:
            return str(error)
        if extra.get("stage", self._stage(data)) == "ppo" and not (ours.get("rewards") or extra.get("rewards")):
            return alert("no_rewards", language)
        return ""

    def _stage(self, data: Mapping[Any, Any]) -> str:
        from llamafactory.extras.constants import TRAINING_STAGES

        return TRAINING_STAGES[self._get(data, "train.training_stage")]

    def _ours(self, data: Mapping[Any, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the fold that belong to the stage and the loss, and are not their defaults.

        Raises:
            ValueError: some are not of their keys' types; all are named.
        """
        chosen = {"stage": self._stage(data), "pref_loss": self._get(data, "train.pref_loss")}
        watched = {name: self._get(data, f"train.{PREFIX}{name}") for name in WATCHED}
        given = {**chosen, **{name: value for name, value in watched.items() if value not in (None, "")}, **extra}
        found: dict[str, Any] = {}
        problems = []
        for name in shown(given):
            try:
                value = self.entries[name].read(self._get(data, f"train.{PREFIX}{name}"))
            except ValueError as error:
                problems.append(str(error))
            else:
                found |= {} if value is None else {name: value}
        if problems:
            raise ValueError("\n\n".join(problems))
        if given["stage"] == "ppo" and (models := self._reward_models(data)):
            found["rewards"] = [*found.get("rewards", []), *models]
        return found

    def _reward_models(self, data: Mapping[Any, Any]) -> list[dict[str, str]]:
        """Those chosen in LlamaFactory's own dropdown, as entries of `rewards`."""
        from llamafactory.webui.common import get_save_dir

        names = self._get(data, "train.reward_model") or []
        where = (self._get(data, "top.model_name"), self._get(data, "top.finetuning_type"))
        return [{"model": str(get_save_dir(*where, name))} for name in ([names] if isinstance(names, str) else names)]

    def _for_llamafactory(self, data: dict[Any, Any]) -> dict[Any, Any]:
        """The same data with what LlamaFactory's own PPO asks for, and we do not."""
        return {**data, self.manager.get_elem_by_id("train.reward_model"): _ANY}

    def _parse_train_args(self, data: dict[Any, Any]) -> dict[str, Any]:
        args = super()._parse_train_args(self._for_llamafactory(data))  # type: ignore[misc]
        extra = json.loads(self._get(data, "train.extra_args"))
        if args["stage"] == "ppo":
            args = {key: value for key, value in args.items() if key not in _OF_THEIR_PPO}
        if args["stage"] == "kto" and args["pref_loss"] not in NAMES_OF_LLAMAFACTORY:
            del args["pref_loss"]  # of stage: dpo
        ours = self._ours(data, extra)
        return Command({**args, **ours, **extra}, {*ours, *extra})

    def _build_config_dict(self, data: dict[Any, Any]) -> dict[str, Any]:
        """Without what is untouched among ours, so that LlamaFactory alone can read a configuration without any."""
        config = super()._build_config_dict(data)  # type: ignore[misc]
        untouched = {f"train.{PREFIX}{name}": entry.untouched for name, entry in self.entries.items()}
        return {
            key: value for key, value in config.items() if key not in untouched or value not in (None, untouched[key])
        }

    def load_args(self, lang: str, config_path: str) -> dict[Any, Any]:
        return self._with_untouched(super().load_args(lang, config_path))  # type: ignore[misc]

    def check_output_dir(self, *where: str) -> dict[Any, Any]:
        return self._with_untouched(super().check_output_dir(*where))  # type: ignore[misc]

    def _with_untouched(self, loaded: dict[Any, Any]) -> dict[Any, Any]:
        """A configuration that was loaded, with our components reset that it has no values for."""
        if len(loaded) == 1:  # the message that there is none
            return loaded
        names = self.entries.items()
        ours = {self.manager.get_elem_by_id(f"train.{PREFIX}{name}"): entry.untouched for name, entry in names}
        return {**ours, **loaded}

    def monitor(self) -> Iterator[dict[Any, Any]]:
        """LlamaFactory's updates of the page; a failure begins with its cause, which stands below the whole log."""
        language = self._get(self.running_data, "top.lang")
        box = self.manager.get_elem_by_id(f"{'train' if self.do_train else 'eval'}.output_box")
        for update in super().monitor():  # type: ignore[misc]
            yield {**update, box: with_cause_first(update[box], language)} if self.trainer is None else update


def with_cause_first(text: str, language: str) -> str:
    """What the page shows when a training has ended, with the cause of a failure before its log.

    Args:
        text: LlamaFactory's: one line, and below it in a block what the process wrote to stderr.
        language: of the page.
    """
    head, fence, log = text.partition("\n\n```\n")
    rank = log.rfind("was stopped by:")
    found = [match.start() for match in _CAUSE.finditer(log)]
    if "Exit code:" not in head or not fence or not found:
        return text
    begin = max(found) if rank < 0 else max(start for start in found if start <= rank)
    if not log[:begin].strip():
        return text
    cause = log[begin:].rpartition("\n```")[0].rstrip()
    return f"{head}\n\n{alert('cause', language)}\n\n```\n{cause}\n```\n\n```\n{log}"
