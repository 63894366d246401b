# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""An import that is killed at any moment goes on with the same command and gives the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from importers.case import picture, write
from resonance.cli.main import main
from resonance.datafiles.write import RowWriter, replacing
from resonance.importers import run as importer_run

ROWS = 23  # more than two checkpoints of 5, and a rest


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer_run, "CHECKPOINT", 5)
    monkeypatch.setattr(importer_run, "SLOW", float("inf"))  # the moments are counted by renames


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two shards; a few rows in each cannot be used, pictures repeat, one line is no JSON."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(number))
    rows = [
        {
            "question": f"What is {n}?",
            "chosen": f"{n}",
            "rejected": "no" if n % 7 else f"{n}",
            "image_path": f"{n % 5}.png",
        }
        for n in range(ROWS)
    ]
    write(folder / "a.jsonl", [*rows[:11], '{"question":'])
    write(folder / "b.jsonl", rows[11:])
    return folder


def command(raw: Path, out: Path, *flags: str) -> list[str]:
    return ["data", "import", "rlaif_v", str(raw), "--out", str(out), "--copy-images", *flags]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_child(act: Callable[[], object]) -> int:
    """How a fork that does this ends: its exit code, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            code = act()
            os._exit(code if isinstance(code, int) else 0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_replace(at: int, after: bool) -> Callable[..., None]:
    """`os.replace` that kills its process before or after the call of that number, from 0."""
    real, calls = os.replace, iter(range(10**6))

    def replace(*args: object) -> None:
        if (number := next(calls)) == at and not after:
            die()
        real(*args)  # type: ignore[arg-type]
        if number == at and after:
            die()

    return replace


def dying_write(at: int) -> Callable[[RowWriter, object], None]:
    """`RowWriter.write` that kills its process when half of the row of that number is on the disk."""
    real, calls = RowWriter.write, iter(range(10**6))

    def write(self: RowWriter, row: object) -> None:
        if next(calls) == at:
            self.file.write(json.dumps(row)[: len(json.dumps(row)) // 2])
            self.file.flush()
            die()
        real(self, row)

    return write


def killed(raw: Path, out: Path, patch: Callable[[], object], *flags: str) -> int:
    def act() -> int:
        patch()
        return main(command(raw, out, *flags))

    return in_child(act)


def patch_replace(at: int, after: bool) -> Callable[[], None]:
    return lambda: setattr(os, "replace", dying_replace(at, after))


def patch_write(at: int) -> Callable[[], None]:
    return lambda: setattr(RowWriter, "write", dying_write(at))


def moments() -> list[tuple[str, Callable[[], None]]]:
    found = [
        (f"{'after' if after else 'before'} rename {n}", patch_replace(n, after))
        for n in range(17)
        for after in (0, 1)
    ]
    return found + [(f"half of row {n}", patch_write(n)) for n in range(0, 60, 7)]


def test_killed_at_any_moment(raw: Path, tmp_path: Path) -> None:
    assert main(command(raw, tmp_path / "whole")) == 0
    whole = files(tmp_path / "whole")
    assert len(json.loads(whole["rlaif_v.json"])) == 16
    endings = {}
    for number, (moment, patch) in enumerate(moments()):
        out = tmp_path / str(number)
        endings[moment] = killed(raw, out, patch)
        if endings[moment] == 0:  # there are not so many renames
            continue
        final = out / "rlaif_v.json"
        assert not final.exists() or final.read_bytes() == whole["rlaif_v.json"], moment
        assert main(command(raw, out)) == 0, moment
        assert files(out) == whole, moment
    assert set(endings.values()) == {-signal.SIGKILL, 0}
    assert sum(code != 0 for code in endings.values()) >= 30
    assert endings["after rename 16"] == 0  # so every rename has been tried


def test_killed_again_and_again(raw: Path, tmp_path: Path) -> None:
    assert main(command(raw, tmp_path / "whole")) == 0
    out = tmp_path / "out"
    deaths = 0
    while killed(raw, out, patch_replace(4, False)):
        deaths += 1
        assert deaths < 20
    assert deaths > 2
    assert files(out) == files(tmp_path / "whole")


def test_the_old_file_stays_until_the_new_one_is_whole(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(raw, out, "--max-rows", "4")) == 0
    old = files(out)["rlaif_v.json"]
    flags = ("--force", "--restart")
    deaths = 0
    while killed(raw, out, patch_replace(deaths, False), *flags):
        assert files(out)["rlaif_v.json"] == old
        deaths += 1
    assert deaths == 8  # six states, the list of skipped rows, the file
    assert len(json.loads((out / "rlaif_v.json").read_text())) == 16


def test_rows_that_are_slow_are_saved_by_the_clock(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer_run, "CHECKPOINT", 10**6)
    monkeypatch.setattr(importer_run, "SLOW", 0.0)
    assert killed(raw, tmp_path, patch_replace(12, False)) == -signal.SIGKILL
    assert json.loads((tmp_path / ".rlaif_v.import" / "state.json").read_text())["tally"]["rows_in"] > 3


def test_other_options_on_an_unfinished_import(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert killed(raw, out, patch_replace(8, False)) == -signal.SIGKILL
    assert main(command(raw, out, "--max-rows", "6")) == 1
    said = capsys.readouterr().err
    assert "--max-rows: null then, 6 now" in said and "--restart" in said
    assert main(command(raw, out, "--max-rows", "6", "--restart")) == 0
    assert "6 rows read" in capsys.readouterr().out
    assert sorted(files(out)) == sorted(files(out).keys() - {".rlaif_v.import/state.json"})


def test_a_source_that_has_changed(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert killed(raw, out, patch_replace(8, False)) == -signal.SIGKILL
    with open(raw / "b.jsonl", "a") as file:
        file.write("{}\n")
    assert main(command(raw, out)) == 1
    assert "source:" in capsys.readouterr().err


def test_a_damaged_state(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert killed(raw, out, patch_replace(8, False)) == -signal.SIGKILL
    (out / ".rlaif_v.import" / "rows.jsonl").write_text("")
    assert main(command(raw, out)) == 1
    assert "shorter than it says. --restart starts over" in capsys.readouterr().err
    (out / ".rlaif_v.import" / "state.json").write_text("{}")
    assert main(command(raw, out)) == 1
    assert "cannot be read ('order')" in capsys.readouterr().err
    assert main(command(raw, out, "--restart")) == 0


def test_two_at_once(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with replacing(tmp_path / "out" / "rlaif_v.json"):
        assert main(command(raw, tmp_path / "out")) == 1
    assert "another process is writing this file" in capsys.readouterr().err


def test_it_says_that_it_went_on_and_counts_all(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert killed(raw, out, patch_replace(9, False)) == -signal.SIGKILL
    assert main(command(raw, out)) == 0
    said = capsys.readouterr().out
    assert "went on with an import that was not finished" in said
    assert f"{ROWS + 1} rows read in" in said and "\n16 pairs written\n7 pairs left out:\n" in said
    assert "\n1 row left out, of which nothing could be made:\n          1  not JSON\n" in said


def test_nothing_to_write_is_told_again_after_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"question": "What?", "chosen": "a", "rejected": "b", "image_path": "gone.png"}
    raw, out = write(tmp_path / "rows.jsonl", [row]), tmp_path / "out"
    assert killed(raw, out, lambda: setattr(importer_run, "_list_skipped", lambda *args: die())) == -signal.SIGKILL
    assert main(command(raw, out)) == 1
    assert "no row could be used\n" in capsys.readouterr().err
