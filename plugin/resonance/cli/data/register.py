# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data register`."""

import argparse
import json
import os
import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...datafiles.columns import ALIASES, FORMATTINGS, META, TAGS
from ...datafiles.infer import SETTINGS, infer_entry
from ...datafiles.info import INFO, register
from ...datafiles.sample import Table, Unclear
from ...datafiles.scores import take_gapped
from ...datafiles.usual import odd_row
from . import common
from .advice import import_command, media_root

SET = (
    "what cannot be told from the rows: columns.images=pics, tags.user_tag=human, ranking=true; "
    "nothing after the = leaves the column out. Prompts of stage: ppo: columns.meta=answer,level are for rewards; "
    "columns.response=answer makes them answers to be learned"
)

EXAMPLES = (
    "resonance data register data/my_pairs.json",
    "resonance data register my_pairs.json --name pairs --set columns.chosen=preferred --set columns.rejected=other",
    "resonance data register my_pairs.json --dry-run",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a data file, or a folder with data files of one type")
    parser.add_argument(
        "--name", metavar="NAME", help="what recipes call the set (default: the file's name without its suffix)"
    )
    common.add_info(parser)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET)
    parser.add_argument("--force", action="store_true", help="change an entry of that name that is different")
    parser.add_argument("--dry-run", action="store_true", help="show the change, make none")
    common.add_json(parser, "one object: name, entry, whether it was changed, columns that are not read")


def run(args: argparse.Namespace) -> int:
    """Add a data file to dataset_info.json: formatting, columns and tags are told from its rows."""
    info_path = common.info_path(args)
    given = parse_settings(args.set)
    path = args.file.resolve()
    name = args.name if args.name is not None else path.name if path.is_dir() else path.stem
    refuse_new_folder(info_path)
    entry = told_entry(args.file, info_path, given)
    gaps = take_gapped(args.file, entry, given)
    change = register(info_path, name, entry, force=args.force, dry_run=args.dry_run)
    meta = entry["columns"].get(META)
    read = [column for key, column in entry["columns"].items() if key != META] + list(meta or ())
    unread = Table.of(args.file).told_unread(read, "--set columns.{key}={name}")
    if args.json:
        told = {"info": str(info_path), "name": name, "entry": entry, "unread": unread, "scores_with_gaps": gaps}
        common.print_json({**told, "changed": bool(change.diff) and not args.dry_run, "diff": change.diff})
        return 0
    if not change.diff:
        print(f"{info_path}: {name} is there already, as it should be")
    else:
        print(common.safe(change.diff))
        made = "would be changed" if args.dry_run else "changed"
        print(f"\n{info_path}: {made}{f' (as it was: {change.backup})' if change.backup else ''}")
    if meta:
        print(common.safe(f"Prompts of stage: ppo; rewards read {', '.join(meta)}"))
    if unread:
        print(common.safe(unread))
    alone = not entry.get("ranking") and "ranking" not in given
    if alone and (command := import_command(args.file, info_path.parent, pairs=True)):
        print(f"Registered as answers alone, but rows can be read as pairs: {command}")
    if gaps:
        settings = " ".join(f"--set columns.{key}={name}" for key, name in gaps.items())
        print(common.safe(f"Some rows lack scores, so they are not declared; when all have both, add {settings}"))
    look = "check" if info_path.name == INFO else "show"  # `check` knows no other name
    root = media_root(args.file, entry, info_path)
    if root is not None:
        root = Path(os.path.relpath(root)) if root.is_relative_to(Path.cwd()) else root
        print(f"Media paths of its rows start at {root}, not at {info_path.parent}: give `media_dir` as below")
    following = common.typed(look, name, *common.info_options(args), *(["--media-dir", root] if root else []))
    keys = [f"`dataset_dir: {info_path.parent}`", *[f"`media_dir: {root}`"] * (root is not None)]
    print(f"Next: {following}, then `dataset: {name}` with {' and '.join(keys)} in a recipe")
    return 0


def refuse_new_folder(info_path: Path) -> None:
    """Raise ValueError, with the nearest one, for a folder that is not there; the default one is made."""
    folder = info_path.parent
    if folder.is_dir() or folder == Path("data"):
        return
    around = folder.parent.iterdir() if folder.parent.is_dir() else ()
    near = get_close_matches(folder.name, [entry.name for entry in around if entry.is_dir()], 1)
    meant = f" Did you mean {folder.parent / near[0]}?" if near else ""
    raise ValueError(
        f"{folder}: no such folder.{meant}\nNext: {shlex.join(['mkdir', '-p', str(folder)])}, if it is a new one"
    )


def told_entry(file: Path, info_path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The entry, or ValueError; where one row of many is to blame, it is named."""
    try:
        return infer_entry(file, info_path, given)
    except Unclear as error:
        if (odd := odd_row(file, info_path, given)) is not None:
            raise odd from None
        if (command := import_command(file, info_path.parent)) is not None:
            raise ValueError(f"{error}\nNext: {command}") from None
        raise


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Turn ``columns.images=pics`` and the like into parts of an entry.

    Raises:
        WrongCall: naming every one that cannot be, with the nearest key there is.
    """
    allowed = [*SETTINGS, *(f"columns.{key}" for key in (*ALIASES, META)), *(f"tags.{key}" for key in TAGS)]
    given: dict[str, Any] = {"columns": {}, "tags": {}}
    wrong = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            wrong.append(f"--set {setting}: write KEY=VALUE")
        elif key not in allowed:
            near = get_close_matches(key, allowed, 1, 0.4)
            wrong.append(f"--set {setting}: there is no {key}" + (f"; did you mean {near[0]}?" if near else ""))
        elif "." in key:
            group, _, inner = key.partition(".")
            names = list(filter(None, text.split(",")))
            given[group][inner] = (names if inner == META else text) or None
        elif (value := _value(key, text)) is None:
            allowed_values = {"formatting": ", ".join(FORMATTINGS), "ranking": "true, false"}.get(key, "1, 2, 3, ...")
            wrong.append(f"--set {setting}: {key} is one of {allowed_values}")
        else:
            given[key] = value
    if wrong:
        raise common.WrongCall("\n".join(wrong))
    return given


def _value(key: str, text: str) -> Any:
    """A setting's value, or None if it cannot be one."""
    if key == "formatting":
        return text if text in FORMATTINGS else None
    try:
        value = json.loads(text.lower())
    except ValueError:
        return None
    wanted = type(value) is bool if key == "ranking" else type(value) is int and value > 0
    return value if wanted else None
