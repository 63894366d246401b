# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One import from the first row to the entry: streamed, resumable, the file replaced whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..datafiles.columns import ALIASES, SCORE_FIELDS
from ..datafiles.infer import infer_entry
from ..datafiles.info import INFO, Change, register
from ..datafiles.read import read_rows
from ..datafiles.write import RowWriter, replacing, write_rows
from .columns import ReadRow, half_a_pair
from .images import Media, nearby_root
from .job import Job, Plan
from .layout import checked, to_row, uniform
from .source import Raw, Source
from .spec import Example, Importer, Misshaped, MissingColumn, Skip
from .table import fitting
from .work import ROWS, SKIPPED, STATE, Tally, Work

CHECKPOINT = 256  # raw rows between two states on disk
SLOW = 5.0  # seconds between two, if rows are slow
PATIENCE = 5.0  # seconds to wait for another import's change to the same dataset_info.json
SOME = 20  # so many first rows of which nothing can be made: it is another kind of file
REGISTER = "register"

Progress = Callable[[Tally, float], object]


@dataclass
class Result:
    """What came of an import.

    Attributes:
        file: the data file.
        name: of its entry.
        tally: what was read, written and left out.
        resumed: whether an unfinished import was gone on with.
        skipped: the list of skipped rows, if any were.
        change: to dataset_info.json; None if that was not asked for, or not done.
        entry_error: why it was not done; the data file is there all the same.
    """

    file: Path
    name: str
    tally: Tally
    resumed: bool
    skipped: Path | None
    change: Change | None = None
    entry_error: str = ""


class NothingImported(ValueError):
    """No row could be used, so no data file was written.

    Attributes:
        image_root: where the images seem to be.
        readers: importers that read such rows; "register" first if LlamaFactory does so without any.
    """

    def __init__(self, why: str, tally: Tally, skipped: Path | None = None, image_root: Path | None = None) -> None:
        super().__init__(why)
        self.tally, self.skipped, self.image_root = tally, skipped, image_root
        self.readers: list[str] = []


def import_dataset(importer: Importer, job: Job, progress: Progress | None = None) -> Result:
    """Import a public data set into a data file and register it.

    A call that was killed goes on where it stopped when it is made again, and gives the same bytes.

    Args:
        importer: knows the set.
        job: what is wanted.
        progress: called with (tally, part of the source that is done, from 0 to 1) after each raw row.

    Raises:
        NothingImported: if no row could be used.
        ValueError: if the job cannot be done; says what to change.
        OSError: if something cannot be written; BlockingIOError if another process makes the same file.
    """
    plan = Plan(importer, job)
    with replacing(plan.file) as file:  # its lock keeps a second import of this name away
        if job.restart:
            (plan.work / STATE).unlink(missing_ok=True)
        if plan.file.exists() and not job.force and not (plan.work / STATE).exists():
            raise ValueError(f"{plan.file} exists: --force replaces it, --name gives the new one another name.")
        source, media = plan.open()
        work = Work(plan.work, plan.order(source))
        with closing(work):
            try:
                if not work.tally.finished:
                    _read(plan, source, media, work, progress)
            except BaseException:
                if not work.tally.rows_in:  # nothing to go on with, only something in the way of another command
                    work.remove()
                raise
        skipped = _list_skipped(work, plan.skipped)
        if not work.tally.rows_out:
            work.remove()
            raise _nothing(plan, media, work.tally, skipped)
        _write(work, RowWriter(file, lines=job.suffix == "jsonl"))
    result = Result(plan.file, plan.name, work.tally, work.resumed, skipped)
    if job.registered:
        _register(plan, result)
    work.remove()
    return result


def _read(plan: Plan, source: Source, media: Media, work: Work, progress: Progress | None) -> None:
    """Take raw rows until the end, and a state to the disk now and then."""
    importer, options = plan.importer, plan.options
    if importer.survey is not None:
        values = (raw.value for raw in source.rows() if isinstance(raw.value, dict))
        options = options | importer.survey(values, options)
    tally, started = work.tally, time.monotonic() - work.tally.seconds
    left = None if plan.job.max_rows is None else plan.job.max_rows - tally.rows_in
    missing, foreign, saved = 0, 0, tally.seconds
    for raw in islice(source.rows(work.position), left):
        row = ReadRow(raw.value) if isinstance(raw.value, dict) else None
        raw.value = raw.value if row is None else row
        for result in converted(importer, raw, media, options):
            if isinstance(result, Skip):
                work.skip(raw.file, raw.row, result)
                missing += isinstance(result, MissingColumn)
                foreign += isinstance(result, Misshaped)
            else:
                work.write(result)
        if row is not None:
            tally.note(row)
        tally.rows_in += 1
        tally.seconds = time.monotonic() - started
        if foreign == tally.rows_in == SOME:
            work.remove()
            raise _another_set(importer, raw, tally)
        if progress is not None:
            progress(tally, source.done)
        if tally.rows_in % CHECKPOINT == 0 or tally.seconds - saved > SLOW:
            work.save(source.position())
            saved = tally.seconds
    if foreign and foreign == tally.rows_in and (missing == foreign or readers(raw)):
        work.remove()
        raise _another_set(importer, raw, tally)
    tally.finished = True
    work.save(None)


