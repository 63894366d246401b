# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Sets whose files hold no list of rows: a list of files with the folders of their images, and an object of rows."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from importers.case import picture, write
from resonance.cli.main import main
from resonance.datafiles.read import read_rows

ROW = {"image": "1.png", "question": "What?", "chosen": "Yes.", "rejected": "No."}


def set_of(folder: Path, above: str = "") -> Path:
    """Two files of MMPR with images of the same name in two folders; `above` stands before its paths."""
    entries = {}
    for number, name in enumerate(("dogs", "cats")):
        write(folder / "annotations" / f"{name}.jsonl", [ROW | {"chosen": name}])
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / "1.png").write_bytes(picture(number))
        entries[name] = {"root": f"{above}images/{name}", "annotation": f"{above}annotations/{name}.jsonl"}
    (folder / "meta.json").write_text(json.dumps(entries))
    return folder


def call(*arguments: object) -> int:
    return main(["data", "import", *map(str, arguments)])


def images(out: Path) -> list[bytes]:
    rows = [row for _, row in read_rows(out / "mmpr.json")]
    assert [row["chosen"]["value"] for row in rows] == ["dogs", "cats"]
    return [(out / row["images"][0]).read_bytes() for row in rows]


@pytest.mark.parametrize("above", ["", "MMPR-v1.2/"])
@pytest.mark.parametrize("given", ["", "meta.json"])
def test_each_file_has_its_own_folder_of_images(tmp_path: Path, above: str, given: str) -> None:
    folder = set_of(tmp_path / "raw", above)
    assert call("mmpr", folder / given, "--out", tmp_path / "out") == 0
    assert images(tmp_path / "out") == [picture(0), picture(1)]


def test_images_of_an_archive_elsewhere(tmp_path: Path) -> None:
    folder = set_of(tmp_path / "raw", "MMPR-v1.2/")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as pack:
        for path in sorted((folder / "images").rglob("*.png")):
            pack.write(path, path.relative_to(folder))
            path.unlink()
    assert call("mmpr", folder, "--out", tmp_path / "out", "--image-root", tmp_path / "images.zip") == 0
    assert images(tmp_path / "out") == [picture(0), picture(1)]


def test_what_is_left_out_is_listed_with_the_file_it_is_in(tmp_path: Path) -> None:
    folder = set_of(tmp_path / "raw")
    (folder / "images" / "cats" / "1.png").unlink()
    assert call("mmpr", folder, "--out", tmp_path / "out") == 0
    ((_, skipped),) = read_rows(tmp_path / "out" / "mmpr.skipped.jsonl")
    assert (skipped["file"], skipped["row"]) == (str((folder / "annotations" / "cats.jsonl").resolve()), 0)
    assert skipped["detail"].startswith(str(folder / "images" / "cats" / "1.png"))


def test_annotations_that_are_not_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = set_of(tmp_path / "raw")
    (folder / "annotations" / "cats.jsonl").unlink()
    assert call("mmpr", folder, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert (
        f"meta.json: 1 of the 2 files that it lists are not in {folder}: annotations/cats.jsonl. Unpack them" in said
    )


@pytest.mark.parametrize("text", ["[]", '{"dogs": {"root": ""}}', '{"dogs": 3}', "{"])
def test_a_list_of_files_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    assert call("mmpr", tmp_path / "meta.json", "--out", tmp_path / "out") == 1
    assert f"{tmp_path / 'meta.json'}: is no list of files" in capsys.readouterr().err


def test_a_set_that_needs_files_beside_its_rows_is_not_streamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ((), ("OpenGVLab/MMPR-v1.2",)):
        assert call("mmpr", *source, "--out", tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert "hf download --repo-type dataset OpenGVLab/MMPR-v1.2 --local-dir FOLDER, unpack it there" in said


@pytest.mark.parametrize("text", ['{"7": []}', '{"7": {"chosen": ["a"]', "3"])
def test_an_object_that_is_none_of_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "desc_data.json"
    path.write_text(text)
    assert call("ha_dpo", path, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "are no rows of ha_dpo" in said or "no row could be used" in said


def test_a_draw_is_the_same_again_and_another_by_another_seed(tmp_path: Path) -> None:
    answers = {"chosen": [f"right {n}" for n in range(9)], "rejected": [f"wrong {n}" for n in range(9)]}
    path = tmp_path / "desc_data.json"
    path.write_text(json.dumps({str(n): answers for n in range(9)}))
    (tmp_path / "VG_100K").mkdir()
    for number in range(9):
        (tmp_path / "VG_100K" / f"{number}.jpg").write_bytes(picture(number, "JPEG"))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert call("ha_dpo", path, "--out", tmp_path / "out", "--name", name, "--seed", seed) == 0
    a, b, c = ((tmp_path / "out" / f"{name}.json").read_text() for name in "abc")
    assert a == b != c and len({row["chosen"]["value"] for row in json.loads(a)}) > 1
