# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: a file is replaced whole or not at all, also under kill -9."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: two writers of one file are not kept apart there
    fcntl = None  # type: ignore[assignment]

LONGEST_NAME = 255  # bytes, of most file systems
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # told without a file's name, while it is written


class WriteError(OSError):
    """A file that cannot be written: the name is the one asked for, never that of a file on the way to it."""

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


class BusyError(WriteError, BlockingIOError):
    """Another process is writing the file."""


@contextmanager
def replacing(path: str | Path, mode: str = "w", *, sync: bool = True, follow: bool = True) -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    The text goes to ``.NAME.partial`` in the same folder, is flushed to the disk and renamed. A process that dies in
    between leaves that file behind, and the next writer of the same `path` takes it over. Missing folders are made;
    a symbolic link keeps pointing where it did, a file keeps its permissions, and its owner where that can be.

    Args:
        path: the file to replace or make.
        mode: ``"w"`` for UTF-8 text with ``\\n`` line ends, ``"wb"`` for bytes.
        sync: flush it to the disk before the renaming; without, a power failure, but no kill, can leave half of it.
        follow: write what a symbolic link points to. Off for names that no user chose: a folder from elsewhere may
            hold a link of that name, which is then replaced itself.

    Raises:
        WriteError: if it cannot be written; BusyError, a BlockingIOError, if another process is writing it.
    """
    target = Path(path).resolve() if follow else Path(path).parent.resolve() / Path(path).name
    partial = _partial(target)
    try:
        if follow and os.path.islink(path) and not target.exists():
            raise WriteError(errno.ENOENT, f"it is a link to {target}, which is not there", str(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(target, partial, mode, sync) as file:
            yield file
    except WriteError:
        raise
    except OSError as error:
        on_the_way = {str(name) for name in (partial, target, *target.parents)}
        if str(error.filename) in on_the_way or (error.filename is None and error.errno in FULL):
            why = error.strerror
            if isinstance(error, FileExistsError):
                why = f"{error.filename} is no folder"
            elif error.errno == errno.ELOOP:
                why = f"{error.filename} {error.strerror}"
            raise WriteError(error.errno, why, str(path)) from error
        raise


def _partial(target: Path) -> Path:
    name = f".{target.name}.partial"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{blake2b(os.fsencode(target.name), digest_size=16).hexdigest()}.partial"
    return target.with_name(name)


@contextmanager
def _replacing(target: Path, partial: Path, mode: str, sync: bool) -> Iterator[IO[Any]]:
    with open_own(partial, mode.replace("w", "a")) as file:
        _take(file, partial, target)
        file.truncate(0)
        try:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            if target.is_file() and not target.is_symlink():
                _like(target, partial)
            os.replace(partial, target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    if sync:
        _sync_folder(target.parent)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file whose name no user chose: what an earlier process left, but no link out of its folder, nor a device.

    Raises:
        OSError: it is one of these. A folder from elsewhere can hold such a thing under any name.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)

    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        file: IO[Any] = open(path, mode, opener=opener, **text)  # type: ignore[call-overload]
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
    else:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
            return file
        file.close()
    raise OSError(errno.ELOOP, "is in the way, a link, a device or a folder", str(path))


def _like(target: Path, partial: Path) -> None:
    """Give a new file the owner and the permissions of the one that it replaces."""
    before, now = target.stat(), partial.stat()
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        with suppress(PermissionError):  # only root may give a file away
            os.chown(partial, before.st_uid, before.st_gid)
    shutil.copymode(target, partial)


def _take(file: IO[Any], partial: Path, target: Path) -> None:
    """Be the only writer; the file must also still be the one of that name, or its last writer has just renamed it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(file.fileno()), os.stat(partial))
    except (BlockingIOError, FileNotFoundError):
        mine = False
    if not mine:
        raise BusyError(errno.EWOULDBLOCK, "another process is writing this file", str(target))


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def back_up(path: str | Path) -> Path:
    """Copy a file to ``NAME.bak`` and return the copy's path.

    However often a file is changed, two copies are kept: the oldest, which the second call moves to ``NAME.orig`` and
    no call ever replaces, and ``NAME.bak``, as it was before the last change.
    """
    path = Path(path)
    copy, oldest = (path.with_name(f"{path.name}.{suffix}") for suffix in ("bak", "orig"))
    if copy.exists() and not oldest.exists():
        os.replace(copy, oldest)
    with replacing(copy, "wb", follow=False) as out, open(path, "rb") as file:
        shutil.copyfileobj(file, out)
    shutil.copystat(path, copy)
    return copy


class RowWriter:
    """Write rows to an open text file one at a time: a JSON list, or an object a line.

    Args:
        file: open for writing, empty.
        lines: an object a line (``.jsonl``).
        indent: of a JSON list, as `json.dump` lays it out; None puts each row on a line of its own.
        ascii_only: write other characters as ``\\u`` escapes.
    """

    def __init__(self, file: IO[str], *, lines: bool, indent: int | None = None, ascii_only: bool = False) -> None:
        self.file, self.lines, self.indent, self.ascii_only = file, lines, indent, ascii_only
        self.count = 0

    def write(self, row: Any) -> None:
        """Append one row. Floats that are not finite are written as NaN and Infinity, as `json.dump` does."""
        if self.lines:
            self.file.write(json.dumps(row, ensure_ascii=self.ascii_only) + "\n")
        else:
            text = json.dumps(row, ensure_ascii=self.ascii_only, indent=self.indent)
            if self.indent:  # JSON escapes line ends within strings: what is left is layout
                text = " " * self.indent + text.replace("\n", "\n" + " " * self.indent)
            self.file.write((",\n" if self.count else "[\n") + text)
        self.count += 1

    def close(self) -> None:
        """Finish the list; the file stays open."""
        if not self.lines:
            self.file.write("\n]" if self.count else "[]")
            if self.indent is None:
                self.file.write("\n")


def require_json(path: Path) -> bool:
    """Whether a file of rows has an object a line.

    Raises:
        ValueError: if it is neither ``.json`` nor ``.jsonl``.
    """
    if (suffix := path.suffix.lower()) not in (".json", ".jsonl"):
        raise ValueError(f"{path}: rows are written to .json or .jsonl.")
    return suffix == ".jsonl"


def write_rows(path: str | Path, rows: Iterable[Any], *, follow: bool = True, **layout: Any) -> int:
    """Write rows to a ``.json`` or ``.jsonl`` file, atomically, and return how many there were.

    `follow`: as for `replacing`; `layout`: arguments of `RowWriter`.

    Raises:
        ValueError: for another suffix.
    """
    lines = require_json(Path(path))
    with replacing(path, follow=follow) as file:
        writer = RowWriter(file, lines=lines, **layout)
        for row in rows:
            writer.write(row)
        writer.close()
    return writer.count
