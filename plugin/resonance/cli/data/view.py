# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data view`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datafiles.find import DataSet, entry_of, find
from ...datafiles.flags import SUFFIX, flags_file
from ...datafiles.info import INFO
from ...datafiles.text import count
from . import common

if TYPE_CHECKING:
    from ...datafiles.rowindex import RowIndex

LOOPBACK = "127.0.0.1"

EXAMPLES = (
    "resonance data view my_pairs",
    "resonance data view my_pairs.json --flags bad.jsonl",
    "resonance data view my_pairs --check --port 7861 --no-browser",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.epilog = "Flags are read by `resonance data check --fix` and `resonance data score-filter`. Ctrl-C ends it."
    add("data", metavar="FILE|NAME", help=f"a data file or folder, or a name in {INFO}")
    common.add_info(parser)
    add("--media-dir", type=Path, metavar="DIR", help="where relative paths start; default: the dataset's folder")
    add("--flags", type=Path, metavar="FILE", help=f"where flags are kept; default: NAME{SUFFIX} beside the data")
    add("--source", metavar="COLUMN", help="a column to filter by; default: source, category, tag or the like")
    add("--limit", type=int, metavar="N", help="open the first N rows only")
    add(
        "--check", action="store_true", help="judge all rows as `data check` does, to filter by problems; takes longer"
    )
    add("--host", default=LOOPBACK, metavar="ADDRESS", help="address to listen at; the default is this machine alone")
    add("--port", type=int, default=0, metavar="N", help="default: one that is free")
    add("--no-browser", action="store_true", help="print the address only")


def run(args: argparse.Namespace) -> int:
    """Look at rows on a local page: pictures, a word diff of the answers, filters, and flags on bad rows."""
    from ...datafiles.parts import Layout
    from ...datafiles.rowindex import RowIndex
    from ...view.server import Server
    from ...view.session import Session

    if args.limit is not None and args.limit < 1:
        raise common.WrongCall(f"--limit {args.limit}: is 1 or more.")
    if not 0 <= args.port <= 65535:
        raise common.WrongCall(f"--port {args.port}: is from 0 to 65535.")
    if args.check and common.info_path(args).name != INFO:
        raise common.WrongCall(f"--check reads the entry from a {INFO}, and --info {args.info} is called otherwise.")
    data = find(args.data, common.info_path(args))
    flags = args.flags or flags_file(data.path)
    if flags.suffix != ".jsonl":
        raise common.WrongCall(f"--flags {flags}: give a name that ends in {SUFFIX}.")
    layout = Layout(entry_or_none(data))
    rows = RowIndex(files_of(data), layout, args.limit, args.source).open()
    if not len(rows):
        raise ValueError(f"{args.data}: no row can be read.\nNext: {common.typed('check', args.data)}")
    if args.source is not None and len(rows.sources) < 2:
        raise ValueError(f"--source {args.source}: no column that has two values.")
    media_dir = args.media_dir or data.media_dir
    problems = problems_of(args, rows) if args.check else None
    session = Session(args.data, rows, flags, media_dir, problems)
    try:
        server = Server(session, args.host, args.port)
    except OSError as error:
        raise ValueError(f"cannot listen at {args.host}, port {args.port}: {error.strerror}; give others.") from error
    if not server.loopback:
        print(f"WARNING: --host {args.host}: whoever reaches it sees the rows and can flag them.", file=sys.stderr)
    with server:
        serve(server, not args.no_browser)
    print(common.safe(f"{count(len(session.flags), 'flag')} in {flags}" if session.flags else "No flags."))
    return 0


def files_of(data: DataSet) -> list[Path]:
    """The files of a set, without those that lie beside data in a folder, such as its flags."""
    from ...checks.data.entry import OURS

    files = data.files
    return files if data.path.is_file() else [file for file in files if not file.name.endswith(OURS)]


def entry_or_none(data: DataSet) -> dict[str, Any] | None:
    """The entry of a set; None, with a remark, where none can be told, and rows are shown by column."""
    try:
        return entry_of(data)
    except ValueError as error:
        remark = f"Shown by column, because this file has no entry and none can be told:\n{error}"
        print(common.safe(remark), file=sys.stderr)
        return None


def problems_of(args: argparse.Namespace, rows: RowIndex) -> dict[int, list[tuple[str, str]]]:
    """What `data check` finds wrong, by row."""
    from ...checks.data.entry import find_entries
    from ...checks.data.findings import Findings
    from ...checks.data.judge import Options
    from ...checks.data.scan import Scan
    from ...datafiles.rowindex import found_rows

    findings, found = Findings(spill=True), dict[int, list[tuple[str, str]]]()
    media_dir = None if args.media_dir is None else str(args.media_dir)
    where = {(file, number): index for file, number, index in found_rows(rows)}
    for entry in find_entries(args.data, str(common.info_path(args).parent), media_dir):
        Scan(entry, Options(), findings).run()
    for problem in findings.all():
        if problem.row is not None and (index := where.get((problem.file, problem.row))) is not None:
            found.setdefault(index, []).append((problem.kind, problem.message))
    return found


def serve(server: Any, browse: bool) -> None:
    """Serve until Ctrl-C; opens a browser where there is a screen."""
    try:  # from the moment that the address is known
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        if browse and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    except KeyboardInterrupt:
        print()
