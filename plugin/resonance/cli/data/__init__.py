# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data ...`: one file a command of the group. A command raises what stops it; it is printed here."""

import argparse
from collections.abc import Callable


def run(args: argparse.Namespace, command: Callable[[argparse.Namespace], int]) -> int:
    """Import, check, repair, register and look at data sets."""
    from ..terminal import watching_rows
    from . import common

    # an import counts what it writes
    silent = getattr(args, "json", False) or args.command_name in ("data import", "data check")
    try:
        with watching_rows(silent):
            return command(args)
    except BrokenPipeError:  # `| head`: the reader has seen enough
        raise
    except (ValueError, OSError) as error:
        which = args.command_name.partition(" ")[2]
        wrong_call = isinstance(error, common.WrongCall) or which == "check"  # whose 1 is: it found errors
        return common.failed(which, error, 2 if wrong_call else 1)
