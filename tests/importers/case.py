# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A public set made small: raw rows in a file of its documented schema, and the rows that must come out."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from resonance.cli.main import main


def picture(number: int, kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (56, 56)) -> bytes:
    """The bytes of an image file; another number, another colour."""
    out = io.BytesIO()
    Image.new("RGB", size, (number * 40 % 256, number % 256, 90)).convert(mode).save(out, kind)
    return out.getvalue()


@dataclass
class Case:
    """
    Attributes:
        id: of the test.
        importer: its name.
        rows: as the set has them, a list but for sets that are an object of rows.
        expected: rows of the data file; images as the bytes that must be in the files their paths lead to.
        suffix: of the raw file.
        media: files beside the raw file, by relative path.
        flags: of the command, beside NAME, PATH and --out; {folder} stands for the raw file's.
        file: name of the raw file without suffix.
        given: what is given in its place, a file beside it.
        recipe: keys for the step of training, beside stage and data.
    """

    id: str
    importer: str
    rows: Any
    expected: list[dict[str, Any]]
    suffix: str = ".parquet"
    media: dict[str, bytes] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    file: str = "rows"
    given: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def lay_out(self, folder: Path) -> Path:
        """Write the raw file and what lies beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.media.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        raw = write(folder / f"{self.file}{self.suffix}", self.rows)
        return raw if self.given is None else folder / self.given

    def run(self, folder: Path, out: Path, *flags: str) -> int:
        """Import it through the command line."""
        raw = self.lay_out(folder)
        own = [flag.format(folder=folder) for flag in self.flags]
        return main(["data", "import", self.importer, str(raw), "--out", str(out), *own, *flags])

    @property
    def stage(self) -> str:
        return "dpo" if "chosen" in self.expected[0] else "sft" if "conversations" in self.expected[0] else "ppo"


def write(path: Path, rows: Any) -> Path:
    """Raw rows as a file of the type that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def with_pictures(row: dict[str, Any], out: Path) -> dict[str, Any]:
    """A written row, its paths replaced by the bytes they lead to, as LlamaFactory resolves them."""

    def read(path: Any) -> Any:
        return [read(frame) for frame in path] if isinstance(path, list) else (out / path).read_bytes()

    return row | {name: [read(path) for path in row[name]] for name in ("images", "videos") if name in row}


def pair(question: str, chosen: str, rejected: str, *images: bytes, **columns: Any) -> dict[str, Any]:
    """A row of the output for one question."""
    row = {
        "conversations": [{"from": "human", "value": question}],
        "chosen": {"from": "gpt", "value": chosen},
        "rejected": {"from": "gpt", "value": rejected},
    }
    return row | ({"images": list(images)} if images else {}) | columns


def answer(question: str, said: str, *images: bytes, **columns: Any) -> dict[str, Any]:
    """A supervised row of the output for one question."""
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": said}]
    return {"conversations": turns} | ({"images": list(images)} if images else {}) | columns
