# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data import`."""

import argparse
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...datafiles.text import count
from ...importers.images import FORMATS
from ...importers.job import Job
from ...importers.run import REGISTER, NothingImported, Result, import_dataset
from ...importers.spec import Importer, Option
from ...importers.table import IMPORTERS
from ...importers.work import Tally
from ..table import print_table
from . import common
from .progress import Progress

ANSWERS = ("answer", "ground_truth", "solution")  # columns of sets for rewards that hold what is right

SHOWN = 12  # reasons of skipped rows

EXAMPLES = (
    "resonance data import --list",
    "resonance data import rlaif_v --out data",
    "resonance data import mm_rlhf downloads/mm_rlhf --out data --image-root downloads/images --max-rows 1000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("importer", nargs="?", metavar="NAME", help="the data set; --list shows those that are known")
    source = "a file, folder, archive or hub id (default: the set's own)"
    add("source", nargs="?", metavar="PATH_OR_HUB_ID", help=source)
    add("--list", action="store_true", help="list the importers")
    add("--out", type=Path, metavar="DIR", help="folder of the data file, its images and dataset_info.json")
    add("--name", metavar="NAME", help="of the data file and the entry (default: the importer's)")
    formats = ("json", "jsonl")
    add("--format", dest="suffix", choices=formats, default="json", help="of the data file")
    root = "what image paths in rows are relative to; or an archive of them"
    add("--image-root", type=Path, metavar="DIR", help=root)
    add("--copy-images", action="store_true", help="copy images (not films) too, instead of referencing them in place")
    add("--image-format", choices=FORMATS, default="keep", help="jpeg, png: write all images so")
    add("--allow-missing-images", action="store_true", help="keep rows whose images are not there (yet)")
    add("--max-rows", type=int, metavar="N", help="read at most so many rows")
    add(
        "--split", metavar="NAME", help="of the hub set, or of a folder with files named after splits (default: train)"
    )
    info = "where to register (default: OUT/dataset_info.json)"
    add("--dataset-info", dest="info", type=Path, metavar="FILE", help=info)
    add("--no-register", dest="registered", action="store_false", help="leave dataset_info.json alone")
    add("--force", action="store_true", help="replace a data file and an entry of this name")
    add("--restart", action="store_true", help="forget an unfinished import instead of going on with it")
    own = parser.add_argument_group("options of single importers")
    for flag, readers in _readers().items():
        option = readers[0][1]
        helps = dict.fromkeys(f"{', '.join(n for n, o in readers if o.help == t.help)}: {t.help}" for _, t in readers)
        action: dict[str, Any] = {"action": "store_true"} if option.parse is None else {"metavar": "VALUE"}
        own.add_argument(flag, default=None, help="; ".join(helps).replace("%", "%%"), **action)


def _readers() -> dict[str, list[tuple[str, Option]]]:
    """Which importers read an option, and how."""
    readers: dict[str, list[tuple[str, Option]]] = {}
    for importer in IMPORTERS.values():
        for option in importer.options:
            readers.setdefault(option.flag, []).append((importer.name, option))
    return readers


def run(args: argparse.Namespace) -> int:
    """Turn a public data set into a LlamaFactory data file and register it."""
    if args.list:
        rows = [(each.name, each.stage, each.hub_id or "-", each.summary) for each in IMPORTERS.values()]
        print_table(("NAME", "STAGE", "HUB ID", "WHAT"), rows)
        print("\nNext: resonance data import NAME [PATH_OR_HUB_ID] --out data")
        return 0
    try:
        importer = _importer(args.importer)
        if args.out is None:
            raise ValueError(f"--out is missing: the folder for {importer.name}'s data file, for example --out data")
        args.options = _options(args, importer)
    except ValueError as error:
        raise common.WrongCall(f"{error}; Next: resonance data import --list") from error
    job = Job(**{field.name: getattr(args, field.name) for field in fields(Job)})
    print(f"{importer.name}: {importer.summary}\n{terms(importer, args.source)}", flush=True)
    try:
        with Progress() as progress:
            result = import_dataset(importer, job, progress)
    except NothingImported as error:
        _print_tally(error.tally)
        following = f"see {error.skipped}" if error.skipped else "resonance data import --list"
        if error.image_root is not None:
            following = common.again(args, "--image-root", error.image_root)
        elif error.readers and args.source and Path(args.source).is_file():
            name, out = error.readers[0], args.out
            way = ("--dataset-dir", out) if name == REGISTER else ("--out", out)
            following = common.typed(*(["import"] * (name != REGISTER)), name, args.source, *way)
        raise ValueError(f"{error}\nNext: {following}") from error
    except KeyboardInterrupt:
        again = f"the same command{' without --restart' * job.restart}"
        raise ValueError(f"interrupted; {again} goes on from here") from None
    _report(importer, job, result)
    return 0


def terms(importer: Importer, source: str | None) -> str:
    """The line about the licence; whether a file is of the set that its layout is known from cannot be told."""
    if importer.hub_id is None:
        return "Terms: those of the data that you give"
    if source in (None, importer.hub_id):
        return f"Terms: {importer.terms}"
    return f"Terms of {importer.hub_id}, if the rows are from there: {importer.terms}"


def _importer(name: str | None) -> Importer:
    if name is None:
        raise ValueError("which data set?")
    if name not in IMPORTERS:
        nearest = get_close_matches(name, IMPORTERS, n=3, cutoff=0.0)
        raise ValueError(f"no importer {name!r}; nearest: {', '.join(nearest)}")
    return IMPORTERS[name]


def _options(args: argparse.Namespace, importer: Importer) -> dict[str, Any]:
    """The importer's options that were given; those of others are an error that names who reads them."""
    own = {option.flag: option for option in importer.options}
    found, problems = {}, []
    for flag, readers in _readers().items():
        given = getattr(args, readers[0][1].key)
        if given is not None and flag not in own:
            problems.append(f"{flag} is read by {', '.join(name for name, _ in readers)}, not by {importer.name}")
        elif given is not None:
            option = own[flag]
            try:
                found[option.key] = given if option.parse is None else option.parse(given)
            except ValueError as error:
                problems.append(f"{flag}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return found


def _print_tally(tally: Tally) -> None:
    rate = f" in {tally.seconds:.1f} s ({tally.rows_in / tally.seconds:,.0f} rows/s)" if tally.seconds else ""
    print(f"{count(tally.rows_in, 'row')} read{rate}\n{count(tally.rows_out, tally.unit)} written")
    if tally.rows_out and (told := tally.told_unread):
        print(common.safe(told))
    for unit, counts, what in (
        (tally.unit, tally.skipped, ""),
        ("row", tally.rows_skipped, ", of which nothing could be made"),
    ):
        reasons = sorted(counts.items(), key=lambda item: -item[1])
        if reasons:
            print(f"{count(sum(counts.values()), unit)} left out{what}:")
        for reason, number in reasons[:SHOWN]:
            print(f"  {number:>9,}  {reason}")
        if more := reasons[SHOWN:]:
            print(f"  {sum(number for _, number in more):>9,}  for {len(more)} more reasons")


def _report(importer: Importer, job: Job, result: Result) -> None:
    """Print what came of an import and what to do next; ValueError if its entry could not be written."""
    if result.resumed:
        print("went on with an import that was not finished")
    _print_tally(result.tally)
    print(f"-> {result.file}")
    if result.skipped:
        print(f"-> {result.skipped} (what was skipped, and why)")
    if importer.note is not None:
        print(f"Note: {importer.note(importer.settled(job.options))}")
    if result.tally.gapped:
        few = f"{result.tally.scored:,} of {count(result.tally.rows_out, 'row')}"
        print(f"Note: only {few} have scores, so the entry declares none")
    if result.entry_error:
        register = common.typed("register", result.file, "--name", result.name, "--info", job.info_path)
        raise ValueError(f"the data file is there, its entry is not: {result.entry_error}\nNext: {register}")
    if job.registered:
        as_before = "" if result.change and result.change.diff else ", as it was"
        print(f"-> entry {result.name!r} in {job.info_path}{as_before}")
    stage = "dpo" if "chosen" in result.tally.columns else "ppo" if importer.stage == "ppo" else "sft"
    answer = next((name for name in result.tally.columns if name in ANSWERS), "COLUMN")
    rewards = f", `rewards: [{{name: exact, answer: {answer}}}]` or others" if stage == "ppo" else ""
    recipe = f"`stage: {stage}`{rewards}, `dataset: {result.name}`, `dataset_dir: {job.info_path.parent}`"
    beside = job.info_path.parent == job.out or not job.registered
    where = [] if beside else ["--dataset-dir", job.info_path.parent]
    print(f"Next: {common.typed('check', result.file, *where)}")
    print(f"Then, in a recipe: {recipe}; llamafactory-cli train RECIPE.yaml")
