# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Back-ends of LlamaFactory whose trainers take another road than the run functions we wrap.

Nothing of ours runs there, so our keys are refused by name instead of ignored. `llamafactory.train.tuner` has the
roads. Knows nothing of LlamaFactory but the names of its switches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from . import data, feedback, preference, rates, reward_model, tracking
from .environment import is_env_enabled


@dataclass(frozen=True)
class Road:
    """One back-end.

    Attributes:
        switch: the environment variable or recipe key that selects it.
        field: LlamaFactory's argument that stands for it; a version that has none does not know the back-end.
        stages: in which its own run functions are called; in the others LlamaFactory goes the usual way.
    """

    switch: str
    field: str
    stages: tuple[str, ...]

    @property
    def in_recipe(self) -> bool:
        return self.switch == self.field

    def taken(self, values: Mapping[str, Any], known: Collection[str]) -> bool:
        """Whether a run with these values goes there, in a LlamaFactory whose arguments are `known`, if they are."""
        if values.get("stage", preference.DEFAULTS["stage"]) not in self.stages:
            return False
        if self.in_recipe:
            return bool(values.get(self.field))
        return is_env_enabled(self.switch) and (not known or self.field in known)


ROADS = (
    Road("USE_MCA", "use_mca", ("pt", "sft", "dpo")),
    Road("USE_MEGATRON_BRIDGE", "use_megatron_bridge", ("pt", "sft")),
    Road("use_hyper_parallel", "use_hyper_parallel", ("pt", "sft")),
)


def road_problems(
    values: Mapping[str, Any], known: Collection[str], given: Mapping[str, Any] | None = None
) -> list[str]:
    """Our keys in a recipe that a back-end's own trainer runs, as messages that start with the switch or the key.

    Args:
        values: of the recipe, as written or as parsed.
        known: names of LlamaFactory's arguments; empty if it keeps no list of them.
        given: the recipe as written, where it is known.
    """
    road = next((road for road in ROADS if road.taken(values, known)), None)
    if road is None:
        return []
    cure = f"remove {road.switch}" if road.in_recipe else f"unset {road.switch}"
    found, keys = [], [*data.given_keys(values), *tracking.given_keys(values), *rates.given_keys(values)]
    if preference.runs_on_resonance(values):
        loss = values.get("pref_loss", preference.DEFAULTS["pref_loss"])
        found = [f"{road.switch}: pref_loss: {loss} runs on Resonance's trainer, not on that back-end; {cure}"]
    else:
        keys = [*preference.idle_keys(values, given), *keys]
    return found + [
        f"{key}: is not read by the trainers of {road.switch}; {cure}, or remove the key"
        for key in keys
        if key != "image_root"  # a name for a key that every road reads
    ]


def v1_problems(given: Mapping[str, Any]) -> list[str]:
    """Our keys in a recipe for LlamaFactory's v1 trainers, which read none of them."""
    rooms = (preference, data, reward_model, feedback, tracking, rates)
    keys = [key for key in given if any(key in room.KEYS for room in rooms)]
    keys += [] if keys or not preference.runs_on_resonance(given) else ["pref_loss"]
    return [
        f"{key}: USE_V1=1 runs LlamaFactory's v1 trainers, where nothing of Resonance runs; unset USE_V1, or remove "
        "the key"
        for key in keys
    ]
