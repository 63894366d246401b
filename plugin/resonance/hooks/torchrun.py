# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The `torchrun` of this environment, for recipes of ours.

LlamaFactory's launcher starts `torchrun` from PATH. Another environment's would start ranks without this package.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ..arguments import environment, reader, recipe


def script_folders() -> list[str]:
    """Where pip puts the scripts of this Python's packages: the environment's folder, and that of `pip --user`."""
    user = sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    return list(dict.fromkeys([sysconfig.get_path("scripts"), os.path.dirname(sys.executable), user]))


def own_torchrun() -> Path | None:
    """The `torchrun` that was installed for this Python, or None."""
    found = (Path(folder, "torchrun") for folder in script_folders())
    return next((path for path in found if os.access(path, os.X_OK)), None)


def prepare_launch(argv: Sequence[str]) -> None:
    """Make ready what LlamaFactory's launcher is about to do with a training.

    A recipe of ours is checked here if torchrun would be started, so that its problems are reported once and not by
    each rank, and this environment's `torchrun` comes first on PATH.

    Args:
        argv: `sys.argv` of `llamafactory-cli train`: program, command, recipe or flags.

    Raises:
        ValueError: the recipe cannot be read, or has problems.
        RuntimeError: this environment has no torchrun, and LlamaFactory would start another environment's.
    """
    given = reader.read_words(argv[2:])
    if not recipe.needs_resonance(given):
        return
    own = own_torchrun()
    if own is not None:
        os.environ["PATH"] = f"{own.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if not starts_torchrun():
        return
    if own is None:
        raise RuntimeError(
            f"{argv[2]} needs resonance in every process, but this Python ({sys.executable}) has no `torchrun` in "
            f"{' or '.join(script_folders())}; install it with torch: {sys.executable} -m pip install torch"
        )
    from llamafactory.extras.misc import get_device_count

    if "NPROC_PER_NODE" not in os.environ and not get_device_count():
        raise ValueError(
            "FORCE_TORCHRUN: there is no GPU here by which to count processes; set NPROC_PER_NODE too, say to 2, or "
            "unset FORCE_TORCHRUN"
        )
    if reader.names_file(argv[2:]):  # flags are text until they are parsed
        from llamafactory.hparams import parser

        recipe.check(given, parser)


def starts_torchrun() -> bool:
    """The condition under which LlamaFactory's launcher starts torchrun."""
    from llamafactory.extras.misc import get_device_count, use_kt, use_ray

    switches = ("FORCE_TORCHRUN", "USE_MCA", "USE_MEGATRON_BRIDGE")
    if any(map(environment.is_env_enabled, switches)):
        return True
    return get_device_count() > 1 and not use_ray() and not use_kt()
