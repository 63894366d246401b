# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data` as it is typed: fix-paths, register, list, show, score-stats, score-scale, score-filter."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from resonance.cli.main import main
from resonance.datafiles import show
from resonance.datafiles.fix import Fixing
from resonance.datafiles.info import read_info
from resonance.datafiles.write import write_rows

Output = pytest.CaptureFixture[str]


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "instruction": f"<image>What is {number}?",
        "chosen": "this",
        "rejected": "that",
        "score_chosen": 4.0 + number % 2,
        "score_rejected": 1.0,
        "images": [f"/content/MM/{number}.png"],
    } | more


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with ten rows in data/pairs.json, and their images in kaggle/MM."""
    write_rows(tmp_path / "data" / "pairs.json", map(row, range(10)), indent=2)
    (tmp_path / "kaggle" / "MM").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (8 + number, 8)).save(tmp_path / "kaggle" / "MM" / f"{number}.png")
    monkeypatch.setenv("COLUMNS", "100")  # of the terminal; the test runner may have another
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(path: str) -> list[Any]:
    return json.loads(Path(path).read_text())


def said(capsys: Output) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.mark.parametrize(
    "way",
    [
        "--marker MM --root kaggle/MM",
        "--from /content --to kaggle",
        "--search kaggle",
        "--from /content/MM --to kaggle/MM",
    ],
)
def test_fix_paths_three_ways(here: Path, capsys: Output, way: str) -> None:
    before = Path("data/pairs.json").read_bytes()
    assert main(["data", "fix-paths", "data/pairs.json", *way.split()]) == 0
    start = "" if "--to" in way else f"{here}/"  # what is typed for --to is what rows get
    found = [r["images"] for r in rows_of("data/pairs.fixed.json")]
    assert found == [[f"{start}kaggle/MM/{i}.png"] for i in range(10)]
    assert Path("data/pairs.json").read_bytes() == before
    text = said(capsys)
    assert "10 rows, 10 paths: 10 changed, 0 as they were" in text and "-> data/pairs.fixed.json" in text
    assert "found by the name of the file alone" not in text


def test_fix_paths_in_place_keeps_a_backup_and_does_nothing_twice(here: Path, capsys: Output) -> None:
    before = Path("data/pairs.json").read_bytes()
    command = ["data", "fix-paths", "data/pairs.json", "--search", "kaggle", "--in-place"]
    assert main(command) == 0
    assert Path("data/pairs.json.bak").read_bytes() == before
    assert Path("data/pairs.json").read_bytes() == before.replace(b"/content/MM/", f"{here}/kaggle/MM/".encode())
    assert "as it was: data/pairs.json.bak" in said(capsys)
    assert main(command) == 0
    assert "nothing to change" in said(capsys)
    assert sorted(os.listdir("data")) == ["pairs.json", "pairs.json.bak"]


def test_fix_paths_with_something_missing(here: Path, capsys: Output) -> None:
    Path("kaggle/MM/3.png").unlink()
    command = ["data", "fix-paths", "data/pairs.json", "--from", "/content", "--to", "kaggle", "-o", "out.json"]
    assert main(command) == 1
    text = said(capsys)
    assert "row 3, images[0]: /content/MM/3.png: there is no kaggle/MM/3.png" in text
    assert "9 to change, 1 as they were, 1 missing" in text
    assert "nothing was written\nNext: correct the above, or add --keep-going, or --no-check" in text
    assert not Path("out.json").exists()
    assert main([*command, "--keep-going"]) == 1
    assert "1 row stayed as it was" in said(capsys)
    assert [r["images"][0].split("/")[0] for r in rows_of("out.json")] == ["kaggle"] * 3 + [""] + ["kaggle"] * 6
    assert main([*command, "--no-check"]) == 1
    assert "out.json exists; add --force to write over it, or give another name." in said(capsys)
    assert main([*command, "--no-check", "--force"]) == 0
    assert rows_of("out.json")[3]["images"] == ["kaggle/MM/3.png"]


def test_fix_paths_prints_the_first_problems_and_counts_the_rest(here: Path, capsys: Output) -> None:
    write_rows("many.jsonl", (row(i, images=["/content/none.png"]) for i in range(50)))
    command = ["data", "fix-paths", "many.jsonl", "--search", "kaggle"]
    assert main(command) == 1
    text = said(capsys)
    assert (
        text.count(f"not found; no file of that name is below {here}/kaggle") == 20
        and "... and 30 more; --all" in text
    )
    assert main([*command, "--all"]) == 1
    assert said(capsys).count("not found") == 50


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "none of --marker NAME --root DIR, --from PREFIX --to PREFIX, --search DIR"),
        ("--marker MM", 2, "--marker NAME and --root DIR go together"),
        ("--marker MM --root kaggle/MM --search kaggle", 2, "several of"),
        ("--from /content", 2, "1 --from and 0 --to"),
        ("--search nowhere", 2, "/nowhere: no such folder"),
        ("--search kaggle -o data/pairs.json", 2, "the output is the input"),
        ("--search kaggle -o out.csv", 1, "out.csv: rows are written to .json or .jsonl"),
        ("--search kaggle --in-place -o out.json", 2, "not allowed with argument"),
        ("--marker MM --root kaggle", 1, "--marker MM --root kaggle --root kaggle/MM\n"),
        ("--marker MM --root nowhere/MM", 1, "nowhere/MM is no folder"),
        ("--marker MN --root kaggle/MM", 1, "has no folder 'MN'"),
        ("--search kaggle --key pics", 1, "no row has a path under pics\nNext: resonance data show data/pairs.json"),
    ],
)
def test_fix_paths_called_wrongly(here: Path, capsys: Output, arguments: str, code: int, message: str) -> None:
    before = sorted(os.listdir("data"))
    assert main(["data", "fix-paths", "data/pairs.json", *arguments.split()]) == code
    assert message in said(capsys) and sorted(os.listdir("data")) == before


def test_fix_paths_of_no_file(here: Path, capsys: Output) -> None:
    assert main(["data", "fix-paths", "none.json", "--search", "kaggle"]) == 1
    assert "resonance data fix-paths: none.json: no such file" in said(capsys)


def test_fix_paths_says_what_is_ambiguous(here: Path, capsys: Output) -> None:
    Path("kaggle/copy").mkdir()
    Path("kaggle/copy/3.png").touch()
    write_rows("rows.json", [row(3, images=["/x/3.png"])])
    assert main(["data", "fix-paths", "rows.json", "--search", "kaggle"]) == 1
    text = said(capsys)
    assert f"2 files below {here}/kaggle fit equally well: MM/3.png, copy/3.png" in text and "1 ambiguous" in text
    assert "Next: tell them apart with --from PREFIX --to PREFIX" in text


def test_register_and_look(here: Path, capsys: Output) -> None:
    assert main(["data", "register", "data/pairs.json", "--dry-run"]) == 0
    assert '+  "pairs": {' in said(capsys) and not Path("data/dataset_info.json").exists()
    assert main(["data", "register", "data/pairs.json"]) == 0
    assert '+  "pairs": {' in (text := said(capsys)) and "Next: resonance data check pairs" in text
    assert read_info(Path("data/dataset_info.json"))["pairs"]["columns"]["score_chosen"] == "score_chosen"
    assert main(["data", "register", "data/pairs.json"]) == 0
    assert "there already" in said(capsys)
    write_rows(
        "data/chat.jsonl", [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    )
    assert main(["data", "register", "data/chat.jsonl", "--name", "pairs"]) == 1
    assert "another entry 'pairs'; --force changes it" in said(capsys)
    assert main(["data", "register", "data/chat.jsonl", "--info", "data/dataset_info.json"]) == 0
    assert "as it was: data/dataset_info.json.bak" in said(capsys)
    info = json.loads(Path("data/dataset_info.json").read_text())
    info |= {
        "gone": {"file_name": "gone.json"},
        "hub": {"hf_hub_url": "a/b"},
        "odd": {},
        "bad": {"file_name": "bad.json"},
    }
    Path("data/bad.json").write_text("[1,")
    Path("data/dataset_info.json").write_text(json.dumps(info))
    capsys.readouterr()
    assert main(["data", "list"]) == 0
    assert said(capsys).splitlines()[:7] == [
        "NAME   ROWS  FORMATTING  PAIRS  SCORES  SOURCE",
        "pairs  10    alpaca      yes    yes     pairs.json",
        "chat   1     sharegpt    -      -       chat.jsonl",
        "gone   -     alpaca      -      -       gone.json  NOT THERE",
        "hub    -     alpaca      -      -       hub: a/b",
        "odd    -     alpaca      -      -       no file_name",
        "bad    ?     alpaca      -      -       bad.json  CANNOT BE READ",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("columns.image=x", "there is no columns.image; did you mean columns.images?"),
        ("ranking=maybe", "ranking is one of true, false"),
        ("formatting=chatml", "formatting is one of alpaca, sharegpt, openai"),
        ("num_samples=-1", "num_samples is one of 1, 2, 3"),
        ("prompt", "write KEY=VALUE"),
    ],
)
def test_register_with_wrong_settings(here: Path, capsys: Output, setting: str, message: str) -> None:
    assert main(["data", "register", "data/pairs.json", "--set", setting]) == 2
    assert message in said(capsys) and not Path("data/dataset_info.json").exists()


def test_register_what_cannot_be_told(here: Path, capsys: Output) -> None:
    write_rows("data/odd.json", [{"q": "x", "a": "y", "pics": ["1.png"]}])
    assert main(["data", "register", "data/odd.json"]) == 1
    assert "Pass --set columns.prompt=NAME --set columns.response=NAME" in said(capsys)
    settings = ["columns.prompt=q", "columns.response=a", "columns.images=pics", "num_samples=3"]
    assert main(["data", "register", "data/odd.json", *(f"--set={setting}" for setting in settings)]) == 0
    assert read_info(Path("data/dataset_info.json"))["odd"] == {
        "file_name": "odd.json",
        "num_samples": 3,
        "columns": {"prompt": "q", "response": "a", "images": "pics"},
    }


def test_list_without_any(here: Path, capsys: Output) -> None:
    assert main(["data", "list"]) == 1
    assert "data/dataset_info.json is not there\nNext: resonance data register FILE" in said(capsys)
    Path("data/dataset_info.json").write_text("{}")
    assert main(["data", "list"]) == 1
    assert "data/dataset_info.json names no data set\nNext: resonance data register FILE" in said(capsys)


def test_show(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [
        row(0, images=["../kaggle/MM/2.png", "none.png", "bad.png", "MM"], chosen="long " * 100),
        row(1, instruction="colour \x1b[31mred\x07\r \u202eback\nsecond line"),
    ]
    Path("data/bad.png").write_text("no picture")
    (here / "data" / "MM").mkdir()
    write_rows("data/ugly.json", rows)
    assert main(["data", "register", "data/ugly.json"]) == 0
    capsys.readouterr()
    assert main(["data", "show", "ugly"]) == 0
    text = said(capsys)
    assert max(map(len, text.splitlines())) <= 60
    assert "\x1b" not in text and "\x07" not in text and "\r" not in text and "\u202e" not in text
    flat = " ".join(text.split())
    for expected in (
        "data/ugly.json, row 0",
        "prompt",
        "... (500 characters in all)",
        "../kaggle/MM/2.png 10x8 PNG",
        "none.png not there",
        "bad.png no image, 10 bytes",
        "MM a folder of 0",
        "data/ugly.json, row 1",
        "colour \\x1b[31mred\\x07\\r \\u202eback second line",
    ):
        assert expected in flat
    assert main(["data", "show", "data/ugly.json", "--row", "1", "--full", "--n", "9"]) == 0
    assert (text := said(capsys)).count("data/ugly.json, row") == 1 and "chosen (score 5)" in text


def test_show_messages_and_pictures_within_rows(here: Path, capsys: Output) -> None:
    data = io.BytesIO()
    Image.new("L", (3, 4)).save(data, "JPEG")
    rows = [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
             "images": [{"bytes": data.getvalue(), "path": "in.jpg"}]}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), "rows.parquet")
    assert main(["data", "show", "rows.parquet"]) == 0
    flat = " ".join(said(capsys).split())
    assert "conversations), human q" in flat and "in.jpg 3x4 JPEG" in flat and "within the row" in flat


def test_show_what_has_no_entry(here: Path, capsys: Output) -> None:
    write_rows("odd.json", [{"q": "x", "n": 3}, "text"])
    assert main(["data", "show", "odd.json"]) == 0
    text = said(capsys)
    assert "q  x" in text and "no object but str: 'text'" in text and "row 1: is a str where an object" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("pears", 1, "pears: no such file, and no such name in data/dataset_info.json (nearest: pairs"),
        ("pairs --row 99", 1, "pairs: has no row 99"),
        ("pairs --n 0", 2, "--n is 1 or more"),
        ("hub", 1, "hub is loaded from a/b; only data sets on this machine"),
        ("gone", 1, "gone: its file data/gone.json is not there"),
        ("odd", 1, "odd: has no file_name"),
        ("wrong", 1, "wrong: its columns are no object but ['a']"),
        ("null --n 1", 0, "instruction"),
    ],
)
def test_show_of_a_wrong_name(here: Path, capsys: Output, arguments: str, code: int, message: str) -> None:
    info = {
        "pairs": {"file_name": "pairs.json"},
        "hub": {"hf_hub_url": "a/b"},
        "gone": {"file_name": "gone.json"},
        "odd": {},
    }
    info |= {"wrong": {"file_name": "pairs.json", "columns": ["a"]}}
    info |= {"null": {"file_name": "pairs.json", "columns": None, "tags": None}}
    Path("data/dataset_info.json").write_text(json.dumps(info))
    assert main(["data", "list"]) == 0
    assert main(["data", "show", *arguments.split()]) == code
    assert message in said(capsys)


def test_score_stats(here: Path, capsys: Output) -> None:
    write_rows("s.jsonl", [row(0, score_chosen=c, score_rejected=r) for c, r in [(5, 1), (4, 4), (1, 3), (4, 2)]])
    assert main(["data", "score-stats", "s.jsonl", "--plot", "s.png", "--tau-good", "2.5", "4"]) == 0
    text = said(capsys)
    assert "4 pairs with scores (score_chosen, score_rejected)" in text
    assert "ties: 1 (25.0%)    chosen below rejected: 1 (25.0%)" in text
    assert "      2.5       75.0%        50.0%" in text and "        4       75.0%        25.0%" in text
    assert "Next: resonance data register s.jsonl" in text
    with Image.open("s.png") as image:
        assert image.format == "PNG" and image.width > 500


def test_score_stats_of_bad_and_of_no_scores(here: Path, capsys: Output) -> None:
    write_rows("s.jsonl", [row(0, score_chosen=None), row(1)])
    assert main(["data", "score-stats", "s.jsonl"]) == 1
    assert "1 pairs with scores" in (text := said(capsys)) and "row 0: score_chosen is missing" in text
    write_rows("n.jsonl", [{"prompt": "x", "a": 1.5, "b": 1.0}])
    assert main(["data", "score-stats", "n.jsonl"]) == 1
    assert "no two columns were recognised as scores" in (text := said(capsys)) and "Pass --columns CHOSEN" in text
    assert main(["data", "score-stats", "n.jsonl", "--columns", "a", "b"]) == 0
    assert main(["data", "score-stats", "n.jsonl", "--columns", "b", "a"]) == 0
    assert "are the two columns mixed up?" in said(capsys)
    assert main(["data", "score-stats", "n.jsonl", "--plot", "x.pdf"]) == 2


def test_score_scale(here: Path, capsys: Output) -> None:
    command = ["data", "score-scale", "data/pairs.json", "-o", "out.json"]
    assert main([*command, "--from", "0", "5", "--to", "0", "10", "--tau-good", "4"]) == 0
    assert [(r["score_chosen"], r["score_rejected"]) for r in rows_of("out.json")] == [(8.0, 2.0), (10.0, 2.0)] * 5
    text = said(capsys)
    assert "uni_dpo_tau_good: 4 on the old scale becomes 8; 100.0% of the chosen" in text
    assert "Margins are multiplied by 2: uni_dpo_qual_eta 0.7 weighs pairs as 1.4 did before" in text
    assert main([*command, "--from", "2", "4", "--to", "0", "5"]) == 1
    assert "out.json exists; add --force to write over it, or give another name." in said(capsys)
    command.append("--force")
    assert main([*command, "--from", "2", "4", "--to", "0", "5"]) == 1
    assert "scores go from 1 to 5, beyond --from 2 4, in 10 rows: 0, 1, 2" in (text := said(capsys))
    assert text.endswith(f"Next: resonance {shlex.join(command)} --from 2 4 --to 0 5 --from 1 5\n")
    assert main(shlex.split(text.split("Next: resonance ")[1])) == 0
    assert main([*command, "--quantiles", "--to", "0", "5"]) == 0
    assert {r["score_rejected"] for r in rows_of("out.json")} == {0.0}
    assert main([*command, "--to", "5", "0"]) == 1
    assert "each must rise" in said(capsys)
    assert main(["data", "score-scale", "data/pairs.json", "-o", "data/pairs.json", "--to", "0", "5"]) == 1
    assert "the output is the input" in said(capsys)


def test_a_scale_may_be_below_zero(here: Path) -> None:
    assert main("data score-scale data/pairs.json -o out.json --from -5 5 --to -1 1".split()) == 0
    assert rows_of("out.json")[0]["score_rejected"] == pytest.approx(0.2)


def test_score_filter(here: Path, capsys: Output) -> None:
    command = ["data", "score-filter", "data/pairs.json", "-o", "out.json", "--min-margin"]
    assert main([*command, "4"]) == 0
    assert "5 pairs kept, 5 dropped (margin below 4)" in said(capsys)
    assert [r["score_chosen"] for r in rows_of("out.json")] == [5.0] * 5
    assert main([*command, "9"]) == 1
    assert "out.json exists; add --force" in said(capsys)
    command = [*command[:-1], "--force", "--min-margin"]
    assert main([*command, "9"]) == 1
    assert "the widest margin is 4. Nothing was written" in said(capsys) and len(rows_of("out.json")) == 5
    assert main([*command, "nan"]) == 2
    write_rows("data/pairs.json", [row(0, score_chosen="4"), row(1)])
    assert main([*command, "1"]) == 1
    assert "row 0: score_chosen is not a number but str '4'" in said(capsys)
    assert main([*command, "1", "--drop-unscored", "--keep-ties"]) == 0
    assert "1 pair kept, 0 dropped (margin below 1, but no ties), 1 dropped without scores" in said(capsys)


def test_columns_come_from_the_entry(here: Path, capsys: Output) -> None:
    write_rows("data/named.json", [row(0, mine=9, yours=7)])
    assert (
        main(
            "data register data/named.json --set columns.score_chosen=mine --set columns.score_rejected=yours".split()
        )
        == 0
    )
    for name in ("named", "data/named.json"):
        capsys.readouterr()
        assert main(["data", "score-stats", name]) == 0
        assert "(mine, yours)" in (text := said(capsys)) and "Next" not in text


def test_a_set_of_several_files(here: Path, capsys: Output) -> None:
    for part in range(2):
        write_rows(f"parts/{part}.jsonl", [row(part), row(part)])
    assert main(["data", "score-stats", "parts"]) == 0
    assert "parts: 4 pairs" in said(capsys)
    assert main(["data", "show", "parts", "--row", "2", "--n", "1"]) == 0
    assert "parts/1.jsonl, row 0" in said(capsys)
    assert main(["data", "score-filter", "parts", "-o", "o.json", "--min-margin", "0"]) == 1
    assert "holds 2 files; give one: parts/0.jsonl" in said(capsys)


def test_these_commands_do_without_torch(here: Path) -> None:
    commands = ["register data/pairs.json", "list", "show pairs", "fix-paths data/pairs.json --search kaggle"]
    commands += ["score-stats pairs", "score-filter pairs -o f.json --min-margin 1"]
    commands += ["score-scale pairs -o s.json --to 0 5"]
    code = (
        "import sys; from resonance.cli.main import main\n"
        f"codes = [main(['data', *command.split()]) for command in {commands!r}]\n"
        "heavy = {'torch', 'transformers', 'llamafactory', 'datasets'} & set(sys.modules)\n"
        "sys.exit(str((codes, heavy)) if any(codes) or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fix_paths_a_second_time_where_the_new_start_holds_the_old_one(here: Path, capsys: Output) -> None:
    Path("kaggle/content").mkdir()
    Path("kaggle/MM").rename("kaggle/content/MM")
    write_rows("rows.json", [row(3, images=["kaggle/MM/3.png"])])
    for way in ("--from kaggle --to kaggle/content", "--marker kaggle --root kaggle/content"):
        command = ["data", "fix-paths", "rows.json", "--in-place", *way.split()]
        assert main(command) == 0
        assert rows_of("rows.json")[0]["images"] == ["kaggle/content/MM/3.png"]
        assert main(command) == 0
        assert "0 to change, 1 as they were\nnothing to change" in said(capsys)


def test_fix_paths_tells_of_paths_that_depend_on_the_working_folder(here: Path, capsys: Output) -> None:
    command = ["data", "fix-paths", "data/pairs.json", "--force", "--from", "/content", "--to"]
    assert main([*command, "kaggle"]) == 0
    assert f"only when training starts in this folder, {here}: an absolute path in --to" in said(capsys)
    assert main([*command, str(here / "kaggle")]) == 0
    assert "Some paths" not in said(capsys)
    assert main([*command, "kaggle", "--media-dir", str(here)]) == 0
    assert "Some paths" not in said(capsys)


def test_many_changes_of_dataset_info_leave_two_backups(here: Path) -> None:
    for name in "abcde":
        assert main(["data", "register", "data/pairs.json", "--name", name]) == 0
    assert sorted(name for name in os.listdir("data") if name.startswith("dataset_info")) == [
        "dataset_info.json",
        "dataset_info.json.bak",
        "dataset_info.json.orig",
    ]
    assert list(read_info(Path("data/dataset_info.json.orig"))) == ["a"]
    assert list(read_info(Path("data/dataset_info.json.bak"))) == ["a", "b", "c", "d"]


def test_a_set_is_named_after_its_file(here: Path, capsys: Output) -> None:
    Path("data/pairs.json").rename("data/pairs.v2.fixed.json")
    assert main(["data", "register", "data/pairs.v2.fixed.json"]) == 0
    assert list(read_info(Path("data/dataset_info.json"))) == ["pairs.v2.fixed"]


@pytest.mark.parametrize("folder", ["a*b", "a?b", "a[1]", "a::b"])
def test_a_path_that_datasets_takes_for_a_pattern(here: Path, capsys: Output, folder: str) -> None:
    write_rows(f"{folder}/pairs.json", map(row, range(2)))
    assert main(["data", "register", f"{folder}/pairs.json"]) == 1
    assert "LlamaFactory cannot read from a path with" in said(capsys) and not Path("data/dataset_info.json").exists()


def test_what_comes_next_can_be_typed(here: Path, capsys: Output) -> None:
    Path("my data").mkdir()
    Path("data/pairs.json").rename("my data/my pairs.json")
    info = ["--dataset-dir", "my data"]
    file = "my data/my pairs.json"
    assert main(["data", "register", file, *info]) == 0
    assert "Next: resonance data check 'my pairs' --dataset-dir 'my data', then" in said(capsys)
    assert main(["data", "list", *info]) == 0
    assert "Next: resonance data show 'my pairs' --dataset-dir 'my data'" in said(capsys)
    assert main(["data", "score-filter", file, *info, "-o", "my data/a.json", "--min-margin", "0"]) == 0
    assert "Next: resonance data register 'my data/a.json' --dataset-dir 'my data'" in said(capsys)
    assert main(["data", "score-scale", file, *info, "-o", "my data/b.json", "--to", "0", "1"]) == 0
    assert "Next: resonance data register 'my data/b.json' --dataset-dir 'my data'" in said(capsys)
    assert main(["data", "score-stats", "my data/b.json", *info]) == 0
    assert "Next: resonance data register 'my data/b.json' --dataset-dir 'my data'" in said(capsys)


def test_nothing_of_a_file_acts_on_the_terminal(here: Path, capsys: Output) -> None:
    odd = "x\x1b[31m\u202ey"
    write_rows(f"data/{odd}.json", [{odd: "a"}, {odd: 5}])
    write_rows("data/odd.json", [row(0, images=[f"/{odd}.png"])])
    Path("data/dataset_info.json").write_text(json.dumps({odd: {"file_name": f"{odd}.json"}}, ensure_ascii=False))
    commands = [
        ["list"],
        ["show", odd],
        ["show", f"data/{odd}.json"],
        ["register", f"data/{odd}.json"],
        ["register", "data/odd.json", "--name", odd],
        ["register", "data/odd.json"],
        ["score-stats", odd],
        ["fix-paths", f"data/{odd}.json", "--search", "kaggle"],
        ["fix-paths", "data/odd.json", "--search", "kaggle"],
    ]
    for command in commands:
        main(["data", *command])
        text = said(capsys)
        assert text and "\x1b" not in text and "\u202e" not in text, command


def test_a_name_goes_before_a_folder(here: Path, capsys: Output) -> None:
    assert main(["data", "register", "data/pairs.json"]) == 0
    Path("pairs").mkdir()
    assert main(["data", "show", "pairs"]) == 0
    assert "data/pairs.json, row 0" in said(capsys)


def test_entries_and_rows_that_are_odd_end_in_a_message(here: Path, capsys: Output) -> None:
    Path("data/dataset_info.json").write_text(json.dumps({"long": {"file_name": "x" * 400}}))
    assert main(["data", "list"]) == 0
    assert "NOT THERE" in said(capsys)
    assert main(["data", "show", "long"]) == 1
    assert "is not there" in said(capsys)
    assert main(["data", "show", "data/pairs.json"]) == 0
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    write_rows("mixed.json", [{"messages": turns}, {"messages": []}, {"messages": 5}])
    assert main(["data", "register", "mixed.json"]) == 1
    assert "messages (column 'messages') is a number in some rows, and LlamaFactory's sharegpt" in said(capsys)
    assert main(["data", "register", "mixed.json", "--set", "columns.messages=", "--set", "formatting=sharegpt"]) == 0
    write_rows("big.json", [row(0, score_chosen=10**400)])
    capsys.readouterr()
    assert main(["data", "score-stats", "big.json"]) == 1
    assert "score_chosen is a whole number beyond what a float holds" in said(capsys)
    assert main(["data", "score-stats", "data/pairs.json", "--tau-good", "nan"]) == 2
    assert main("data score-scale data/pairs.json -o o.json --to 0 1 --tau-good inf".split()) == 2


def test_show_does_not_wrap_what_it_does_not_show(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    real, seen = show._wrap, []
    monkeypatch.setattr(show, "_wrap", lambda line, width: seen.append(len(line)) or real(line, width))
    write_rows("huge.json", [row(0, chosen="word " * 10**6)])
    assert main(["data", "show", "huge.json"]) == 0
    assert "... (5000000 characters in all)" in said(capsys) and sum(seen) < 10_000


# Calls a command and dies at the n-th call of os.replace, before or after it is done.
KILLED = """
import os, signal, sys
from resonance.cli.main import main

