# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""--fix: a copy of a data set whose rows pass the check, and a list of the rows left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from ...datafiles.find import same_file
from ...datafiles.flags import SWAP, Flag, swapped
from ...datafiles.info import INFO
from ...datafiles.read import RowError
from ...datafiles.text import count
from ...datafiles.write import RowWriter, replacing
from ...rows.validate.column_types import places, type_name
from ...rows.validate.json_head import HEAD, JsonHead
from ..quiet import quiet
from .columns import Columns
from .duplicates import Duplicates
from .kinds import Found, has_error
from .mend import mend
from .rowfile import rows_of, unread
from .scan import Scan

SUFFIXES = (".json", ".jsonl")


def dropped_file(out: Path) -> Path:
    """Where the rows left out of a copy are listed."""
    return out.with_name(f"{out.stem}.dropped.jsonl")


def refuse_target(option: str, out: Path, suffixes: tuple[str, ...], read: Iterable[Path], force: bool) -> None:
    """Raise ValueError if a file cannot be written there, or only over one that is read or that exists.

    Args:
        option: of the command line, for the message.
        out: the file to be written.
        suffixes: those it may have.
        read: the files that are read.
        force: write over a file that exists and is not read.
    """
    over = next((path for path in read if same_file(out, path)), None)
    problems = {
        f"writes {' or '.join(suffixes)}.": out.suffix.lower() not in suffixes,
        "is a folder; name a file in it.": out.is_dir(),
        "is the name of the list of data sets. Choose another name.": out.name == INFO,
        f"would write over {over}, which is being read. Choose another name.": over is not None,
        "exists; add --force to write over it, or give another name.": out.exists() and not force,
    }
    if problem := next((problem for problem, holds in problems.items() if holds), None):
        raise ValueError(f"{option} {out}: {problem}")


class Embedded(ValueError):
    """Rows hold bytes, which no JSON can."""


class Repair:
    """Write the cleaned copy of a scanned data set, and count what was done.

    Args:
        scan: of the whole set; its looks at images are used again.
        out: the copy.
        strict: rows with warnings are mended or dropped as well.
        flags: of people, by file and row: a swapped pair is turned round, rows with other flags are left out.
    """

    def __init__(
        self, scan: Scan, out: Path, strict: bool = False, flags: Mapping[str, Mapping[int, Flag]] | None = None
    ) -> None:
        self.scan, self.out, self.strict, self.flags = scan, out, strict, flags or {}
        self.judge, self.seen = scan.judge, Duplicates()
        self.head, self.start = JsonHead(), 0
        self.kept = self.mended = self.dropped = 0
        self.mended_kinds, self.dropped_kinds = Counter[str](), Counter[str]()

    def run(self) -> str:
        """Write the copy and the list of dropped rows, each whole or not at all; return what was done, in two lines.

        Raises:
            Embedded: if rows hold bytes.
            ValueError: if no row is left or can be judged, rows show too late for JSON lines what a column is, or a
                flag would swap what is no pair.
            OSError: if a file cannot be written.
        """
        if self.scan.rows and not self.scan.entry.columns:
            raise ValueError(f"--fix {self.out}: nobody knows which column is what, so no row can be judged.")
        self._refuse_swaps()
        dropped_rows = replacing(dropped_file(self.out), follow=False)
        with replacing(self.out) as kept, dropped_rows as dropped, quiet():
            writer = RowWriter(kept, lines=self.out.suffix.lower() == ".jsonl")
            for path in self.scan.entry.files:
                self._file(path, writer, dropped)
            if not self.kept:
                raise ValueError(f"--fix {self.out}: no row would be left, so nothing was written.")
            for late in self.head.findings(str(self.out)):
                raise ValueError(
                    f"--fix {self.out}: row {late.row} of it: {late.message}. Give a name that ends in .json."
                )
            writer.close()
        return (
            f"{self.out}: {count(self.kept, 'row')}, {self.mended:,} of them mended{_listed(self.mended_kinds)}\n"
            f"{dropped_file(self.out)}: {count(self.dropped, 'row')} left out{_listed(self.dropped_kinds)}"
        )

    def _refuse_swaps(self) -> None:
        swaps = [flag.row for flags in self.flags.values() for flag in flags.values() if flag.flag == SWAP]
        if swaps and not self.scan.entry.ranking:
            raise ValueError(f"--flags: {SWAP} of row {swaps[0]}: only pairs can be swapped, and this set has none.")

    def _file(self, path: Path, writer: RowWriter, dropped: IO[str]) -> None:
        file, flags = str(path), self.flags.get(str(path), {})

        def drop(number: int | None, row: Any, found: list[Found]) -> None:
            problems = [{"kind": kind, "message": message} for kind, message in found]
            record = {"file": file, "row": number, "problems": problems, "data": row}
            dropped.write(json.dumps(record, default=repr) + "\n")
            self.dropped += 1
            self.dropped_kinds.update({kind for kind, _ in found})

        def unreadable_line(number: int, message: str) -> None:
            drop(number, None, [(unread(path), message)])

        columns = self.scan.columns[file]
        try:
            for number, row in rows_of(self.scan.entry, path, unreadable_line)[1]:
                flag = flags.get(number)
                if flag is not None and flag.flag != SWAP:
                    drop(number, row, [(f"flagged {flag.flag}", flag.note)])
                    continue
                if flag is not None:
                    row = swapped(row, self.scan.entry.columns)
                mended, before, found = self._row(file, number, row, columns)
                before = [*before, ("swapped by a flag", "")] if flag is not None else before
                if found:
                    drop(number, row, found)
                    continue
                self.mended += bool(before)
                self.mended_kinds.update({kind for kind, _ in before})
                self.kept += 1
                if writer.lines:
                    self.start = self.start if self.start > HEAD else writer.file.tell()
                    self.head.add(writer.count, mended, self.start)
                try:
                    writer.write(mended)
                except TypeError as error:
                    cannot = f"--fix writes JSON, and row {number} of {file} cannot be ({error})"
                    raise Embedded(f"{cannot}. Import it first: embedded images become files.") from error
        except RowError as error:  # what stands before the break is sound
            drop(error.row, None, [("file unreadable", str(error))])

    def _row(self, file: str, number: int, row: Any, columns: Columns) -> tuple[Any, list[Found], list[Found]]:
        """Return the row, mended if need be, what was wrong with it, and what still is."""
        aligned, found = self._alone(row, columns)
        before = found = self._wrong(found)
        if before and isinstance(row, dict):
            row = mend(row, self.judge.align, columns)
            aligned, found = self._alone(row, columns)
            found = self._wrong(found)
        if not found and aligned is not None and not aligned["_broken"]:
            found = self._wrong(self.judge.beside(self.seen, file, number, aligned))
        return row, before, found

    def _alone(self, row: Any, columns: Columns) -> tuple[dict[str, Any] | None, list[Found]]:
        aligned, found = self.judge.aligned(row)
        if isinstance(row, dict):
            for place, value in places(row):
                usual = columns.usual(place)
                if usual is not None and type_name(value) != usual:
                    found = [*found, ("mixed column", f"`{place}` is {type_name(value)}, not {usual}")]
        return aligned, found + (self.judge.alone(row, aligned) if aligned is not None else [])

    def _wrong(self, found: list[Found]) -> list[Found]:
        """What of the findings must not be in the copy."""
        return [each for each in found if self.strict or has_error([each])]


def _listed(kinds: Counter[str]) -> str:
    return f" ({', '.join(f'{number:,} {kind}' for kind, number in kinds.most_common())})" if kinds else ""
