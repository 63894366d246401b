# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A row that cannot be used is left out, counted and listed with the reason; the sound row behind it is imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from importers import ugly_messages, ugly_public, ugly_rated
from importers.case import write
from importers.ugly_rated import Ugly
from resonance.cli.main import main
from resonance.datafiles.read import read_rows

UGLY = [*ugly_rated.UGLY, *ugly_messages.UGLY, *ugly_public.UGLY]
SOUND_ROWS = {**ugly_rated.SOUND_ROWS, **ugly_messages.SOUND_ROWS, **ugly_public.SOUND_ROWS}
MEDIA = {**ugly_rated.MEDIA, **ugly_messages.MEDIA, **ugly_public.MEDIA}


@pytest.mark.parametrize("ugly", UGLY, ids=lambda ugly: f"{ugly.importer}: {ugly.id}")
def test_a_row_that_cannot_be_used(ugly: Ugly, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    for name, data in MEDIA.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(data)
    path = write(raw / "rows.jsonl", [ugly.row, SOUND_ROWS[ugly.importer]])
    flags = [flag.format(folder=raw) for flag in ugly.flags]
    out = tmp_path / "out"
    code = main(["data", "import", ugly.importer, str(path), "--out", str(out), *flags])
    said = capsys.readouterr()
    assert code == 0, said.err
    first, *more = [row for _, row in read_rows(out / f"{ugly.importer}.skipped.jsonl")]
    assert (first["file"], first["row"], first["reason"]) == (str(path), 0, ugly.reason)
    assert ugly.detail in first["detail"]
    assert more == []
    assert f"1  {ugly.reason}" in said.out
    assert len(json.loads((out / f"{ugly.importer}.json").read_text())) == 1
