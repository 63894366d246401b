# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The one voice of `--help`: a summary, the arguments with their defaults, examples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of what stands below the arguments, and appends defaults that are numbers or words."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help
        flag = isinstance(action.default, bool) or action.default in (None, "", [], argparse.SUPPRESS)
        if not action.option_strings or not told or flag or "default" in told:
            return told
        return f"{told} (default: %(default)s)"


def epilog(more: str | None, examples: Sequence[str]) -> str:
    """What stands below the arguments.

    Args:
        more: of the command itself, such as what its exit codes are.
        examples: as typed; a comment may follow behind `#`.
    """
    lines = [more, ""] if more else []
    return "\n".join([*lines, "examples:", *(f"  {example}" for example in examples)])
