# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data fix-paths`."""

import argparse
import difflib
import os
import shlex
import sys
from pathlib import Path, PurePosixPath

from ...datafiles.fix import KEYS, Findable, Fixing, PathProblem
from ...datafiles.paths import Anchor, Prefixes, Relocate, Search
from ...datafiles.text import count, shorten
from . import common

SHOWN = 20
KEY = f"where the paths are, as `a.b.c` (default: {', '.join(KEYS)})"
MEDIA = "where relative paths start (default: the folder of FILE)"

EXAMPLES = (
    "resonance data fix-paths my_pairs.json --search images",
    "resonance data fix-paths my_pairs.json --from /old/place --to images -o moved.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a .json or .jsonl file")
    ways = parser.add_argument_group("three ways to say where the files are; take one")
    ways.add_argument("--marker", metavar="NAME", help="a folder in the paths; what follows it goes below --root")
    ways.add_argument("--root", metavar="DIR", help="the folder that takes the marker's place")
    ways.add_argument("--from", dest="old", action="append", metavar="PREFIX", help="a start of the paths; repeatable")
    ways.add_argument("--to", dest="new", action="append", metavar="PREFIX", help="what it becomes, one a --from")
    ways.add_argument("--search", metavar="DIR", help="find each file below a folder, by the end of its path")
    parser.add_argument("--key", action="append", metavar="KEY", help=KEY)
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file to write (default: FILE.fixed.json beside it)"
    )
    target.add_argument("--in-place", action="store_true", help="replace FILE; a copy stays as FILE.bak")
    parser.add_argument("--force", action="store_true", help="write over an output that exists; it stays as NAME.bak")
    parser.add_argument("--no-check", action="store_true", help="do not look whether the files exist")
    parser.add_argument("--media-dir", type=Path, metavar="DIR", help=MEDIA)
    keep = "write although; rows with a problem stay as they are"
    parser.add_argument("--keep-going", action="store_true", help=keep)
    parser.add_argument("--all", action="store_true", help=f"print every problem, not the first {SHOWN}")


def run(args: argparse.Namespace) -> int:
    """Move the media paths of a file to where the media are on this machine."""
    try:
        relocate = Watched(way(args))
        target = args.file if args.in_place else args.output or args.file.with_suffix(f".fixed{args.file.suffix}")
        if args.in_place and args.force:
            raise ValueError("--force is for an output beside the input; --in-place replaces the input anyway.")
        if not args.in_place:
            common.refuse_same(args.file, target)
    except ValueError as error:
        raise common.WrongCall(error) from error
    problems = Printer(SHOWN if not args.all else None)
    fixing = Fixing(
        relocate,
        keys=args.key or KEYS,
        exists=None if args.no_check else Findable(args.media_dir or args.file.parent),
        keep_going=args.keep_going,
        on_problem=problems,
        in_place=args.in_place,
    )
    if not args.in_place:
        common.refuse_existing(target, args.force)
    fixing.run(args.file, target)
    problems.close()
    return report(args, fixing, target, relocate)


def way(args: argparse.Namespace) -> Relocate:
    """The one way that was asked for; --root and --search are made absolute, so that training finds the files.

    Raises:
        ValueError: for none, several, or half of one.
    """
    asked = [args.marker is not None or args.root is not None, bool(args.old or args.new), args.search is not None]
    if sum(asked) != 1:
        told = "none" if not any(asked) else "several"
        raise ValueError(f"{told} of --marker NAME --root DIR, --from PREFIX --to PREFIX, --search DIR; take one.")
    if args.search is not None:
        return Search(os.path.abspath(args.search))
    if asked[1]:
        old, new = args.old or [], args.new or []
        if len(old) != len(new):
            raise ValueError(f"{len(old)} --from and {len(new)} --to; each --from needs its --to.")
        return Prefixes(list(zip(old, new, strict=True)))
    if args.marker is None or args.root is None:
        raise ValueError("--marker NAME and --root DIR go together.")
    return Anchor(args.marker, os.path.abspath(args.root))


