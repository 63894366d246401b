# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoint a run continues from: never one that was being written when the run was killed.

Room: `arguments/`. Reads names in the output folder; removes nothing.
"""

from __future__ import annotations

from pathlib import Path

# The Trainer writes this file last.
_LAST_FILE = "trainer_state.json"


def complete_checkpoint(chosen: str | None) -> tuple[str | None, str | None]:
    """The checkpoint to resume from in place of `chosen`, and a warning if it is another one.

    `chosen` is what LlamaFactory picked: the newest `checkpoint-N` of the output folder, complete or not. If it is
    not, the newest complete one beside it is taken, or None (start anew) if there is none.
    """
    if chosen is None or not Path(chosen).is_dir() or Path(chosen, _LAST_FILE).is_file():
        return chosen, None

    numbered = [path for path in Path(chosen).parent.glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    complete = [path for path in numbered if (path / _LAST_FILE).is_file()]
    newest = max(complete, key=lambda path: int(path.name.partition("-")[2]), default=None)
    instead = f"resuming from {newest}" if newest else "starting anew, for there is no complete one"
    warning = f"{chosen} has no {_LAST_FILE}: the run was stopped while saving it; {instead}."
    return (str(newest) if newest else None), warning
