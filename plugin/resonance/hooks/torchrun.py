# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Does the `torchrun` that LlamaFactory would start belong to this environment?

LlamaFactory's launcher runs `torchrun` from PATH. If that one belongs to another environment, its
ranks run without this package, and the first one that reads a recipe of ours fails on a key it does not know.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def foreign_torchrun() -> str | None:
    """Returns a sentence that names the foreign `torchrun` and this environment's scripts, or None if all is well."""
    scripts = sysconfig.get_path("scripts")
    own = Path(scripts, "torchrun")
    cure = f'put this environment first: export PATH="{scripts}:$PATH"'
    found = shutil.which("torchrun")
    if found is None:
        if own.exists():
            return f"there is no torchrun on PATH, while this environment's is {own}; {cure}"
        return f"there is no torchrun on PATH, nor in this environment's {scripts}; install torch: pip install torch"
    interpreter = script_interpreter(Path(found))
    if belongs_here(Path(found), interpreter, scripts):
        return None
    return (
        f"torchrun on PATH is {found} (run by {interpreter or 'an unknown interpreter'}), "
        f"which is not of this environment, whose scripts are in {scripts}; {cure}"
    )


def belongs_here(found: Path, interpreter: str | None, scripts: str) -> bool:
    """Compares folders, not interpreters: the python of every virtual environment links to the same base python."""
    folders = {os.path.realpath(found.parent), os.path.dirname(os.path.realpath(found))}
    if os.path.realpath(scripts) in folders:
        return True
    if interpreter is not None and os.path.isabs(interpreter):
        return os.path.realpath(os.path.dirname(interpreter)) == os.path.realpath(os.path.dirname(sys.executable))
    # pyenv, asdf and mise put a shim on PATH that starts the python they have selected, which is this one if it is
    # one of theirs.
    manager = found.parent.parent
    return found.parent.name == "shims" and Path(sys.prefix).is_relative_to(manager)


def script_interpreter(script: Path) -> str | None:
    """Returns the python that a script names: in its first line or, as pip does for long paths, in an `exec` line."""
    try:
        with script.open("rb") as file:
            lines = [file.readline(4096).decode(errors="replace").strip() for _ in range(2)]
    except OSError:
        return None
    if not lines[0].startswith("#!"):
        return None
    words = lines[0][2:].split()
    if words[:1] == ["/bin/sh"] and lines[1].startswith("'''exec'"):
        words = shlex.split(lines[1].removeprefix("'''exec'"))
    if words[:1] and os.path.basename(words[0]) == "env":
        name = next((word for word in words[1:] if not word.startswith("-")), "")
        words = [shutil.which(name) or name]
    return words[0] if words and "python" in os.path.basename(words[0]) else None


def check_launch(argv: Sequence[str], needs_resonance: Callable[[dict[str, Any]], bool]) -> None:
    """Stops `llamafactory-cli train` before it starts the ranks of a recipe of ours by a foreign `torchrun`.

    Args:
        argv: `sys.argv` of `llamafactory-cli`: program, command, recipe or flags.
        needs_resonance: tells from the keys and values of a recipe whether it is ours.

    Raises:
        RuntimeError: the recipe is ours, it would be started by torchrun, and that belongs to another environment.
    """
    if len(argv) < 3 or argv[1] != "train" or not needs_resonance(recipe_keys(argv[2:])):
        return  # a stock recipe: whatever we would look at below is none of its business
    problem = foreign_torchrun()
    if problem is not None and starts_torchrun():
        raise RuntimeError(f"{argv[2]} needs resonance in every process, but {problem}")


def starts_torchrun() -> bool:
    """The condition under which LlamaFactory's launcher starts torchrun."""
    from llamafactory.extras.misc import get_device_count, is_env_enabled, use_kt, use_ray

    if is_env_enabled("FORCE_TORCHRUN") or is_env_enabled("USE_MCA"):
        return True
    return get_device_count() > 1 and not use_ray() and not use_kt()


def recipe_keys(args: Sequence[str]) -> dict[str, Any]:
    """Reads what follows `train` as LlamaFactory does: a YAML or JSON file and `key=value`s, or `--key value` flags.

    A file that cannot be read gives no keys; LlamaFactory's own parser will say what is wrong with it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if not args[0].endswith((".yaml", ".yml", ".json")):
        names = [index for index, word in enumerate(args) if word.startswith("--")]
        pairs = [(args[index][2:].partition("="), args[index + 1 : index + 2]) for index in names]
        return {name.replace("-", "_"): value if sep else "".join(after) for (name, sep, value), after in pairs}
    try:
        keys = OmegaConf.to_container(OmegaConf.merge(OmegaConf.load(args[0]), OmegaConf.from_cli(list(args[1:]))))
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}
    return {str(key): value for key, value in keys.items()} if isinstance(keys, dict) else {}
