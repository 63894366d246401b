# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Columns that are not read are named, media are known by their values, and half of a pair is no answer."""

from __future__ import annotations

import json
import re

import pytest

from resonance.cli.main import main
from resonance.datafiles.unread import media_kind

TEXT = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a/1.jpg", "b.PNG"], "images"),
        ([["a.webp"], []], "images"),
        (["https://example.org/a.jpg?size=2"], "images"),
        ([{"bytes": b"x", "path": None}], "images"),
        ([{"bytes": None, "path": "a.wav"}], "audios"),
        (["clips/1.mp4"], "videos"),
        ([["f/1.jpg", "f/2.jpg"]], "images"),
        (["a.jpg", "a cat"], None),
        (["a.jpg", "a.mp4"], None),
        (["Look at a.jpg"], "images"),
        (["a\nb.jpg"], None),
        ([7, True], None),
        ([], None),
    ],
)
def test_media_are_known_by_their_values(values, kind) -> None:
    assert media_kind(values) == kind


@pytest.mark.parametrize("name", ["image_path", "img_path", "image_file", "figure"])
@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_pictures_in_a_column_of_another_name_are_read(folder, make_pair, name, suffix) -> None:
    rows = [make_pair(i, instruction="What?", chosen="Yes.", rejected="No.") for i in range(3)]
    rows = [{(name if key == "images" else key): value for key, value in row.items()} for row in rows]
    path = folder.write(rows, f"rows.{suffix}", name=None)
    assert folder.found(path) == {"placeholder count": [0, 1, 2]}
    fixed = folder.path / "fixed.json"
    assert "3 rows, 3 of them mended" in folder.check(path, "--strict", "--fix", fixed).out
    assert [row["instruction"] for row in json.loads(fixed.read_text())] == ["<image>What?"] * 3


def test_rows_about_pictures_that_no_entry_names_are_no_duplicates(folder, make_pair) -> None:
    rows = [make_pair(i, instruction="What?", chosen="Yes.", rejected="No.", note=i) for i in (0, 1, 1)]
    path = folder.write(rows, columns=TEXT)
    result = folder.check(path)
    assert "  not read: images (looks like pictures), score_chosen, score_rejected, note" in result.out
    problems = folder.check(path, "--json").problems
    assert [(each["kind"], each["row"]) for each in problems] == [("media unread", None), ("duplicate row", 2)]
    assert "images: looks like media, and the entry names none" in problems[0]["message"]
    fixed = folder.path / "fixed.json"
    folder.check(path, "--strict", "--fix", fixed)
    assert [row["note"] for row in json.loads(fixed.read_text())] == [0, 1]


def test_register_and_show_name_what_is_not_read(folder, make_pair, capsys) -> None:
    path = folder.write([make_pair(i, figure="images/1.png", id=str(i)) for i in range(3)], name=None)
    assert main(["data", "register", str(path), "--dataset-dir", str(folder.path)]) == 0
    out = capsys.readouterr().out
    assert "not read: figure (looks like pictures: --set columns.images=figure), id\n" in out
    assert main(["data", "show", "pairs", "--dataset-dir", str(folder.path)]) == 0
    assert "not read: figure (looks like pictures), id\n" in capsys.readouterr().out
    assert (
        main(
            [
                "data",
                "register",
                str(path),
                "--dataset-dir",
                str(folder.path),
                "--force",
                "--set",
                "columns.images=figure",
            ]
        )
        == 0
    )
    assert "not read: images (looks like pictures" in capsys.readouterr().out


SWIFT = {
    "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}],
    "rejected_response": "No.",
}
CHAT = {"formatting": "sharegpt", "columns": {"messages": "messages"}}
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_half_of_a_pair_is_not_read_as_an_answer(folder, capsys, suffix) -> None:
    path = folder.write([SWIFT, SWIFT], f"rows.{suffix}", name=None)
    (problem,) = folder.check(path, "--json").problems
    assert problem["kind"] == "unknown columns" and "rejected_response: rejected answers" in problem["message"]
    register = ["data", "register", str(path), "--dataset-dir", str(folder.path)]
    assert main(register) == 1
    told = capsys.readouterr().err
    assert "rejected_response: rejected answers, which would not be read" in told
    folder.register("half", path.name, **CHAT, tags=TAGS, ranking=None)
    assert folder.found("half")["rejected unread"] == [None]
    half = folder.check("half")
    assert half.code == 1 and f"Next: resonance data import ms_swift {path} --out" in half.out
    (setting,) = re.findall(r"--set ranking=\S+", told)
    assert main([*register, "--name", "answers", *setting.split()]) == 0
    capsys.readouterr()
    assert folder.check("answers").code == 0


def test_gaps_in_columns_that_only_look_like_scores_are_no_errors(folder, make_pair) -> None:
    path = folder.write([make_pair(0), make_pair(1, score_rejected=None)], name=None)
    result = folder.check(path, "--json")
    assert (result.code, result.by_kind()) == (0, {"score gap": [1]})
    fixed = folder.path / "fixed.json"
    folder.check(path, "--fix", fixed)
    assert len(json.loads(fixed.read_text())) == 2
    folder.register("pairs", path.name)
    assert folder.found("pairs") == {"bad score": [1]}


def test_register_offers_scores_that_some_rows_lack(folder, make_pair, capsys) -> None:
    path = folder.write([make_pair(0), make_pair(1, score_rejected=None)], name=None)
    register = ["data", "register", str(path), "--dataset-dir", str(folder.path), "--name", "gaps"]
    assert main(register) == 0
    told = capsys.readouterr().out
    assert '"score_chosen":' not in told
    (offered,) = re.findall(r"so they are not declared; when all have both, add (.*)", told)
    assert offered == "--set columns.score_chosen=score_chosen --set columns.score_rejected=score_rejected"
    assert folder.check("gaps").code == 0
    path.write_text(json.dumps([make_pair(0), make_pair(1)]))
    assert main([*register, "--force", *offered.split()]) == 0
    assert '"score_chosen": "score_chosen"' in capsys.readouterr().out
    assert folder.check("gaps").code == 0