class Watched:
    """A way that remembers the first paths it was asked about, for a message if it fits none."""

    def __init__(self, relocate: Relocate) -> None:
        self.relocate, self.misses = relocate, relocate.misses
        self.paths: dict[str, None] = {}

    def __call__(self, path: str) -> str | None:
        if len(self.paths) < SHOWN:
            self.paths[path] = None
        return self.relocate(path)

    def explain(self, args: argparse.Namespace) -> str:
        """Why not one path was moved, and the folder's name that was probably meant."""
        looks = "; they look like:\n" + "\n".join(f"  {shorten(path, 200)}" for path in list(self.paths)[:3])
        if args.search:
            return f"no file of these paths is below {args.search}{looks}"
        folders = [folder for path in self.paths for folder in PurePosixPath(path.replace("\\", "/")).parents]
        given = args.marker or args.old[0]
        spelled = {name.lower(): name for name in sorted(f.name if args.marker else str(f) for f in folders)}
        near = difflib.get_close_matches(given.lower(), spelled, 1, 0.5)
        if args.marker:
            meant = f"\nNext: {common.again(args, '--marker', spelled[near[0]])}" if near else ""
            return f"no path has a folder {given}{looks}{meant}"
        meant = f"\nNext: did you mean --from {shlex.quote(spelled[near[0]])}?" if near else ""
        return f"no path starts with {' or '.join(args.old)}{looks}{meant}"


class Printer:
    """Prints the first problems as they are met, and at the end how many there were more."""

    def __init__(self, shown: int | None) -> None:
        self.shown, self.count = shown, 0

    def __call__(self, problem: PathProblem) -> None:
        self.count += 1
        if self.shown is None or self.count <= self.shown:
            print(common.safe(str(problem)), file=sys.stderr)

    def close(self) -> None:
        if self.shown is not None and self.count > self.shown:
            print(f"... and {self.count - self.shown} more; --all prints them", file=sys.stderr)


def report(args: argparse.Namespace, fixing: Fixing, target: Path, relocate: Watched) -> int:
    """Print the counts, where the result is, and what to type next."""
    paths = fixing.changed + fixing.unchanged
    told = "".join(f", {count} {kind}" for kind, count in sorted(fixing.problems.items()))
    changed = f"{fixing.changed} {'changed' if fixing.written else 'to change'}, {fixing.unchanged} as they were"
    print(common.safe(f"{args.file}: {count(fixing.rows, 'row')}, {count(paths, 'path')}: {changed}{told}"))
    if isinstance(relocate.relocate, Search) and relocate.relocate.by_name:
        print(f"{relocate.relocate.by_name} of them were found by the name of the file alone: look at a few")
    if not paths:
        keys = " ".join(args.key or KEYS)
        raise ValueError(
            f"no row has a path under {keys}\nNext: {common.typed('show', args.file)}, then add --key NAME"
        )
    if fixing.elsewhere:
        told = f"{fixing.elsewhere} of them are no paths, such as {fixing.no_path}"
        if fixing.elsewhere == paths:
            raise ValueError(f"nothing was written: {told}")
        print(common.safe(told))
    if not fixing.applied and not fixing.written and (fixing.problems or fixing.exists is None):
        raise ValueError(f"nothing was written: {relocate.explain(args)}")
    if fixing.written:
        backup = f" (as it was: {fixing.backup})" if fixing.backup else ""
        print(common.safe(f"-> {target}{backup}"))
    elif not fixing.problems:
        print("nothing to change")
    if isinstance(fixing.exists, Findable) and fixing.exists.only_from_here:
        told = "an absolute path in --to lets training start anywhere"
        print(f"Some paths are found only when training starts in this folder, {Path.cwd()}: {told}")
    if fixing.problems:
        stayed = (
            f"{count(fixing.stayed, 'row')} stayed as {'it was' if fixing.stayed == 1 else 'they were'}"
            if fixing.written
            else "nothing was written"
        )
        print(f"resonance data fix-paths: {stayed}{hint(args, fixing)}", file=sys.stderr)
    return 1 if fixing.problems else 0


def hint(args: argparse.Namespace, fixing: Fixing) -> str:
    """The likely slip, if there is one, and what to type next."""
    if args.marker and not os.path.isdir(args.root):
        return f"\n{args.root} is no folder\nNext: give --root the folder that has what follows {args.marker}"
    if args.marker and os.path.isdir(inner := os.path.join(args.root, args.marker)):
        return f"\nNext: {common.again(args, '--root', inner)}"
    if "ambiguous" in fixing.problems:
        return "\nNext: tell them apart with --from PREFIX --to PREFIX"
    if fixing.written:
        return ""
    return "\nNext: correct the above, or add --keep-going, or --no-check if the files come later"
