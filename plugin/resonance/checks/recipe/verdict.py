# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What was found in one recipe, as text or for programs. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("error", "warning", "note")


@dataclass
class Verdict:
    """One recipe.

    Attributes:
        recipe: the file.
        errors: what stops a run, or makes it another one than was meant.
        warnings: what is probably not meant.
        notes: what is not here yet, and what to know.
        facts: what the run is, line by line.
        commands: how to start it: on what -> the command.
    """

    recipe: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.errors

    def add(self, errors: Iterable[str]) -> None:
        """Take errors in; a key that an earlier check has judged is not judged twice.

        Args:
            errors: messages that start with the key and a colon.
        """
        judged = {key_of(message) for message in self.errors}
        self.errors += [message for message in dict.fromkeys(errors) if key_of(message) not in judged]

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def as_text(self) -> str:
        """A block: its name, what is wrong, what it is, how to start it."""
        lines = [self.recipe]
        for kind, messages in zip(KINDS, (self.errors, self.warnings, self.notes), strict=True):
            for message in messages:
                first, *more = message.splitlines()
                lines += [f"  {kind:<8} {first}", *(f"{'':11}{line}" for line in more)]
        lines += [f"  {fact}" for fact in self.facts]
        width = max(map(len, self.commands), default=0)
        lines += [f"  {where:<{width}}  {command}" for where, command in self.commands.items()]
        return "\n".join(lines)


def key_of(message: str) -> str:
    """The recipe key that a message is about."""
    return message.partition(":")[0]
