# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .values import plain
from .words import STAGES, Value


@dataclass(frozen=True)
class Argument:
    """One argument of the old scripts.

    Attributes:
        name: as typed, without dashes.
        key: the recipe key that it becomes; empty if it becomes none.
        stages: of the scripts that read it.
        guide: its default in the guide, as typed; None if the guide gives none.
        code: its default in the code that the guide describes, where that is another.
        absent: what a recipe without the key means; a default that is the same is not written.
        read: from what was typed to the key's value.
        note: what is said beside the key where it was typed.
        refused: why there is no key for it, and the nearest way.
        same: what was typed that nothing has to be done for, although `refused` holds of other values.
        elsewhere: why stages that are not its own leave it out.
    """

    name: str
    key: str = ""
    stages: tuple[str, ...] = STAGES
    guide: str | None = None
    code: str | None = None
    absent: Any = None
    read: Callable[[Value], Any] = plain
    note: str = ""
    refused: str = ""
    same: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] | str = "no script of this stage reads it"

    def why_not_in(self, stage: str) -> str:
        """Why a stage leaves it out."""
        return self.elsewhere if isinstance(self.elsewhere, str) else self.elsewhere[stage]
