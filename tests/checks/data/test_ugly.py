# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Ugly input, each kind with the row and the message it gets; sound input gets none."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import datasets
import pytest
from datasets.exceptions import DatasetGenerationError
from PIL import Image

from checks.data.ugly import GPT, HUMAN, UGLY_CHATS, UGLY_PAIRS
from resonance.checks.data.kinds import KINDS
from resonance.rows.validate.json_files import explain_unreadable


@pytest.mark.parametrize(("change", "kind", "message"), UGLY_PAIRS.values(), ids=UGLY_PAIRS)
def test_ugly_pairs(folder, make_pair, change, kind, message) -> None:
    path = folder.write([make_pair(i) for i in range(2)] + [make_pair(2, **change), make_pair(3)])
    result = folder.check("pairs", "--json")
    found = [problem for problem in result.problems if problem["kind"] == kind]
    assert {problem["row"] for problem in result.problems} == {2}
    assert message in found[0]["message"]
    assert found[0] == {
        "file": str(path),
        "row": 2,
        "kind": kind,
        "message": found[0]["message"],
        "severity": KINDS[kind].severity,
        "fix": KINDS[kind].fix,
    }
    assert result.code == any(problem["severity"] == "error" for problem in result.problems)


SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "conversations", "images": "images"}, "ranking": False}


@pytest.mark.parametrize(("turns", "kind", "message"), UGLY_CHATS.values(), ids=UGLY_CHATS)
def test_ugly_conversations(folder, turns, kind, message) -> None:
    rows = [{"conversations": [{**HUMAN, "value": f"<image>{i}?"}, GPT], "images": ["images/1.png"]} for i in range(3)]
    rows[1] = {**rows[1], "conversations": turns}
    folder.write(rows, **SHAREGPT)
    problems = folder.check("pairs", "--json").problems
    assert {problem["row"] for problem in problems} == {1}
    assert any(problem["kind"] == kind and message in problem["message"] for problem in problems)


