# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datafiles.flags import SWAP
from ...datafiles.info import INFO
from ..terminal import painted, watching_rows
from . import common
from .advice import import_command, media_columns, settings

if TYPE_CHECKING:
    from ...checks.data.entry import Entry
    from ...checks.data.findings import Findings
    from ...checks.data.judge import Options
    from ...checks.data.scan import Scan

NONE_PLACED = " but 0 `"  # in a finding about a row with media and without a placeholder

EXAMPLES = (
    "resonance data check my_pairs",
    "resonance data check my_pairs.json --fix my_pairs.clean.json",
    "resonance data check my_pairs --against my_held_out --json",
    "resonance data check my_pairs --model Qwen/Qwen2-VL-2B-Instruct --template qwen2_vl --cutoff-len 4096",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.epilog = "Exit code: 0 no errors, 1 errors in a TARGET (with --strict also warnings), 2 called wrongly."
    common.add_data(
        parser, "targets", nargs="+", metavar="TARGET", help="a data file, a folder, or a name in dataset_info.json"
    )
    add("--dataset-dir", default="data", metavar="DIR", help="folder of dataset_info.json")
    add(
        "--media-dir",
        metavar="DIR",
        help="folder that media paths start from (default: that of dataset_info.json, as in training)",
    )
    add("--decode", action="store_true", help="decode every image in full, not only its header and its end")
    add(
        "--max-pixels", type=int, metavar="N", help="an image with more pixels is called oversized (default: 89478485)"
    )
    add("--score-range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="scores outside are errors")
    add("--against", metavar="OTHER", help="another file, folder or name that must share no rows, say the eval set")
    add("--model", metavar="MODEL", help="count tokens with the tokenizer and processor of this model")
    add("--template", metavar="NAME", help="LlamaFactory's template: a text-only one has no <image>; with --model")
    add("--cutoff-len", type=int, metavar="N", help="with --model: longer rows are errors (default: 2048)")
    add("--image-max-pixels", type=int, metavar="N", help="with --model: as in the recipe (default: LlamaFactory's)")
    add("--limit", type=int, metavar="N", default=5, help="problems shown of each kind; 0 for all")
    add("--strict", action="store_true", help="warnings count as errors")
    add("--json", action="store_true", help="print a list of objects with file, row, kind, message, fix, severity")
    add("--html", type=Path, metavar="REPORT.html", help="write one page with histograms and thumbnails")
    add("--force", action="store_true", help="with --fix and --html: write over files that exist")
    add("--fix", type=Path, metavar="OUT.json", help="write a copy without errors, and OUT.dropped.jsonl")
    common.add_flags(parser, f"with --fix, leave these rows out, or turn a pair round ({SWAP})")


def run(args: argparse.Namespace) -> int:
    """Report every problem of data files, with row numbers, before training finds the first."""
    from ...checks.data.entry import find_entries

    targets = dict.fromkeys(args.targets)
    found = [entry for target in targets for entry in find_entries(target, args.dataset_dir, args.media_dir)]
    entries = [entry for i, entry in enumerate(found) if entry not in found[:i]]
    others = [] if args.against is None else find_entries(args.against, args.dataset_dir, args.media_dir)
    refuse_outputs(args, entries, others)
    where = (args.targets[0], "--dataset-dir", args.dataset_dir)
    args.placed = common.placed_flags(args.flags, entries[0].files, *where)
    return check(args, entries, make_options(args, others))


def refuse_outputs(args: argparse.Namespace, entries: list[Entry], others: list[Entry]) -> None:
    """Raise ValueError, before anything is read, if --fix or --html cannot be written or names a file to be read."""
    from ...checks.data.repair import SUFFIXES, dropped_file, refuse_target

    if args.force and args.fix is None and args.html is None:
        raise ValueError("--force is for --fix and --html.")
    if args.flags is not None and args.fix is None:
        raise ValueError(f"--flags is for --fix.\nNext: {common.again(args, '--fix', 'OUT.json')}")
    if args.fix is not None and len(entries) != 1:
        raise ValueError(f"--fix cleans one data set at a time; the targets are {len(entries)}.")
    read = [path for entry in (*entries, *others) for path in entry.files]
    if args.fix is not None:
        refuse_target("--fix", args.fix, SUFFIXES, read, args.force)
        refuse_target("--fix", dropped_file(args.fix), SUFFIXES, read, args.force)
    if args.html is not None:
        refuse_target("--html", args.html, (".html", ".htm"), read, args.force)


def make_options(args: argparse.Namespace, others: list[Entry]) -> Options:
    """Turn the command line into what is asked of a row; loads a model's tokenizer, or reads the other set.

    Raises:
        ValueError: if options do not go together, or what they name cannot be read.
    """
    from ...checks.data.duplicates import Leakage
    from ...checks.data.images import MAX_PIXELS
    from ...checks.data.judge import Options
    from ...checks.data.lengths import TokenCounter, expands
    from ...checks.data.scan import remember

    if args.model is not None and args.template is None:
        raise ValueError("--model needs --template: tokens are counted with both.")
    if args.model is None and (args.cutoff_len is not None or args.image_max_pixels is not None):
        raise ValueError("--cutoff-len and --image-max-pixels need --model and --template.")
    if args.score_range is not None and not args.score_range[0] <= args.score_range[1]:
        raise ValueError(f"--score-range {args.score_range[0]} {args.score_range[1]}: the lower one goes first.")
    least = {"limit": 0, "max_pixels": 1, "cutoff_len": 1, "image_max_pixels": 1}
    for name, low in least.items():
        if getattr(args, name) is not None and getattr(args, name) < low:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: is {low} or more.")
    text_only = args.template is not None and not expands(args.template)
    lengths = None
    if args.model is not None:
        settings = {} if args.image_max_pixels is None else {"image_max_pixels": args.image_max_pixels}
        lengths = TokenCounter(args.model, args.template, args.cutoff_len or 2048, settings)
    against = None
    if args.against is not None:
        against = Leakage(args.against)
        for entry in others:
            if complaints := remember(entry, against):
                raise ValueError(f"--against {args.against}: {len(complaints)} problems; the first: {complaints[0]}")
    score_range = None if args.score_range is None else tuple(args.score_range)
    return Options(args.decode, score_range, args.max_pixels or MAX_PIXELS, lengths, against, text_only)


def check(args: argparse.Namespace, entries: list[Entry], options: Options) -> int:
    """Scan, report and, if asked, repair; returns the exit code."""
    from ...checks.data.findings import Findings
    from ...checks.data.page import Gallery, write_page
    from ...checks.data.repair import Embedded, Repair
    from ...checks.data.scan import Scan
    from ...checks.data.text import lines

    limit = args.limit or None
    findings = Findings(max(args.limit, 1000), spill=args.json or limit is None)
    gallery = Gallery() if args.html else None
    with watching_rows(args.json):
        scans = [Scan(entry, options, findings, gallery).run() for entry in entries]
    if options.lengths is not None:
        scans[0].tallies |= {"tokens": options.lengths.total, "image tokens": options.lengths.image}
    if args.json:
        print_json(findings)
    else:
        for line in lines(scans, findings, limit):
            print(painted(line))
        kinds = {group.kind for scan in scans for group in findings.groups(scan.files)}
        if args.against is not None and not {"leaked row", "leaked image"} & kinds:
            print(f"No row and no image is shared with {args.against}")
    told = sys.stderr if args.json else sys.stdout
    if gallery is not None:
        write_page(args.html, scans, findings, gallery)
        print(f"{args.html}: the same with pictures", file=told)
    if args.fix is not None:
        try:
            print(Repair(scans[0], args.fix, args.strict, args.placed).run(), file=told)
        except Embedded as error:
            raise ValueError(f"{error}\nNext: {import_of(entries[0])}") from error
        print(f"Next: {register_command(args, entries[0])}", file=told)
    elif len(entries) == 1 and scans[0].rows and not args.json:
        following = cure(args, scans[0], findings) if findings.count("error") else recipe_lines(args, entries[0])
        print(common.safe(following))
    wrong = findings.count("error") + args.strict * findings.count("warning")
    return 1 if wrong else 0


def recipe_lines(args: argparse.Namespace, entry: Entry) -> str:
    """What a recipe says to train on a set without errors, or what makes a file a set."""
    from ...datafiles.find import find

    data = find(args.targets[0], Path(args.dataset_dir, INFO))
    if data.name is None or data.info is None:
        return f"Next: {common.typed('register', data.path)}"
    media = f", `media_dir: {entry.media_dir}`" if args.media_dir else ""
    return f"Next: `dataset: {data.name}`, `dataset_dir: {data.info.parent}`{media} in a recipe"


def cure(args: argparse.Namespace, scan: Scan, findings: Findings) -> str:
    """What to do about errors: another place for images, an import, a cleaned copy; nothing if none of them helps."""
    from ...checks.data.kinds import KINDS
    from ...checks.data.mend import MENDED

    probe, files, media_dir = scan.judge.probe, scan.entry.files, scan.entry.media_dir
    embedded = len(probe.sizes) > 0 and not probe.facts
    wrong = {group.kind: group.count for group in findings.groups(scan.files) if KINDS[group.kind].severity == "error"}
    if embedded or not scan.entry.columns or "rejected unread" in wrong:  # which no cleaned copy helps
        return f"Next: {import_of(scan.entry)}, if this is a public set as it was downloaded"
    if "placeholder count" in wrong and (command := name_media(args, scan.entry)):
        return f"Next: {command}"
    missing = sum(wrong.get(f"{medium} missing", 0) for medium in ("image", "video", "audio"))
    if missing * 2 > scan.rows and len(files) == 1 and files[0].suffix.lower() in (".json", ".jsonl"):
        where = [] if Path(media_dir) == files[0].parent else ["--media-dir", media_dir]
        command = common.typed("fix-paths", files[0], *where, "--search", "DIR")
        return f"Next: {command}, where DIR is the folder that has the media"
    if "placeholder count" in wrong and not any(NONE_PLACED in each.message for each in findings.all(scan.files)):
        wrong.pop("placeholder count")  # a copy gets placeholders only in rows that have none
    if findings.rows("error", scan.files) == scan.rows + scan.unread and not MENDED & wrong.keys():
        return "Every row has an error that cannot be mended: a copy without errors would be empty."
    clean = (files[0] if len(files) == 1 else files[0].parent).with_suffix(".clean.json")  # not among the others
    return f"Next: {common.again(args, '--fix', clean)}"


def name_media(args: argparse.Namespace, entry: Entry) -> str | None:
    """What declares the columns that look like media, where the entry names none; None if there is nothing to name."""
    from ...datafiles.find import find

    data = find(args.targets[0], Path(args.dataset_dir, INFO))
    if data.name is None or data.info is None or entry.has_media:
        return None
    if not (media := media_columns(data.path, entry.columns.values())):
        return None
    where = ["--dataset-dir", data.info.parent] if data.info.parent != Path("data") else []
    sets = settings(data.path, data.info, keys_of(entry, media))
    return common.typed("register", data.path, "--name", data.name, *where, "--force", *sets)


def import_of(entry: Entry) -> str:
    """The import of a set's files, or of one like it."""
    files = entry.files
    return import_command(files[0] if len(files) == 1 else files[0].parent) or "resonance data import --list"


def register_command(args: argparse.Namespace, entry: Entry) -> str:
    """What makes the copy a data set with the entry of the original, whose media paths start at the same folder."""
    folder = args.dataset_dir if args.media_dir else entry.media_dir
    where = ["--dataset-dir", folder] if Path(folder) != Path("data") else []
    return common.typed("register", args.fix, *where, *settings(args.fix, Path(folder, INFO), keys_of(entry)))


def keys_of(entry: Entry, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An entry as dataset_info.json would have it, with more columns."""
    columns = {**entry.columns, **(more or {})}
    return {"formatting": entry.formatting, "ranking": entry.ranking, "columns": columns, "tags": entry.tags}


def print_json(findings: Findings) -> None:
    """Print a list of objects, one a line."""
    between = "["
    for problem in findings.all():
        print(between + json.dumps(problem.as_dict()), end="")
        between = ",\n "
    print("]" if between != "[" else "[]")