def _write(work: Work, writer: RowWriter) -> None:
    """Write the rows in their order; in JSON lines those that show a column first stand in front.

    `datasets` tells the columns of JSON lines by the first 10 MB, and fails where an empty one holds something later.
    """
    front = work.tally.showing if writer.lines else []
    until = max(front, default=-1) + 1
    early = [row for number, row in islice(read_rows(work.folder / ROWS), until) if number in front]
    rest = (row for number, row in read_rows(work.folder / ROWS) if number not in front)
    for row in chain(early, rest):
        writer.write(uniform(row, work.tally.columns))
    writer.close()


def _another_set(importer: Importer, raw: Raw, tally: Tally) -> NothingImported:
    found = readers(raw)
    fits = ", ".join(name for name in found if name != REGISTER)
    others = f"; that is what these importers read: {fits}" if fits else ""
    others += "; LlamaFactory reads them without an import" if REGISTER in found else ""
    few = f"the first {SOME}" if tally.rows_in == SOME else "the"
    columns = ", ".join(map(str, raw.value))
    told = f"{few} rows of {raw.file} are no rows of {importer.name}: they have the columns {columns}{others}"
    error = NothingImported(told, tally)
    error.readers = found
    return error


def readers(raw: Raw) -> list[str]:
    """What makes something of a raw row: `REGISTER` if it needs no import, and the names of importers."""
    if not isinstance(raw.value, dict):
        return []
    try:
        infer_entry(Path(raw.file), Path(INFO), rows=[raw.value])
    except (ValueError, OSError):
        return fitting(raw.value)
    return [REGISTER, *fitting(raw.value)]


def _nothing(plan: Plan, media: Media, tally: Tally, skipped: Path | None) -> NothingImported:
    if not tally.rows_in or not media.missing:
        given = plan.job.source or plan.importer.hub_id
        return NothingImported("no row could be used" if tally.rows_in else f"{given} holds no rows", tally, skipped)
    reference, folder = media.missing[0]
    near = nearby_root(media.missing)
    hint = f"they seem to be below {near}" if near else "--image-root DIR says what their paths are relative to"
    told = f"no row could be used; images are missing, such as {folder / reference}; {hint}"
    return NothingImported(told, tally, skipped, near)


def converted(importer: Importer, raw: Raw, media: Media, options: dict[str, Any]) -> Iterator[dict[str, Any] | Skip]:
    """The finished rows of a raw row, and what of it is left out."""
    try:
        if raw.error is not None:
            raise Skip("not JSON", raw.error)
        if not isinstance(raw.value, dict):
            raise Skip("not an object", f"{type(raw.value).__name__}: {str(raw.value)[:80]}")
        for example in importer.convert(raw.value, options):
            yield example if isinstance(example, Skip) else _finished(importer, example, raw, media)
    except Skip as skip:
        skip.whole_row = True
        yield skip


def _finished(importer: Importer, example: Example, raw: Raw, media: Media) -> dict[str, Any] | Skip:
    try:
        if isinstance(raw.value, ReadRow) and (lost := half_a_pair(example, raw.value)) is not None:
            raise MissingColumn(f"{lost} would be lost", "an answer alone would be left of a pair")
        example = checked(example)
        example.images = [media.image(image, raw.folder) for image in example.images]
        example.videos = [media.video(video, raw.folder) for video in example.videos]
        return to_row(example, importer.layout)
    except Skip as skip:
        return skip


def _list_skipped(work: Work, path: Path) -> Path | None:
    """Write the list of skipped rows beside the data file; an older import's list does not stay."""
    if not work.tally.listed:
        path.unlink(missing_ok=True)
        return None
    write_rows(path, (row for _, row in read_rows(work.folder / SKIPPED)), follow=False)
    return path


def _register(plan: Plan, result: Result) -> None:
    info = plan.job.info_path
    columns = [name for name in result.tally.columns if not (result.tally.gapped and name in SCORE_FIELDS)]
    given = {"columns": dict.fromkeys(ALIASES) | plan.columns(columns)}
    try:
        result.change = register(info, result.name, infer_entry(result.file, info, given), force=plan.job.force)
    except (ValueError, OSError) as error:  # the data are good all the same
        result.entry_error = str(error)
