# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where a path of another machine is on this one: the three ways, and files whose paths are moved."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resonance.datafiles.fix import Findable, Fixing, PathProblem
from resonance.datafiles.paths import Anchor, Prefixes, Refused, Search
from resonance.datafiles.read import RowError, read_rows
from resonance.datafiles.write import write_rows


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/x/MM-RLHF/long/1.jpg", "/r/long/1.jpg"),
        ("MM-RLHF/long/1.jpg", "/r/long/1.jpg"),
        ("./MM-RLHF//long/1.jpg", "/r/long/1.jpg"),
        ("/MM-RLHF/a/MM-RLHF/1.jpg", "/r/1.jpg"),  # the last one
        (r"C:\x\MM-RLHF\long\1.jpg", "/r/long/1.jpg"),
        (r"C:\x/MM-RLHF\long/1.jpg", "/r/long/1.jpg"),
        (r"\\server\share\MM-RLHF\1.jpg", "/r/1.jpg"),
        ("https://host/MM-RLHF/1.jpg", "/r/1.jpg"),
        ("/x/MM-RLHF/a b/ü 图.jpg", "/r/a b/ü 图.jpg"),
        ("/x/MM-RLHF/a\nb.jpg", "/r/a\nb.jpg"),
        ("/x/MM-RLHF/a/../b.jpg", "/r/a/../b.jpg"),
        ("/x/MM-RLHF_v2/1.jpg", None),
        ("/x/notMM-RLHF/1.jpg", None),
        ("/x/mm-rlhf/1.jpg", None),
        ("/x/MM-RLHF", None),
        ("/x/MM-RLHF/", None),
        ("/x/1.jpg", None),
    ],
)
def test_anchor(old: str, new: str | None) -> None:
    assert Anchor("MM-RLHF", "/r")(old) == Anchor("/MM-RLHF/", "/r/")(old) == new


def test_anchor_of_several_names() -> None:
    assert Anchor("data/images", "r")(r"C:\data\images\1.jpg") == "r/1.jpg"
    assert Anchor("data/images", "r")("/data/x/images/1.jpg") is None
    with pytest.raises(ValueError, match="--marker is empty"):
        Anchor("/", "r")


@pytest.mark.parametrize("rest", ["../1.jpg", "a/../../1.jpg", r"..\1.jpg", r"a\..\..\etc\passwd", ".."])
def test_paths_that_climb_out_are_refused(rest: str) -> None:
    for way in (Anchor("m", "/r"), Prefixes([("/x/m", "/r")])):
        with pytest.raises(Refused, match="leads out of /r") as refused:
            way(f"/x/m/{rest}")
        assert refused.value.kind == "climbs out"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/content/data/1.jpg", "/kaggle/input/1.jpg"),
        ("/content//data//1.jpg", "/kaggle/input/1.jpg"),
        ("/content/data/deep/1.jpg", "/kaggle/deep/1.jpg"),  # the longest start wins
        ("/content/database/1.jpg", "/elsewhere/database/1.jpg"),
        ("/content/data", "/kaggle/input"),
        (r"c:\Sets\1.jpg", "/sets/1.jpg"),
        (r"C:/Sets\in/1.jpg", "/sets/in/1.jpg"),
        (r"C:\sets\1.jpg", None),  # names are told apart by case, drives are not
        ("content/data/1.jpg", None),
        ("/mnt/content/data/1.jpg", None),
        ("https://host/pictures/1.jpg", "pictures/1.jpg"),
    ],
)
def test_prefixes(old: str, new: str | None) -> None:
    way = Prefixes(
        [
            ("/content/", "/elsewhere"),
            ("/content/data/", "/kaggle/input/"),
            ("/content/data/deep", "/kaggle/deep"),
            ("C:\\Sets", "/sets"),
            ("https://host", ""),
        ]
    )
    assert way(old) == new


