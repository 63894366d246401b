# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Archives: unpacked inside their folder, or refused before anything is written."""

from __future__ import annotations

import io
import json
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from importers.case import picture
from resonance.cli.main import main
from resonance.importers import archives
from resonance.importers.archives import unpack

ROWS = json.dumps([{"question": "What?", "chosen": "a", "rejected": "b", "image_path": "images/1.png"}]).encode()
SOUND = {"set/rows.json": ROWS, "set/images/1.png": picture(1)}


def make(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
            for name, data in members.items():
                pack.writestr(name, data)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz')}" if path.suffix != ".tar" else "w") as tar:
            for name, data in members.items():
                tar.addfile(sized(name, data), io.BytesIO(data))
    return path


def sized(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_an_archive_of_rows_and_images_is_imported(name: str, tmp_path: Path) -> None:
    ballast = {"set/README.md": b"x", "set/run.py": b"x", "__MACOSX/set/._1.png": b"x", "set/.hidden.json": b"x"}
    path = make(tmp_path / name, SOUND | ballast)
    out = tmp_path / "out"
    assert main(["data", "import", "rlaif_v", str(path), "--out", str(out)]) == 0
    (folder,) = (out / "rlaif_v_files").iterdir()
    assert folder.name.startswith(f"{name}-") and everything(folder) == set(SOUND)
    (row,) = json.loads((out / "rlaif_v.json").read_text())
    assert row["images"] == [f"rlaif_v_files/{folder.name}/set/images/1.png"]


def test_an_archive_of_images_as_image_root(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_bytes(ROWS)
    images = make(tmp_path / "images.zip", {"images/1.png": picture(1)})
    out = tmp_path / "out"
    assert main(["data", "import", "rlaif_v", str(rows), "--out", str(out), "--image-root", str(images)]) == 0
    (folder,) = (out / "rlaif_v_files").iterdir()
    assert json.loads((out / "rlaif_v.json").read_text())[0]["images"] == [f"rlaif_v_files/{folder.name}/images/1.png"]


def test_another_archive_mixes_with_nothing(tmp_path: Path) -> None:
    """Neither with one of another name, nor with the one that it replaces."""
    out = tmp_path / "out"
    for number, name in enumerate(["a.zip", "b.zip", "b.zip"]):
        row = {"question": f"What? {number}", "chosen": "a", "rejected": "b", "image_path": "1.png"}
        path = make(tmp_path / name, {f"{number}.jsonl": json.dumps(row).encode(), "1.png": picture(number)})
        assert main(["data", "import", "rlaif_v", str(path), "--out", str(out), "--force"]) == 0
        (made,) = json.loads((out / "rlaif_v.json").read_text())
        assert made["conversations"][0]["value"] == f"<image>What? {number}"
        assert (out / made["images"][0]).read_bytes() == picture(number)


def test_backslashes_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as pack:
        for name, data in SOUND.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")  # its constructor would mend it on Windows only
            pack.writestr(info, data)
    assert everything(unpack(path, tmp_path / "out")) == set(SOUND)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2"])
def test_an_archive_that_is_damaged_inside(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At any place: each kind of archive finds it by another error."""
    noise = random.Random(1).randbytes(3000)
    sound = make(tmp_path / name, {"rows.jsonl": noise.hex().encode()}).read_bytes()
    refused = 0
    for at in range(60, len(sound) - 30, 97):
        (tmp_path / name).write_bytes(sound[:at] + bytes([sound[at] ^ 255]) + sound[at + 1 :])
        try:
            unpack(tmp_path / name, tmp_path / "out" / str(at))
        except ValueError as error:
            refused += "cannot be unpacked" in str(error)
    assert refused == len(range(60, len(sound) - 30, 97))


CLIMBING = [
    "../evil.json",
    "set/../../evil.json",
    "/evil.json",
    "..\\evil.json",
    "C:\\evil.json",
    "\\evil.json",
    "a/..",
]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("name", CLIMBING)
def test_members_that_climb_out(kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / kind, SOUND | {name: ROWS})
    before = everything(tmp_path)
    assert main(["data", "import", "rlaif_v", str(path), "--out", str(tmp_path / "deep" / "out")]) == 1
    said = capsys.readouterr().err
    assert f"refused, nothing was unpacked: {name!r} would be written outside of the folder" in said
    assert everything(tmp_path) == before


def tar_with(tmp_path: Path, **fields: object) -> Path:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(sized("rows.json", ROWS), io.BytesIO(ROWS))
        odd = tarfile.TarInfo("odd.png")
        for name, value in fields.items():
            setattr(odd, name, value)
        tar.addfile(odd)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "../../secret"},
        {"type": tarfile.SYMTYPE, "linkname": "rows.json"},
        {"type": tarfile.LNKTYPE, "linkname": "rows.json"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE},
    ],
)
def test_links_and_devices_in_a_tar(fields: dict[str, object], tmp_path: Path) -> None:
    path = tar_with(tmp_path, **fields)
    with pytest.raises(ValueError, match="'odd.png' are links or devices"):
        unpack(path, tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as pack:
        link = zipfile.ZipInfo("odd.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(link, "../../secret")
    with pytest.raises(ValueError, match="'odd.png' are links or devices"):
        unpack(path, tmp_path / "in")


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {"rows.json": b"[" + b" " * 100_000 + b"]"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the uncompressed size in the directory at the end
    data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.zip"):
        unpack(path, tmp_path / "in")
    assert everything(tmp_path / "in") == set()


def test_a_bomb_is_measured_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.zip", SOUND)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(ValueError, match=r"unpacks to \d+ bytes; .* has 100 left"):
        unpack(path, tmp_path / "in")
    assert everything(tmp_path / "in") == set()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_damaged(name: str, tmp_path: Path) -> None:
    whole = make(
        tmp_path / name, {f"{n}.png": picture(n, size=(300, 300), kind="BMP")[:-n] + b"." * n for n in range(1, 9)}
    )
    cut = tmp_path / f"cut.{name.partition('.')[2]}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be unpacked"):
        unpack(cut, tmp_path / "in")
    (tmp_path / f"text.{name.partition('.')[2]}").write_text("no archive")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        unpack(tmp_path / f"text.{name.partition('.')[2]}", tmp_path / "in")


def test_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no data, picture or film"):
        unpack(make(tmp_path / "a.zip", {"README.md": b"x"}), tmp_path / "in")


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", SOUND)
    folder = unpack(path, tmp_path / "in")
    kept, cut = folder / "set/rows.json", folder / "set/images/1.png"
    before = kept.stat().st_mtime_ns
    cut.write_bytes(b"half")
    assert unpack(path, tmp_path / "in") == folder
    assert kept.stat().st_mtime_ns == before
    assert cut.read_bytes() == SOUND["set/images/1.png"]
