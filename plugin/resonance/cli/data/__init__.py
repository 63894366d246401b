# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data ...`: one file a command of the group. A command raises what stops it; it is printed here."""

import argparse
from types import ModuleType

from . import (
    check,
    common,
    fix_paths,
    import_,
    list_,
    register,
    score_filter,
    score_scale,
    score_stats,
    show,
    unpair,
    view,
)

COMMANDS: dict[str, ModuleType] = {
    "import": import_,
    "check": check,
    "fix-paths": fix_paths,
    "register": register,
    "list": list_,
    "show": show,
    "view": view,
    "score-stats": score_stats,
    "score-scale": score_scale,
    "score-filter": score_filter,
    "unpair": unpair,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.run.__doc__ or "").partition("\n")[0]
        command = subparsers.add_parser(name, help=summary, description=summary)
        command.set_defaults(parser=command)
        module.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Import, check, repair, register and look at data sets."""
    try:
        return COMMANDS[args.data_command].run(args)
    except BrokenPipeError:  # `| head`: the reader has seen enough
        raise
    except (ValueError, OSError) as error:
        wrong_call = isinstance(error, common.WrongCall) or args.data_command == "check"  # 1 is: it found errors
        return common.failed(args.data_command, error, 2 if wrong_call else 1)