real, left = os.replace, int(sys.argv[1])
def kill(*args, **kwargs):
    global left
    left -= 1
    if left or sys.argv[2] == "after":
        real(*args, **kwargs)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = kill
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["1", "2"])  # of the backup, of the file itself
@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/pairs.json", "data fix-paths data/pairs.json --search kaggle --in-place"),
        ("data/dataset_info.json", "data register data/pairs.json"),
    ],
)
def test_a_kill_leaves_the_old_file_or_the_new_one(here: Path, path: str, command: str, call: str, when: str) -> None:
    Path("data/dataset_info.json").write_text('{"other": {"file_name": "x.json"}}')
    old = Path(path).read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, call, when, *command.split()], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = Path(path).read_bytes()
    assert (left == old) == ((call, when) != ("2", "after"))
    json.loads(left)
    assert main(command.split()) == 0  # what was left behind is no hindrance
    new = Path(path).read_bytes()
    assert new != old and left in (old, new) and not [name for name in os.listdir("data") if name.endswith(".partial")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_of_fix_paths_leaves_no_half_output(here: Path, when: str) -> None:
    command = "data fix-paths data/pairs.json --search kaggle -o out.json".split()
    done = subprocess.run([sys.executable, "-c", KILLED, "1", when, *command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert Path("out.json").exists() == (when == "after")
    assert (
        main([*command, "--force"]) == 0 and len(rows_of("out.json")) == 10 and not Path(".out.json.partial").exists()
    )


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("--marker MN --root kaggle/MM", "no path has a folder MN; they look like:\n  /content/MM/0.png"),
        ("--marker MN --root kaggle/MM", "--marker MN --root kaggle/MM --marker MM"),
        ("--marker MN --root kaggle/MM --no-check", "no path has a folder MN"),
        ("--marker MN --root kaggle/MM --keep-going", "nothing was written: no path has a folder MN"),
        ("--from /contend/MM --to kaggle/MM --keep-going", "no path starts with /contend/MM; they look like:"),
        ("--from /contend/MM --to kaggle/MM", "Next: did you mean --from /content/MM?"),
        ("--search data --keep-going", "no file of these paths is below data; they look like:\n  /content/MM/0.png"),
    ],
)
def test_fix_paths_whose_way_fits_no_path(here: Path, capsys: Output, way: str, message: str) -> None:
    assert main(["data", "fix-paths", "data/pairs.json", *way.split()]) == 1
    assert message in said(capsys) and os.listdir("data") == ["pairs.json"]


def test_what_is_replaced_by_force_stays_beside_it(here: Path, capsys: Output) -> None:
    Path("out.json").write_text("precious")
    command = ["data", "fix-paths", "data/pairs.json", "--search", "kaggle", "-o", "out.json"]
    assert main(command) == 1 and Path("out.json").read_text() == "precious"
    assert main([*command, "--force"]) == 0 and Path("out.json.bak").read_text() == "precious"
    assert main([*command, "--force"]) == 0 and not Path("out.json.orig").exists()  # the same bytes once more


def test_a_plot_is_not_written_over_another_file(here: Path, capsys: Output) -> None:
    Path("out.png").write_text("precious")
    command = ["data", "score-stats", "data/pairs.json", "--plot", "out.png"]
    assert main(command) == 1 and Path("out.png").read_text() == "precious"
    assert "out.png exists; add --force" in said(capsys)
    assert main([*command, "--force"]) == 0 and Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_a_changed_copy_is_registered_beside_its_set(here: Path, capsys: Output) -> None:
    Path("my data").mkdir()
    write_rows("my data/named.json", [row(0, mine=9, yours=7)])
    scores = "--set columns.score_chosen=mine --set columns.score_rejected=yours"
    assert main(["data", "register", "my data/named.json", "--dataset-dir", "my data", *scores.split()]) == 0
    columns = ["--columns", "mine", "yours"]
    for name, more in (("named", ["--dataset-dir", "my data"]), ("my data/named.json", [])):
        command = ["data", "score-filter", name, *more, "-o", "my data/half.json", "--min-margin", "1", "--force"]
        capsys.readouterr()
        assert main([*command, *columns]) == 0
        following = said(capsys).split("Next: resonance ")[1]
        assert following == f"data register 'my data/half.json' --dataset-dir 'my data' {scores}\n"
        assert main(shlex.split(following)) == 0
    assert read_info(Path("my data/dataset_info.json"))["half"]["columns"]["score_chosen"] == "mine"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "cannot write out.json: Permission denied\nNext: choose a file or"),
        (OSError(28, "No space left on device"), "cannot write out.json: No space left on device\nNext: free some"),
    ],
)
def test_what_the_system_refuses_is_told_in_words(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def refuse(*arguments: Any) -> None:
        raise error

    command = ["data", "score-filter", "data/pairs.json", "-o", "out.json", "--min-margin", "1"]
    monkeypatch.setattr(os, "fsync", refuse)
    if isinstance(error, PermissionError):
        error.filename = str(here / ".out.json.partial")
    assert main(command) == 1
    text = said(capsys)
    assert message in text and "Errno" not in text and ".partial" not in text


@pytest.mark.parametrize(
    ("link", "command", "cure"),
    [
        (".dataset_info.json.partial", "register data/pairs.json", "look where it came from, and delete it"),
        ("dataset_info.json", "register data/pairs.json", "delete the link, or give another name"),
        (".out.json.partial", "fix-paths data/pairs.json --search kaggle -o data/out.json", "look where it came from"),
        ("out.json", "score-filter data/pairs.json -o data/out.json --min-margin 1", "delete the link, or give"),
    ],
)
def test_a_link_in_a_folder_from_elsewhere_is_not_written_through(
    here: Path, capsys: Output, link: str, command: str, cure: str
) -> None:
    Path("data", link).symlink_to("../precious")
    if "partial" in link:
        Path("precious").write_text("precious")
    assert main(["data", *command.split()]) == 1
    text = said(capsys)
    assert "cannot write data/" in text and f"Next: {cure}" in text
    assert Path("precious").exists() == ("partial" in link)
    assert not Path("precious").exists() or Path("precious").read_text() == "precious"
    Path("data", link).unlink()  # as the message says
    assert main(["data", *command.split()]) == 0


def test_fix_paths_does_not_write_over_a_change_that_came_meanwhile(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Fixing.move

    def meanwhile(fixing: Fixing, number: int, value: dict[str, Any]) -> None:
        if number == 5:
            Path("data/pairs.json").write_text(json.dumps([row(0, chosen="edited")]))
        real(fixing, number, value)

    monkeypatch.setattr(Fixing, "move", meanwhile)
    assert main("data fix-paths data/pairs.json --search kaggle --in-place".split()) == 1
    assert "data/pairs.json: was changed while it was read; run again" in said(capsys)
    assert [each["chosen"] for each in rows_of("data/pairs.json")] == ["edited"]
    assert os.listdir("data") == ["pairs.json"]


def test_a_file_where_a_folder_is_needed(here: Path, capsys: Output) -> None:
    command = ["data", "score-filter", "data/pairs.json", "-o", "data/pairs.json/out.json", "--min-margin", "1"]
    assert main(command) == 1
    text = said(capsys)
    assert "cannot write data/pairs.json/out.json: " in text and "Errno" not in text


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ({"role": "user", "content": "x"}, "a message without 'from' and 'value' (keys role, content)"),
        ({"from": "human", "value": None, "more": 1}, ""),
        ({"from": "human", "value": 7}, "the 'value' of a message is a int, and LlamaFactory needs text"),
    ],
)
def test_register_names_the_row_that_is_unlike_the_others(
    here: Path, capsys: Output, odd: dict[str, Any], problem: str
) -> None:
    answer = {"from": "gpt", "value": "a"}
    rows = [{"conversations": [{"from": "human", "value": "q"}, answer]} for _ in range(9)]
    rows[4]["conversations"][0] = odd
    write_rows("talks.json", rows)
    assert main(["data", "register", "talks.json"]) == (1 if problem else 0)
    text = said(capsys)
    if problem:
        assert f"talks.json, row 4: {problem}. Most rows are sound: correct this one." in text
        assert "--set" not in text


def test_register_in_a_folder_that_is_not_there(here: Path, capsys: Output) -> None:
    assert main("data register data/pairs.json --dataset-dir dat".split()) == 1
    text = said(capsys)
    assert "dat: no such folder. Did you mean data?\nNext: mkdir -p dat, if it is a new one" in text
    assert not Path("dat").exists()
    Path("pairs.json").write_text(Path("data/pairs.json").read_text())
    shutil.rmtree("data")
    assert main("data register pairs.json".split()) == 0  # the default one is made


def test_list_proposes_a_set_that_can_be_shown(here: Path, capsys: Output) -> None:
    entries = {"hub": {"hf_hub_url": "a/b"}, "gone": {"file_name": "gone.json"}, "here": {"file_name": "pairs.json"}}
    Path("data/dataset_info.json").write_text(json.dumps(entries))
    assert main(["data", "list"]) == 0
    assert said(capsys).endswith("Next: resonance data show here\n")