def test_prefixes_that_cannot_be() -> None:
    assert Prefixes([("/", "/r")])("/a/1.jpg") == "/r/a/1.jpg" and Prefixes([("/", "/r")])("a/1.jpg") is None
    with pytest.raises(ValueError, match="--from is empty"):
        Prefixes([("", "/r")])
    with pytest.raises(ValueError, match="--from /a is given twice"):
        Prefixes([("/a", "/r"), ("/a/", "/s")])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("cats/a.png", "dogs/a.png", "in/train/b.png", "in/val/b.png", "c.png", "d.png", "MM/long/e.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/x/cats/a.png", "cats/a.png"),
        (r"D:\x\dogs\a.png", "dogs/a.png"),
        ("/content/train/b.png", "in/train/b.png"),
        ("/x/in/val/b.png", "in/val/b.png"),
        ("/x/c.png", "c.png"),
        ("../../c.png", "c.png"),
        ("https://host/MM/long/e.png", "MM/long/e.png"),
        ("/x/none.png", None),
        ("/x/C.PNG", None),
        ("/x/cats/", None),
        ("..", None),
    ],
)
def test_search(tree: Path, old: str, new: str | None) -> None:
    assert Search(str(tree))(old) == (None if new is None else str(tree / new))


def test_search_refuses_to_guess(tree: Path) -> None:
    search = Search(str(tree))
    with pytest.raises(Refused, match=r"2 files below .* fit equally well: cats/a.png, dogs/a.png"):
        search("/x/birds/a.png")
    assert search("/one/c.png") == search("/one/c.png") == str(tree / "c.png") and search.by_name == 2
    with pytest.raises(Refused, match=r"c.png below .* by its name alone, and it was taken for the one in '/one'"):
        search("/two/c.png")
    with pytest.raises(ValueError, match="no such folder"):
        Search(str(tree / "none"))


def test_search_follows_links_once_and_reads_both_forms_of_a_letter(tree: Path) -> None:
    (tree / "cats" / "up").symlink_to(tree)
    (tree.parent / "other").mkdir()
    (tree.parent / "other" / unicodedata.normalize("NFD", "é.png")).touch()
    (tree / "linked").symlink_to(tree.parent / "other")
    search = Search(str(tree))
    assert search("/x/c.png") == str(tree / "c.png")
    found = search("/x/" + unicodedata.normalize("NFC", "é.png"))
    assert found is not None and os.path.exists(found)


def test_an_index_of_many_files_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    walked = [(str(tmp_path), [], [f"some_longer_name_of_an_image_{i:06d}.jpg" for i in range(100_000)])]
    monkeypatch.setattr(os, "walk", lambda *args, **kwargs: walked)
    tracemalloc.start()
    search = Search(str(tmp_path))
    assert search("/x/some_longer_name_of_an_image_012345.jpg") is not None
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def fix(path: Path, **options: Any) -> tuple[Fixing, list[str], Any]:
    """Fix a file by the marker ``m``; returns the counts, the problems, and the rows written or None."""
    told: list[PathProblem] = []
    out = path.with_name("out" + path.suffix)
    fixing = Fixing(Anchor("m", str(path.parent)), on_problem=told.append, **options)
    fixing.run(path, out)
    return fixing, [str(problem) for problem in told], [r for _, r in read_rows(out)] if out.exists() else None


