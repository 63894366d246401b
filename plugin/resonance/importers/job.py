# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is to be imported and how, checked before the first row. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datafiles.columns import ALIASES, COLUMNS, MEDIA_COLUMNS
from ..datafiles.infer import require_plain
from ..datafiles.info import INFO, read_info
from .archives import is_archive, unpack
from .images import Media
from .source import Files, Source, find_source
from .spec import Importer

NAME = re.compile(r"[A-Za-z0-9_][\w.-]*")


@dataclass
class Job:
    """What to import, and how: the options of `resonance data import`, whose help explains each.

    Attributes:
        name: of the data file and the entry; None for the importer's.
        image_root: a folder or an archive; None for the folder of the rows' file.
        info: the dataset_info.json to register in, if `registered`; None for the one in `out`.
        options: those of the importer, by key.
    """

    source: str | None
    out: Path
    name: str | None = None
    suffix: str = "json"
    image_root: Path | None = None
    copy_images: bool = False
    image_format: str = "keep"
    allow_missing_images: bool = False
    max_rows: int | None = None
    split: str | None = None
    force: bool = False
    restart: bool = False
    info: Path | None = None
    registered: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def info_path(self) -> Path:
        return self.info or self.out / INFO


class Plan:
    """A job together with its importer: names, paths and options settled.

    Raises:
        ValueError: if the job cannot be done; says everything that is wrong with it.
    """

    def __init__(self, importer: Importer, job: Job) -> None:
        self.importer, self.job = importer, job
        self.name = job.name or importer.name
        self.file = job.out / f"{self.name}.{job.suffix}"
        self.skipped = job.out / f"{self.name}.skipped.jsonl"
        self.work = job.out / f".{self.name}.import"
        self.options = importer.settled(job.options)
        if job.registered:
            require_plain(self.file)
        problems = [*self._wrong_options(), *self._taken_name()]
        if problems:
            raise ValueError("; ".join(problems) + ".")

    def _wrong_options(self) -> list[str]:
        job, problems = self.job, []
        if not NAME.fullmatch(self.name):
            problems.append(f"--name {self.name!r}: letters, digits, _ - and . only")
        if self.file.resolve() == job.info_path.resolve() or self.name.endswith(".skipped"):
            problems.append(f"--name {self.name!r}: {self.file} is kept for something else")
        if job.max_rows is not None and job.max_rows < 1:
            problems.append(f"--max-rows {job.max_rows}: at least 1")
        if job.source is None and self.importer.hub_id is None:
            problems.append(f"{self.importer.name} is on no hub that we know: give the path of a file or folder")
        if job.source in (None, self.importer.hub_id) and not self.importer.streams:
            fetch = f"hf download --repo-type dataset {self.importer.hub_id} --local-dir FOLDER"
            problems.append(f"{self.importer.name} cannot be streamed: {fetch}, unpack it there, then give FOLDER")
        there = job.image_root is None or job.image_root.is_dir() or is_archive(job.image_root)
        if not there and not job.allow_missing_images:
            problems.append(f"--image-root {job.image_root}: no such folder or archive")
        if unknown := job.options.keys() - self.options.keys():
            problems.append(f"{self.importer.name} does not read {', '.join(sorted(unknown))}")
        return problems

    def _taken_name(self) -> list[str]:
        """An entry of this name for something else, found before hours of reading rather than after."""
        if not self.job.registered or self.job.force:
            return []
        info = self.job.info_path
        there = read_info(info).get(self.name)
        if there is None:
            return []
        there = there if isinstance(there, dict) else {}
        if os.path.abspath(info.parent / str(there.get("file_name", ""))) == os.path.abspath(self.file):
            return []
        stands = there.get("file_name") or there.get("hf_hub_url") or "something else"
        choices = "choose another --name, --force to change it, or --no-register"
        return [f"{info} has an entry {self.name!r} already, for {stands}: {choices}"]

    def open(self) -> tuple[Source, Media]:
        """Find the rows and the pictures; archives are unpacked below ``OUT/NAME_files``.

        Raises:
            ValueError: if they cannot be found, or an archive is refused.
        """
        job, importer = self.job, self.importer
        given, root, folder = job.source or importer.hub_id or "", job.image_root, job.out / f"{self.name}_files"
        if is_archive(path := Path(given).expanduser()):
            given = str(unpack(path, folder))
        if root is not None and is_archive(root):
            root = unpack(root, folder)
        hub_file = importer.hub_file(self.options) if importer.hub_file and given == importer.hub_id else None
        source = find_source(given, job.split, importer, hub_file)
        if isinstance(source, Files) and self.file.resolve() in [path.resolve() for path in source.files]:
            raise ValueError(f"{self.file} would be both read and written: give another --name or --out.")
        base = job.info_path.parent  # LlamaFactory's media_dir, unless a recipe names another
        images = job.out / f"{self.name}_images"
        return source, Media(images, base, root, job.copy_images, job.image_format, job.allow_missing_images)

    def order(self, source: Source) -> dict[str, Any]:
        """All that the rows depend on, as JSON; an import goes on only under the same."""
        job = self.job
        same = {key: getattr(job, key) for key in ("copy_images", "image_format", "allow_missing_images", "max_rows")}
        return {
            "importer": self.importer.name,
            "source": source.identity(),
            "--image-root": job.image_root and str(job.image_root.resolve()),
            "--dataset-info": str(job.info_path.parent.resolve()),
            **{f"--{key.replace('_', '-')}": value for key, value in (same | self.options).items()},
        }

    def columns(self, written: list[str]) -> dict[str, Any]:
        """The entry's columns for those that were written; what is beside them is no column to LlamaFactory."""
        known = {key: COLUMNS.get(key, key) for key in ALIASES}
        if self.importer.stage == "ppo":  # any other column is the rewards', whatever it is called
            known = {key: name for key, name in known.items() if key in ("prompt", "system", *MEDIA_COLUMNS)}
        return {key: name for key, name in known.items() if name in written}
