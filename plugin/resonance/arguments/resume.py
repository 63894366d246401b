# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoint a run continues from: never one that was being written when the run was killed.

Reads names and the small state file in the output folder; removes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

# The Trainer writes this file last, and not atomically.
_LAST_FILE = "trainer_state.json"


def is_complete(checkpoint: Path) -> bool:
    """Whether the file that the Trainer writes last into a checkpoint is there, whole."""
    try:
        json.loads((checkpoint / _LAST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def newest_complete(output_dir: str) -> Path | None:
    """The complete `checkpoint-N` with the highest N, or None."""
    numbered = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    newest_first = sorted(numbered, key=lambda path: int(path.name.partition("-")[2]), reverse=True)
    return next((path for path in newest_first if is_complete(path)), None)


def resume_point(
    asked: str | bool | None, chosen: str | bool | None, output_dir: str
) -> tuple[str | None, str | None]:
    """The checkpoint to resume from, and a warning if it is not the one LlamaFactory chose.

    Args:
        asked: `resume_from_checkpoint` in the recipe: a path, or true for the newest one.
        chosen: the same after LlamaFactory parsed the recipe; it picks the newest folder, complete or not.
        output_dir: where the checkpoints are.

    Raises:
        ValueError: the recipe asks for one that is not there or was cut off while it was being saved.
    """
    newest = newest_complete(output_dir)
    if asked and not isinstance(asked, bool):
        if not is_complete(Path(asked)):
            nearest = newest_complete(str(Path(asked).parent))
            raise ValueError(
                f"resume_from_checkpoint: {asked} is no complete checkpoint (its {_LAST_FILE} is missing or cut "
                f"off); the newest complete one beside it is {nearest or 'none'}"
            )
        return asked, None
    if isinstance(chosen, bool) or not chosen:
        if chosen and newest is None:
            raise ValueError(f"resume_from_checkpoint: true, but {output_dir} has no complete checkpoint")
        return (str(newest) if chosen else None), None
    if is_complete(Path(chosen)):
        return chosen, None
    instead = f"resuming from {newest}" if newest else "starting anew, for there is no complete one"
    return (str(newest) if newest else None), f"{chosen} was cut off while it was being saved; {instead}."