@pytest.mark.parametrize(
    ("keys", "row", "fixed"),
    [
        (None, {"images": ["m/1", "other/2"]}, {"images": ["R/1", "other/2"]}),
        (None, {"image": "m/1", "videos": [], "audios": None}, {"image": "R/1", "videos": [], "audios": None}),
        (None, {"videos": [["m/1", "m/2"], ["m/3"]]}, {"videos": [["R/1", "R/2"], ["R/3"]]}),
        (None, {"images": [{"bytes": None, "path": "m/1"}]}, {"images": [{"bytes": None, "path": "R/1"}]}),
        (None, {"images": ["data:image/png;base64,m/1", None, "m/1"]},
         {"images": ["data:image/png;base64,m/1", None, "R/1"]}),
        (["a.b.c"], {"a": {"b": {"c": "m/1"}}, "images": ["m/1"]}, {"a": {"b": {"c": "R/1"}}, "images": ["m/1"]}),
        (["turns.image"], {"turns": [{"image": "m/1"}, {"n": "m/1"}]}, {"turns": [{"image": "R/1"}, {"n": "m/1"}]}),
    ],
)  # fmt: skip
def test_where_paths_are(tmp_path: Path, keys: list[str] | None, row: dict[str, Any], fixed: dict[str, Any]) -> None:
    write_rows(tmp_path / "rows.jsonl", [row])
    _, problems, rows = fix(tmp_path / "rows.jsonl", **({"keys": keys} if keys else {}))
    text = json.dumps(fixed).replace("R/", f"{tmp_path}/")
    assert problems == [] and rows == [json.loads(text)]


# A row, what is said of it, and what the row is with --keep-going. `m/1` is there, `m/2` is not.
UGLY: list[tuple[dict[str, Any], str | None]] = [
    ({"images": ["m/2"]}, "row 0, images[0]: m/2: there is no ROOT/2"),
    ({"images": ["x/1"]}, "row 0, images[0]: x/1: not found; has no folder 'm' with something behind it"),
    ({"images": ["m/1", "m/2"]}, "row 0, images[1]: m/2: there is no ROOT/2"),
    ({"images": ["m/../1"]}, "row 0, images[0]: m/../1: '../1' leads out of ROOT"),
    ({"images": ["m\\..\\1"]}, "row 0, images[0]: m\\..\\1: '../1' leads out of ROOT"),
    ({"images": [""]}, "row 0, images[0]: (empty): is no path"),
    ({"images": ["  "]}, "row 0, images[0]:   : is no path"),
    ({"images": [7]}, "row 0, images[0]: 7: is no path but int"),
    ({"images": True}, "row 0, images: True: is no path but bool"),
    ({"images": {"url": "m/1"}}, "row 0, images: {'url': 'm/1'}: is no path but dict"),
    ({"images": [{"path": 3}]}, "row 0, images[0].path: 3: is no path but int"),
    ({"videos": [["m/1", "m/2"]]}, "row 0, videos[0][1]: m/2: there is no ROOT/2"),
    ({"images": ["m/1\x00"]}, "row 0, images[0]: m/1\\x00: there is no ROOT/1\\x00"),
    ({"images": ["m/\x1b[31m1"]}, "row 0, images[0]: m/\\x1b[31m1: there is no ROOT/\\x1b[31m1"),
    ({"images": ["m/1\n"]}, "row 0, images[0]: m/1\\n: there is no ROOT/1\\n"),
    ({"images": ["m/\u202e1"]}, "row 0, images[0]: m/\\u202e1: there is no ROOT/\\u202e1"),
    ({"images": ["m/" + "x" * 5000]}, None),
    ({"images": ["m"]}, "row 0, images[0]: m: not found; has no folder 'm' with something behind it"),
    ({"images": ["file:m/2"]}, "row 0, images[0]: file:m/2: not found; has no folder 'm' with something behind it"),
    ({"images": ["~/m/2"]}, "row 0, images[0]: ~/m/2: there is no ROOT/2"),
    ({"images": ["%2Fm%2F1"]}, "row 0, images[0]: %2Fm%2F1: not found; has no folder 'm' with something behind it"),
    ({"image": "M/1"}, "row 0, image: M/1: not found; has no folder 'm' with something behind it"),
]


