# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names of LlamaBoard that we rebind, `llamafactory-cli webui`; without them the page is LlamaFactory's own."""

from __future__ import annotations

from typing import Any

from .. import TESTED_LLAMAFACTORY
from .patch import Patch

_WEBUI = "llamafactory.webui"


def _board(target: str, replacement: str, parameters: tuple[str, ...], **more: Any) -> Patch:
    return Patch(
        f"{_WEBUI}.{target}",
        f"resonance.board.{replacement}",
        "board",
        parameters,
        versions=TESTED_LLAMAFACTORY,
        always=True,
        optional=True,
        **more,
    )


_COMMAND = {
    "why": "LlamaBoard leaves every false out of a recipe, and shows JSON as several words of a shell",
    "remove_when": 'LlamaBoard writes what is given in "Extra arguments"',
}

BOARD_PATCHES = (
    _board("common._clean_cmd", "command:clean_cmd", ("args",), **_COMMAND),
    _board("common.gen_cmd", "command:gen_cmd", ("args",), **_COMMAND),
    _board(
        "components.train.create_train_tab",
        "tab:create_train_tab",
        ("engine",),
        why="losses, rewards and keys of ours in the train tab",
        remove_when="LlamaBoard lets a package add losses and arguments",
    ),
    _board(
        "control.gen_loss_plot",
        "figure:gen_loss_plot",
        ("trainer_log",),
        why="the curve of the reward beside that of the loss, where a run logs one",
        remove_when="LlamaBoard draws the reward",
    ),
)
