# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Archives are unpacked inside their own folder, or not at all. Standard library only."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..datafiles.columns import MEDIA_SUFFIXES
from ..datafiles.read import SUFFIXES
from ..datafiles.text import digest
from ..datafiles.write import replacing

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
IMAGES, FILMS = MEDIA_SUFFIXES["images"], MEDIA_SUFFIXES["videos"]
WANTED = (*SUFFIXES, *IMAGES, *FILMS)
SHOWN = 5  # members named in a message
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError),  # cut short, a method that is not known, a password
)


class _Member(NamedTuple):
    """A member by its path, with slashes: some programs on Windows write backslashes. `plain`: no link, no device."""

    name: str
    size: int
    plain: bool
    open: Callable[[], Any]

    @property
    def path(self) -> str:
        return self.name.replace("\\", "/")


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(ARCHIVES)


def unpack(archive: Path, parent: Path) -> Path:
    """Unpack the data, images and films of an archive into a folder of its own below `parent`, and return that.

    The folder is named by the archive's name, size and time, so another archive of the same name mixes with nothing.
    What is there already with the right size is kept, so that a killed call can be repeated.

    Raises:
        ValueError: if a member's path climbs out of the folder, a member is a link or a device, the archive is
            damaged, or the disk is too small. The members' names are looked at before anything is written.
    """
    status = archive.stat()
    folder = parent / f"{archive.name}-{digest(repr((status.st_size, status.st_mtime_ns))).hex()[:8]}"
    try:
        with _members(archive) as members:
            wanted = _admitted(members, archive)
            folder.mkdir(parents=True, exist_ok=True)
            missing = [member for member in wanted if not _is_there(folder / member.path, member.size)]
            free = shutil.disk_usage(folder).free
            if sum(member.size for member in missing) > free:
                need = sum(member.size for member in wanted)
                raise ValueError(f"{archive}: unpacks to {need:,} bytes; {folder} has {free:,} left.")
            for member in missing:
                _write(member, folder / member.path, archive)
    except DAMAGED as error:
        raise ValueError(f"{archive}: cannot be unpacked ({type(error).__name__}: {error}).") from error
    return folder


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as pack:
            files = [info for info in pack.infolist() if not info.is_dir()]
            plain = [stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG) for info in files]
            opens = [partial(pack.open, info) for info in files]
            yield [_Member(i.filename, i.file_size, p, o) for i, p, o in zip(files, plain, opens, strict=True)]
    else:
        with tarfile.open(archive) as tar:
            entries = [entry for entry in tar.getmembers() if not entry.isdir()]
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass  # the checksum of a compressed archive stands at its end, and is looked at there only
            yield [_Member(e.name, e.size, e.isreg(), partial(tar.extractfile, e)) for e in entries]


def _admitted(members: list[_Member], archive: Path) -> list[_Member]:
    """The members to unpack, if there is nothing wrong with any."""
    climbing = [member.name for member in members if _climbs_out(member.name)]
    odd = [member.name for member in members if not member.plain]
    for names, what in ((climbing, "would be written outside of the folder"), (odd, "are links or devices")):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise ValueError(
                f"{archive}: refused, nothing was unpacked: {', '.join(map(repr, names[:SHOWN]))}{more} {what}. "
                "If you trust it, unpack it yourself and give the folder."
            )
    wanted = [member for member in members if _is_wanted(PurePosixPath(member.path))]
    if not wanted:
        raise ValueError(f"{archive}: holds no data, picture or film ({', '.join(WANTED)}).")
    return wanted


def _climbs_out(name: str) -> bool:
    """Whether a relative path, with either kind of slash, leaves the folder it is relative to, or is absolute."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or name[1:2] == ":" or ".." in parts or "\0" in name


def _is_wanted(path: PurePosixPath) -> bool:
    return path.suffix.lower() in WANTED and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _is_there(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _write(member: _Member, target: Path, archive: Path) -> None:
    with member.open() as source, replacing(target, "wb", sync=False, follow=False) as file:
        left = member.size
        while block := source.read(min(left + 1, 1 << 20)):
            left -= len(block)
            if left < 0:
                raise ValueError(f"{archive}: refused: {member.name!r} is longer than the archive says.")
            file.write(block)
