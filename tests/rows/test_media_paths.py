# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Texts where a path should be: one verdict and one wording in check, fix-paths, import and training."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from llamafactory.data.parser import DatasetAttr

from conftest import DATA
from resonance.cli.main import main
from resonance.rows.convert import get_dataset_converter
from resonance.rows.fields import ROW, SOURCE
from resonance.rows.media_paths import is_base64, local_path, path_problem
from resonance.rows.plan import RowPlan
from resonance.rows.validate.rules import file_finding, image_finding

PICTURE = DATA / "images" / sorted(os.listdir(DATA / "images"))[0]
TEXT = base64.b64encode(PICTURE.read_bytes()).decode()
OTHER = base64.b64encode(random.Random(0).randbytes(3000)).decode()  # begins like no picture
URI = f"data:image/png;base64,{TEXT}"
ADDRESS = "https://example.org/a.png"
NO_PATHS = {
    TEXT: "is base64 text of",
    OTHER: "is base64 text of 4,000 characters",
    URI: "is base64 text of",
    ADDRESS: f"'{ADDRESS}' is an address: images, videos and audios are not fetched, download it",
    "s3://bucket/a.png": "'s3://bucket/a.png' is an address",
    "file:///data/a%20b.png": "is the address of a file: write '/data/a b.png', as `resonance data fix-paths` does",
    "~/a.png": "`~` is not expanded: write 'HOME/a.png'",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    (tmp_path / "my home").mkdir()
    shutil.copy(PICTURE, tmp_path / "my home" / "a.png")
    return tmp_path


def write(*images: str) -> None:
    rows = [
        {"prompt": "<image>?", "chosen": f"yes {number}", "rejected": f"no {number}", "images": [image]}
        for number, image in enumerate(images)
    ]
    Path("rows.json").write_text(json.dumps(rows))


@pytest.mark.parametrize(("text", "said"), NO_PATHS.items(), ids=[text[:12] for text in NO_PATHS])
def test_training_and_check_say_the_same_whatever_holds_the_text(folder, capsys, text, said):
    problem = path_problem(text)
    assert problem is not None and said.replace("HOME", str(folder / "my home")) in problem and len(problem) < 400
    for image in (text, {"path": text, "bytes": None}):
        found = image_finding(image, "media")
        assert found is not None and found.kind == "not a path" and found.message == f"image {problem}"
    film = file_finding("video", text, "media")
    assert film is not None and film.message == f"video {problem}"
    write(text, text)
    assert main(["data", "check", "rows.json"]) == 1
    told = capsys.readouterr().out
    assert problem in told and "Next: resonance data fix-paths" not in told and len(told) < 4000


def test_paths_are_left_alone():
    for path in (
        "a.png",
        "/a/b.png",
        "C:\\a.png",
        "a~/b.png",
        "x" * 5000,
        "AAAA/b.png",
        "9j/4/a.png",
        "Ab1/" * 240 + "a.png",
    ):
        assert path_problem(path) is None and local_path(path) == path and not is_base64(path)
    found = file_finding("image", "x" * 5000, "media")
    assert found is not None and found.kind == "image missing" and len(found.message) < 1000


@pytest.mark.parametrize("text", [TEXT, OTHER, URI, ADDRESS])
def test_fix_paths_writes_nothing_for_what_has_no_path(folder, capsys, text):
    write(text, text)
    assert main(["data", "fix-paths", "rows.json", "--search", "."]) == 1
    captured = capsys.readouterr()
    problem = path_problem(text)
    assert f"nothing was written: 2 of them are no paths, such as images[0] {problem}" in captured.err
    assert not Path("rows.fixed.json").exists() and len(captured.err) < 500


@pytest.mark.parametrize(
    "way", [("--search", "."), ("--from", "/nowhere", "--to", "/"), ("--marker", "m", "--root", ".")]
)
def test_fix_paths_writes_the_paths_that_training_needs(folder, capsys, way):
    write((folder / "my home" / "a.png").as_uri(), "~/a.png")
    assert main(["data", "fix-paths", "rows.json", *way]) == 0, capsys.readouterr().err
    fixed = [row["images"] for row in json.loads(Path("rows.fixed.json").read_text())]
    assert fixed == [[str(folder / "my home" / "a.png")]] * 2
    assert main(["data", "check", "rows.fixed.json"]) == 0


def test_import_decodes_base64_and_finds_files(folder, capsys):
    write(TEXT, URI, (folder / "my home" / "a.png").as_uri(), "~/a.png", ADDRESS, {"path": TEXT, "bytes": None})
    assert main(["data", "import", "plain_dpo", "rows.json", "--out", "out"]) == 0
    assert "image is not a path" in capsys.readouterr().out
    rows = json.loads(Path("out/plain_dpo.json").read_text())
    assert [row["chosen"]["value"] for row in rows] == [f"yes {number}" for number in (0, 1, 2, 3, 5)]
    for row in rows:
        assert (Path("out") / row["images"][0]).read_bytes() == PICTURE.read_bytes()


def test_the_converter_of_llamafactory_logs_no_whole_images(caplog):
    attr = DatasetAttr("file", "rows")
    attr.join({"columns": {"prompt": "prompt", "response": "answer", "images": "images"}})
    convert = get_dataset_converter("alpaca", attr, SimpleNamespace(media_dir="m", row_plan=RowPlan(False)))
    text = OTHER[::-1]  # LlamaFactory logs a text once a process
    converted = convert({"prompt": "<image>?", "answer": "yes", "images": [text], SOURCE: "rows", ROW: 0})
    assert converted["_images"] == [text]
    (line,) = caplog.messages
    assert line.startswith(f"Media {text[:200]}") and line.endswith("... (+3756)") and len(line) < 320