@pytest.mark.parametrize(("row", "message"), UGLY)
def test_ugly_paths(tmp_path: Path, row: dict[str, Any], message: str | None) -> None:
    (tmp_path / "1").touch()
    path = tmp_path / "rows.json"
    write_rows(path, [row, {"images": ["m/1"]}])
    fixing, problems, rows = fix(path, exists=Findable(tmp_path))
    assert rows is None and not fixing.written and len(problems) == 1 and len(problems[0]) < 800
    if message is not None:
        assert problems == [message.replace("ROOT", str(tmp_path))]
    fixing, again, rows = fix(path, exists=Findable(tmp_path), keep_going=True)
    assert again == problems and rows == [row, {"images": [str(tmp_path / "1")]}]
    assert (fixing.rows, fixing.stayed, fixing.changed) == (2, 1, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{\n "data": []\n}', "is one JSON object where a list of rows is needed"),
        ("a.json", '{"data": [{"images": ["m/1"]}]}', "is one JSON object"),
        ("a.json", '{"0": {"images": ["m/1"]}}', "is one JSON object"),
        ("a.json", '[{"images": ["m/1"]}, 3]', "row 1: is a int, not an object"),
        ("a.json", '[{"images": ["m/1"]}', "row 0 .*: the list breaks off"),
        ("a.json", '[{"text": "\xc3\xa9", "images": ["\\ud800"]}]', "row 0: cannot be written as UTF-8"),
        ("a.jsonl", '{"images": ["m/1"]}\n{"images": [', "row 1: line 2 is not valid JSON"),
        ("a.json", '[{"images": ["\xe9"]}]', "is not UTF-8"),
        ("a.csv", "images\nm/1\n", r"only .json and .jsonl can be written, so a .csv has to be converted"),
    ],
)
def test_files_that_cannot_be_fixed(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(RowError, match=message):
        fix(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


LAYOUTS: list[Callable[[list[Any]], str]] = [
    lambda rows: json.dumps(rows, indent=2),
    lambda rows: json.dumps(rows, indent=4, ensure_ascii=False),
    lambda rows: json.dumps(rows, indent=4),
    lambda rows: "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_list_keeps_its_layout(tmp_path: Path, layout: Callable[[list[Any]], str]) -> None:
    rows = [{"text": "é\n", "n": [1.5, None], "images": ["/r/1"]}, {"text": "", "images": ["/r/2"]}]
    path = tmp_path / "rows.json"
    path.write_text(layout(rows), encoding="utf-8")
    Fixing(Prefixes([("/r", "/s")])).run(path, tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == path.read_text(encoding="utf-8").replace(
        "/r/", "/s/"
    )


@pytest.mark.parametrize(("source", "target", "lines"), [("a.json", "b.jsonl", True), ("a.jsonl", "b.json", False),
                                                         ("a.jsonl", "b.jsonl", True)])  # fmt: skip
def test_the_output_is_what_its_suffix_says(tmp_path: Path, source: str, target: str, lines: bool) -> None:
    write_rows(tmp_path / source, [{"images": ["m/1"]}])
    Fixing(Anchor("m", "/r")).run(tmp_path / source, tmp_path / target)
    assert (tmp_path / target).read_text().startswith("{" if lines else "[")


def test_lines_in_a_json_file_stay_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": ["m/1"]}\n{"images": ["m/2"]}\n')
    Fixing(Anchor("m", "/r")).run(tmp_path / "a.json", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text() == '{"images": ["/r/1"]}\n{"images": ["/r/2"]}\n'


def test_bytes_within_the_row_need_no_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", [{"images": [{"bytes": "x", "path": "m/none"}, "https://host/1.png"]}])
    fixing, problems, _ = fix(tmp_path / "rows.json", exists=Findable(tmp_path))
    assert problems == [] and (fixing.changed, fixing.unchanged) == (1, 1)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    import tracemalloc

    peaks = []
    for count in (1_000, 5_000):
        write_rows(tmp_path / "rows.json", ({"text": "x" * 200, "images": [f"m/{i}"]} for i in range(count)))
        tracemalloc.start()
        Fixing(Anchor("m", "/r"), exists=Findable(tmp_path), keep_going=True).run(
            tmp_path / "rows.json", tmp_path / "out.json"
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000
