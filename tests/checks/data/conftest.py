# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pieces of the tests of `resonance data check`: small files with real images, and the command itself."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resonance.cli.main import main

Row = dict[str, Any]
COLUMNS = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
SCORES = {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}


def pair(i: int, **changes: Any) -> Row:
    """Row i, sound unless changed."""
    row = {
        "instruction": f"<image>What is picture {i}?",
        "chosen": f"It is {i}.",
        "rejected": f"It is {i + 1}.",
        "images": [f"images/{i % 4}.png"],
        "score_chosen": 4.0,
        "score_rejected": 1.5,
    }
    return row | changes


@dataclass
class Result:
    """What the command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def problems(self) -> list[Row]:
        return json.loads(self.out)

    def by_kind(self) -> dict[str, list[Any]]:
        kinds: dict[str, list[Any]] = {}
        for problem in self.problems:
            kinds.setdefault(problem["kind"], []).append(problem["row"])
        return kinds


@dataclass
class Folder:
    """A dataset_dir of one test."""

    path: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, rows: list[Any], file: str = "pairs.json", name: str | None = "pairs", **entry: Any) -> Path:
        """Write rows, and an entry for them unless `name` is None; `columns` replaces those of scored pairs."""
        path = self.path / file
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text(json.dumps(rows))
        if name:
            self.register(name, file, **entry)
        return path

    def register(self, name: str, file: str, **entry: Any) -> None:
        info = self.path / "dataset_info.json"
        entries = json.loads(info.read_text()) if info.exists() else {}
        entries[name] = {"file_name": file, "ranking": True, "columns": COLUMNS | SCORES} | entry
        info.write_text(json.dumps(entries))

    def check(self, *arguments: Any) -> Result:
        code = main(["data", "check", "--dataset-dir", str(self.path), *map(str, arguments)])
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def found(self, *arguments: Any) -> dict[str, list[Any]]:
        """Rows by kind, as --json tells them."""
        return self.check(*arguments, "--json").by_kind()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sound images and one of each kind that is not."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        Image.effect_noise((40 + i, 30), 60).convert("RGB").save(folder / f"{i}.png")
    noise = Image.effect_noise((64, 48), 80).convert("RGB")
    noise.save(folder / "whole.jpg", quality=90)
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "padded.jpg").write_bytes(whole + b"what a camera adds")
    raw = (folder / "3.png").read_bytes()
    (folder / "cut.png").write_bytes(raw[: len(raw) // 2])
    (folder / "scratched.png").write_bytes(raw[:200] + bytes(50) + raw[250:])
    start, end = raw.index(b"IDAT") - 4, raw.index(b"IEND") - 4
    pixels = b"IDAT" + zlib.compress(b"few")
    chunk = (len(pixels) - 4).to_bytes(4) + pixels + zlib.crc32(pixels).to_bytes(4)
    (folder / "few_pixels.png").write_bytes(raw[:start] + chunk + raw[end:])
    (folder / "no_end.png").write_bytes(raw[:-12])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no image")
    (folder / "folder.png").mkdir()
    noise.save(folder / "moving.gif", save_all=True, append_images=[noise.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    noise.convert("CMYK").save(folder / "print.jpg")
    Image.new("I;16", (8, 8), 40000).save(folder / "deep.png")
    Image.new("1", (10_000, 9_000)).save(folder / "large.png")
    Image.new("1", (20_000, 9_000)).save(folder / "bomb.png")
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.save(folder / "rgba.png")
    clear.convert("LA").save(folder / "la.png")
    clear.convert("P").save(folder / "palette.png", transparency=0)
    Image.new("RGB", (8, 8)).save(folder / "key.png", transparency=(0, 0, 0))
    noise.convert("RGBA").save(folder / "opaque.png")
    noise.save(folder / "printer.eps")
    (folder / "printer.png").write_bytes((folder / "printer.eps").read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.save(folder / "turned.jpg", exif=exif)
    return folder


@pytest.fixture
def folder(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    path = tmp_path / "data"
    path.mkdir()
    shutil.copytree(pictures, path / "images")
    return Folder(path, capsys)


@pytest.fixture
def make_pair() -> Callable[..., Row]:
    return pair
