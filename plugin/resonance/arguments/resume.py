# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoint a run continues from: never one that was being written when the run was killed.

Reads names and the small state file in the output folder; removes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The Trainer writes this file last, and not atomically.
_LAST_FILE = "trainer_state.json"

RUN_FILE, RECIPE_FILE = "resonance_run.json", "resonance_recipe.yaml"
"""In the output folder of a run of ours and in its checkpoints: what its numbers depend on, and its recipe."""


@dataclass
class ResumeKeys:
    r"""Which checkpoints a run may go on from."""

    allow_changed_recipe: bool = field(
        default=False,
        metadata={
            "help": (
                "Go on from a checkpoint of another recipe, of other data, of another program, or one that lacks the "
                "optimizer's state."
            )
        },
    )


def is_complete(checkpoint: Path) -> bool:
    """Whether the file that the Trainer writes last into a checkpoint is there, whole."""
    try:
        json.loads((checkpoint / _LAST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def newest_complete(output_dir: str) -> Path | None:
    """The complete `checkpoint-N` with the highest N, or None."""
    return next((path for path in checkpoints(output_dir) if is_complete(path)), None)


def checkpoints(output_dir: str) -> list[Path]:
    """All `checkpoint-N`, complete or not, the newest first."""
    numbered = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.partition("-")[2]), reverse=True)


def run_file(checkpoint: str) -> Path | None:
    """The record of the run that made a checkpoint, in it or, if a kill came in between, in its output folder."""
    found = (folder / RUN_FILE for folder in (Path(checkpoint), Path(checkpoint).absolute().parent))
    return next((path for path in found if path.is_file()), None)


def goes_on_from_ours(training_args: Any) -> bool:
    """Whether a run, of whichever trainer, is to go on from a checkpoint that one of our runs has made."""
    point = getattr(training_args, "resume_from_checkpoint", None)
    if point is True:
        point = newest_complete(training_args.output_dir)
    return bool(point) and run_file(str(point)) is not None


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