def test_every_kind_is_in_a_test() -> None:
    """A kind that no test gives might be one that cannot be given."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


# -- whole files -----------------------------------------------------------------------------------------------------


def test_sound_files_have_no_problems(folder, make_pair) -> None:
    rows = [make_pair(i) for i in range(6)]
    rows[3]["images"], rows[4]["images"] = ["images/padded.jpg"], ["images/no_end.png"]
    rows[5]["images"] = ["images/opaque.png"]
    for file in ("pairs.json", "pairs.jsonl", "pairs.parquet"):
        folder.write(rows, file)
        result = folder.check("pairs", "--json", "--strict")
        assert (result.code, result.problems) == (0, []), file


def test_a_list_that_breaks_off(folder, make_pair) -> None:
    path = folder.write([make_pair(i) for i in range(5)])
    path.write_text(path.read_text()[:-150])
    (problem,) = folder.check("pairs", "--json").problems
    assert (problem["kind"], problem["row"]) == ("file unreadable", 4)


def test_lines_that_are_no_json(folder, make_pair) -> None:
    path = folder.write([make_pair(i) for i in range(5)], "pairs.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], lines[2], "{'a': 1}", lines[4]]))
    assert folder.found("pairs") == {"not JSON": [1, 3]}


def test_rows_that_are_no_mappings(folder, make_pair) -> None:
    folder.write([make_pair(0), "text", make_pair(2), ["list"], None])
    problems = folder.check("pairs", "--json").problems
    assert [(p["row"], p["message"][:14]) for p in problems] == [
        (1, "a row is text,"),
        (3, "a row is a lis"),
        (4, "a row is NoneT"),
    ]


@pytest.mark.parametrize(
    ("text", "kind"), [("", "no rows"), ("[]", "no rows"), ('{\n"data":\n[\n1]\n}', "file unreadable")]
)
def test_files_without_rows(folder, text, kind) -> None:
    folder.register("pairs", "pairs.json")
    (folder.path / "pairs.json").write_text(text)
    assert folder.found("pairs") == {kind: [None]}


def test_a_file_that_is_no_parquet(folder) -> None:
    folder.register("pairs", "pairs.parquet")
    (folder.path / "pairs.parquet").write_bytes(b"PAR1 not really")
    assert folder.found("pairs") == {"file unreadable": [None]}


def test_a_csv_file_is_read_as_datasets_reads_it(folder) -> None:
    folder.register("pairs", "pairs.csv")
    header = "instruction,chosen,rejected,images,score_chosen,score_rejected\n"
    lines = [
        "<image>a?,yes,no,images/1.png,4,1.5",
        "<image>b?,yes,no,images/1.png,x,1",
        "<image>c?,yes,,images/1.png,4,1",
    ]
    (folder.path / "pairs.csv").write_text(
        header + "\n".join([*lines, "<image>d?,yes,no,images/1.png,4,1,9,9"]) + "\n"
    )
    assert folder.found("pairs") == {"bad score": [1], "invalid turns": [2], "row unreadable": [3]}


def test_weights_and_margins_are_checked_where_the_entry_names_them(folder, make_pair) -> None:
    rows = [make_pair(0, weight=1), make_pair(1, weight=-0.5), make_pair(2, weight=0)]
    columns = {key: key for key in ("chosen", "rejected", "images", "weight", "margin")} | {"prompt": "instruction"}
    folder.write([row | {"margin": None if i == 2 else i} for i, row in enumerate(rows)], columns=columns)
    result = folder.check("pairs", "--json")
    assert result.by_kind() == {"bad score": [1, 2]}
    told = " ".join(problem["message"] for problem in result.problems)
    assert "`weight` is below 0: -0.5" in told and "`margin` is missing" in told


def test_columns_that_no_row_has_are_told_once(folder, make_pair) -> None:
    rows = [make_pair(i) for i in range(4)]
    folder.write(rows, columns=COLUMNS_WITH_TYPING_ERRORS)
    problems = folder.check("pairs", "--json").problems
    assert [problem["row"] for problem in problems] == [None] * 3
    told = " ".join(problem["message"] for problem in problems)
    assert "`chosen` names column `chosne`, which no row has; did you mean `chosen`?" in told
    assert "`images` names column `image`, which no row has; did you mean `images`?" in told
    assert {problem["kind"] for problem in problems} == {"column missing"}


COLUMNS_WITH_TYPING_ERRORS = {
    "prompt": "instruction",
    "chosen": "chosne",
    "rejected": "rejected",
    "images": "image",
    "score_chosen": "a",
    "score_rejected": "score_rejected",
}


THREE = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
CHAT = {"messages": "m", "chosen": "chosen", "rejected": "rejected"}
ENTRIES = [
    (
        {"formatting": "shargpt"},
        "entry",
        "`formatting` is 'shargpt'; there are alpaca, sharegpt, openai. Did you mean",
    ),
    ({"columns": ["prompt"]}, "entry", "`columns` is list ['prompt'], but an object is needed"),
    ({"columns": {"prompt": "instruction", "chosen": "chosen"}}, "entry", "no column for `rejected`"),
    ({"columns": {**THREE, "image": "images"}}, "entry unread", "nobody reads `image`; did you mean `images`?"),
    ({"columns": {**THREE, "score_chosen": "score_chosen"}}, "entry", "the other score has none"),
    ({"formatting": "sharegpt", "columns": CHAT, "tags": {"role_tag": "role"}}, "entry", "no `content_tag`"),
]


@pytest.mark.parametrize(("entry", "kind", "message"), ENTRIES)
def test_entries_that_do_not_fit(folder, make_pair, entry, kind, message) -> None:
    folder.write([make_pair(i) for i in range(3)], **entry)
    problems = folder.check("pairs", "--json").problems
    assert any(p["kind"] == kind and p["row"] is None and message in p["message"] for p in problems), problems


def test_placeholders_in_a_set_without_media_are_text_for_a_template_without_media_alone(folder, make_pair) -> None:
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    folder.write([make_pair(0, instruction="What does <video> do in HTML?", images=None)], columns=columns)
    result = folder.check("pairs", "--json")
    assert (result.code, result.by_kind()) == (1, {"placeholder count": [0]})
    assert folder.check("pairs", "--json", "--template", "qwen2_vl").code == 1
    assert folder.check("pairs", "--json", "--template", "llama3").problems == []


def test_media_that_are_no_images(folder, make_pair) -> None:
    rows = [make_pair(0), make_pair(1, instruction="<image><video><audio>", videos=["no.mp4"], audios=["no.wav"])]
    rows.append(make_pair(2, instruction="<image><video>", videos=[["images/1.png", "images/gone.png"]]))
    columns = {**THREE, "images": "images", "videos": "videos", "audios": "audios"}
    folder.write(rows, columns=columns)
    assert folder.found("pairs") == {"video missing": [1], "audio missing": [1], "image missing": [2]}


WITHIN = {
    "a key": ({"note": {"a": 1}}, {"note": {"a": "x"}}, "`note.a` is text 'x', where 2 other rows have a number"),
    "an element": ({"note": ["x", "y"]}, {"note": ["x", 7]}, "`note[]` is a number 7, where 2 other rows have text"),
    "a list in a list": ({"note": ["x"]}, {"note": [["x"]]}, "`note[]` is a list, where 2 other rows have text"),
    "numbers of two kinds": ({"note": [{"a": 1}]}, {"note": [{"a": 1.5}]}, None),
    "less than the others": ({"note": [{"a": 1, "b": "x"}]}, {"note": [{"a": None}, {}]}, None),
}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(("usual", "odd", "message"), WITHIN.values(), ids=WITHIN)
def test_types_within_a_column(folder, make_pair, tmp_path, usual, odd, message, suffix) -> None:
    path = folder.write([make_pair(0) | usual, make_pair(1) | usual, make_pair(2) | odd], f"pairs.{suffix}")
    found = [(problem["row"], problem["message"]) for problem in folder.check("pairs", "--json").problems]
    assert found == [(2, message)] * (message is not None)
    told = contextlib.nullcontext() if message is None else pytest.raises(DatasetGenerationError)
    with told:
        datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    if message is not None:
        place = message.partition(",")[0]
        assert f"row 2: {place}" in str(explain_unreadable([str(path)], ValueError("")))
        folder.check("pairs", "--fix", folder.path / "clean.json")
        folder.register("clean", "clean.json")
        assert folder.check("clean").code == 0


LATE = {
    "empty lists": ({"images": []}, {"images": ["images/0.png"]}, "and empty in the first 10 MB"),
    "whole numbers": ({"score_chosen": 4}, {"score_chosen": 4.5}, "and only whole numbers in the first 10 MB"),
    "a column more": ({}, {"note": "x"}, "and empty in the first 10 MB"),
    "a key more": ({"note": {"a": "x"}}, {"note": {"a": "x", "b": "y"}}, "and otherwise in the first 10 MB"),
    "whole floats": ({"score_chosen": 4}, {"score_chosen": 5.0}, None),
    "whole numbers behind": ({"score_chosen": 4.5}, {"score_chosen": 4}, None),
    "a column less": ({"note": "x"}, {}, None),
}


@pytest.mark.parametrize(("early", "late", "message"), LATE.values(), ids=LATE)
def test_json_lines_whose_start_does_not_show_a_column(folder, make_pair, tmp_path, early, late, message) -> None:
    text = {"instruction": "x" * 60_000, "images": []}
    rows = [make_pair(i, chosen=f"a {i}", **text) | early for i in range(180)]
    rows.append(make_pair(200, instruction="<image>" * len(late.get("images", [])), images=[]) | late)
    path = folder.write(rows, "pairs.jsonl")
    found = [problem for problem in folder.check("pairs", "--json").problems if problem["severity"] == "error"]
    assert [(problem["kind"], problem["row"]) for problem in found] == [("late column", 180)] * (message is not None)
    assert message is None or message in found[0]["message"]
    told = contextlib.nullcontext() if message is None else pytest.raises(DatasetGenerationError)
    with told:
        datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    if message is None:
        return
    assert explain_unreadable([str(path)], ValueError("")).count(f"row 180: {found[0]['message']}") == 1
    clean = folder.path / "clean.json"
    assert "Give a name that ends in .json" in folder.check("pairs", "--fix", f"{clean}l").err
    folder.check("pairs", "--fix", clean)
    folder.register("clean", "clean.json")
    assert folder.check("clean").code == 0


def test_labels(folder) -> None:
    rows = [{"instruction": f"{i}?", "output": "yes", "label": label} for i, label in enumerate([True, "true", None])]
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "label"}
    folder.write(rows, ranking=False, columns=columns)
    assert folder.found("pairs") == {"bad label": [1, 2], "mixed column": [1]}


def test_a_judged_answer_has_no_media(folder, make_pair) -> None:
    rows = [{**make_pair(0), "output": answer, "label": True} for answer in ("It is <image>.", "It is red.")]
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "label", "images": "images"}
    folder.write(rows, ranking=False, scores=False, columns=columns)
    assert folder.found("pairs") == {"image in answer": [0], "placeholder count": [0], "duplicate prompt": [1]}


def test_prompts_alone_are_sound_where_no_response_is_declared(folder) -> None:
    folder.write([{"instruction": "one?"}, {"instruction": "two?"}], ranking=False, columns={"prompt": "instruction"})
    assert folder.found("pairs") == {}


def test_images_inside_a_parquet_file(folder, make_pair) -> None:
    good = (folder.path / "images/1.png").read_bytes()
    blobs = [good, b"no image", b"", good[: len(good) // 2]]
    folder.write(
        [make_pair(i, images=[{"bytes": blob, "path": None}]) for i, blob in enumerate(blobs)], "pairs.parquet"
    )
    assert folder.found("pairs") == {"image unreadable": [1], "image empty": [2], "image truncated": [3]}


def test_a_body_that_is_broken_within_is_seen_by_decoding(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1, images=["images/scratched.png"])])
    with Image.open(folder.path / "images/scratched.png") as image:
        assert image.size == (43, 30)
    assert folder.found("pairs") == {"image truncated": [1]}  # by the checksum
    folder.write([make_pair(0), make_pair(1, images=["images/few_pixels.png"])])
    assert folder.found("pairs") == {}
    assert folder.found("pairs", "--decode") == {"image truncated": [1]}


def test_what_is_no_regular_file_is_not_opened(folder, make_pair) -> None:
    import os

    os.mkfifo(folder.path / "pipe.png")
    paths = [str(folder.path / "pipe.png"), str(folder.path / "images/folder.png")]
    folder.write([make_pair(i, images=[path]) for i, path in enumerate(paths)])
    problems = folder.check("pairs", "--json").problems
    assert [problem["message"].endswith("is no file") for problem in problems] == [True, True]
    assert folder.found("pairs") == {"image unreadable": [0, 1]}


def test_score_range(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1, score_chosen=11.0), make_pair(2, score_rejected=-1)])
    result = folder.check("pairs", "--json", "--score-range", 0, 5)
    assert result.by_kind() == {"score out of range": [1, 2]}
    assert result.problems[0]["message"] == "`score_chosen` is 11.0, not from 0.0 to 5.0"


# -- rows beside each other ------------------------------------------------------------------------------------------


def test_duplicates(folder, make_pair) -> None:
    first = make_pair(0)
    turned = {**first, "chosen": first["rejected"], "rejected": first["chosen"]}
    folder.write([first, make_pair(1), {**first, "id": 7}, {**first, "rejected": "Else."}, turned])
    result = folder.check("pairs", "--json")
    assert result.by_kind() == {"duplicate row": [2], "duplicate prompt": [3], "contradiction": [4]}
    assert all("row 0" in problem["message"] for problem in result.problems)
    assert result.code == 0 and folder.check("pairs", "--strict").code == 1


def test_the_same_question_about_another_image_is_no_duplicate(folder, make_pair) -> None:
    folder.write([make_pair(0, instruction="<image>?"), make_pair(1, instruction="<image>?")])
    assert folder.found("pairs") == {}


def test_leakage_is_told_by_the_bytes_of_images_and_the_words_of_prompts(folder, make_pair) -> None:
    (folder.path / "copy.png").write_bytes((folder.path / "images/0.png").read_bytes())
    folder.write([make_pair(0), make_pair(1), make_pair(2)], "train.json", "train")
    asked = [{"instruction": "<image>  WHAT is picture 0?", "images": ["copy.png"]}, {"images": ["images/0.png"]}, {}]
    folder.write([make_pair(7, **change) for change in asked], "eval.json", "eval")
    result = folder.check("eval", "--against", "train", "--json")
    assert result.by_kind() == {"leaked row": [0], "leaked image": [1]}
    assert result.problems[0]["message"] == "prompt and images are those of row 0 of train"
    assert result.code == 1


def test_duplicates_across_the_files_of_a_folder(folder, make_pair) -> None:
    (folder.path / "parts").mkdir()
    for name in ("a", "b"):
        folder.write([make_pair(0), make_pair(ord(name))], f"parts/{name}.json", None)
    folder.register("parts", "parts")
    (problem,) = folder.check("parts", "--json").problems
    assert (problem["kind"], problem["row"]) == ("duplicate row", 0)
    assert problem["file"].endswith("b.json") and "a.json, row 0" in problem["message"]


def test_many_values_of_the_wrong_type_all_are_told(folder, make_pair) -> None:
    folder.write([make_pair(i, note=str(i) if i % 2 else i) for i in range(9)])
    assert folder.found("pairs") == {"mixed column": [1, 3, 5, 7]}


def test_json_output_is_json_whatever_the_rows_hold(folder, make_pair) -> None:
    folder.write([make_pair(0, images=["\ud800\x1b[31m<b>.png"])])
    (problem,) = folder.check("pairs", "--json").problems
    assert problem["kind"] == "image missing"
    text = folder.check("pairs").out
    assert "\x1b" not in text and "\\x1b[31m" in text
    json.dumps(problem).encode("utf-8")
