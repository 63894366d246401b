# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data import`: what it says, what it refuses, and what it leaves alone."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from importers.case import picture, write
from resonance.cli.data import import_ as command
from resonance.cli.data import progress as progress_module
from resonance.cli.data.progress import Progress
from resonance.cli.main import main
from resonance.datafiles import info
from resonance.importers.job import Job
from resonance.importers.run import import_dataset
from resonance.importers.spec import Example, Importer, Options, question
from resonance.importers.table import IMPORTERS
from resonance.importers.work import ROWS, SKIPPED, Tally

ROW = {"question": "What?", "chosen": "a", "rejected": "b", "image_path": "1.png"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "1.png").write_bytes(picture(1))
    return write(tmp_path / "rows.jsonl", [ROW, ROW | {"chosen": "c"}])


def call(*arguments: object) -> int:
    return main(["data", "import", *map(str, arguments)])


def test_the_list_names_every_importer(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--list") == 0
    said = capsys.readouterr().out
    for importer in IMPORTERS.values():
        assert f"{importer.name} " in said and importer.summary in said
    assert said.endswith("Next: resonance data import NAME [PATH_OR_HUB_ID] --out data\n")


def test_the_reward_that_is_offered_reads_the_column_that_is_there(tmp_path: Path, capsys: Any) -> None:
    row = {"prompt": [{"role": "user", "content": "2 + 2?"}], "reward_model": {"ground_truth": "4"}}
    assert call("verl", write(tmp_path / "rows.jsonl", [row]), "--out", tmp_path / "data") == 0
    assert "`rewards: [{name: exact, answer: ground_truth}]`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which data set?"),
        (("rlaifv", "x", "--out", "d"), "no importer 'rlaifv'; nearest: rlaif_v, "),
        (("rlaif_v", "x"), "--out is missing: the folder for rlaif_v's data file, for example --out data"),
        (
            ("rlaif_v", "x", "--out", "d", "--score-margin", "1"),
            "--score-margin is read by vlfeedback, not by rlaif_v",
        ),
        (("rlaif_v", "x", "--out", "d", "--synthetic-pairs"), "--synthetic-pairs is read by vqa_rad, not by rlaif_v"),
        (("vlfeedback", "x", "--out", "d", "--score-margin", "-2"), "--score-margin: -2 is neither -1 nor a number"),
        (("vlfeedback", "x", "--out", "d", "--score-margin", "nan"), "--score-margin: nan is neither -1 nor a number"),
        (("vqa_rad", "x", "--out", "d", "--seed", "x"), "--seed: invalid literal for int()"),
    ],
)
def test_called_wrongly(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"resonance data import: {message}")
    assert said.endswith("; Next: resonance data import --list\n")


def test_all_that_is_wrong_with_a_job_at_once(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--name", "a/b", "--max-rows", "0", "--image-root", tmp_path / "none")
    assert call("rlaif_v", raw, "--out", tmp_path / "out", *flags) == 1
    said = capsys.readouterr().err
    assert (
        "--name 'a/b': letters" in said and "--max-rows 0: at least 1" in said and "no such folder or archive" in said
    )
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert call("rlaif_v", raw, "--out", out) == 0
    before = (out / "rlaif_v.json").read_bytes()
    assert call("rlaif_v", raw, "--out", out, "--max-rows", "1") == 1
    assert f"{out / 'rlaif_v.json'} exists: --force replaces it, --name" in capsys.readouterr().err
    assert (out / "rlaif_v.json").read_bytes() == before
    assert call("rlaif_v", raw, "--out", out, "--max-rows", "1", "--force") == 0
    assert len(json.loads((out / "rlaif_v.json").read_text())) == 1
    assert sorted(path.name for path in out.iterdir()) == ["dataset_info.json", "rlaif_v.json"]


def test_an_entry_of_that_name_for_something_else(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, info = tmp_path / "out", tmp_path / "out" / "dataset_info.json"
    out.mkdir()
    info.write_text('{"rlaif_v": {"hf_hub_url": "openbmb/RLAIF-V-Dataset"}}')
    assert call("rlaif_v", raw, "--out", out) == 1
    said = capsys.readouterr().err
    assert "has an entry 'rlaif_v' already, for openbmb/RLAIF-V-Dataset: choose another --name, --force" in said
    assert sorted(path.name for path in out.iterdir()) == ["dataset_info.json"]
    assert call("rlaif_v", raw, "--out", out, "--no-register") == 0
    assert call("rlaif_v", raw, "--out", out, "--name", "mine") == 0
    assert json.loads(info.read_text())["rlaif_v"] == {"hf_hub_url": "openbmb/RLAIF-V-Dataset"}
    assert json.loads(info.read_text())["mine"]["file_name"] == "mine.json"


def test_an_entry_that_was_changed_by_hand_stays(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, info = tmp_path / "out", tmp_path / "out" / "dataset_info.json"
    assert call("rlaif_v", raw, "--out", out) == 0
    (out / "rlaif_v.json").unlink()
    entries = json.loads(info.read_text())
    entries["rlaif_v"]["num_samples"] = 1
    info.write_text(json.dumps(entries))
    assert call("rlaif_v", raw, "--out", out) == 1
    said = capsys.readouterr()
    assert "the data file is there, its entry is not:" in said.err and "num_samples" in said.err
    assert len(json.loads((out / "rlaif_v.json").read_text())) == 2
    assert json.loads(info.read_text()) == entries


def test_another_dataset_info(raw: Path, tmp_path: Path) -> None:
    info = tmp_path / "data" / "dataset_info.json"
    assert call("rlaif_v", raw, "--out", tmp_path / "data" / "big", "--dataset-info", info, "--copy-images") == 0
    assert json.loads(info.read_text())["rlaif_v"]["file_name"] == "big/rlaif_v.json"
    (image,) = json.loads((tmp_path / "data" / "big" / "rlaif_v.json").read_text())[0]["images"]
    assert image.startswith("big/rlaif_v_images/") and (tmp_path / "data" / image).is_file()


def test_a_file_of_another_set_stops_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write(tmp_path / "rows.parquet", [{"prompt": "x", "answer": "y"}] * 3000)
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "20 rows read in" in said.out and "\n0 examples written\n20 rows left out, of which nothing" in said.out
    assert f"the first 20 rows of {raw} are no rows of rlaif_v: they have the columns prompt, answer" in said.err
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_that_can_be_used(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").unlink()
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "2  image missing" in said.out
    why = f"no row could be used; images are missing, such as {tmp_path / '1.png'}; --image-root DIR says what"
    assert why in said.err and f"\nNext: see {tmp_path / 'out' / 'rlaif_v.skipped.jsonl'}" in said.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rlaif_v.skipped.jsonl"]


def test_a_list_that_breaks_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    raw = tmp_path / "rows.json"
    raw.write_text(json.dumps([ROW, ROW])[:-20])
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 1
    assert f"{raw}, row 1 (line 1, column" in capsys.readouterr().err
    assert not (tmp_path / "out" / "rlaif_v.json").exists()


def test_interrupted_and_gone_on_with(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command.Progress, "__call__", interrupt)
        assert call("rlaif_v", raw, "--out", tmp_path / "out") == 1
    assert "interrupted; the same command goes on from here" in capsys.readouterr().err
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 0


def test_what_must_be_said_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    rows = [{"image_path": "1.png", "question": "Is it?", "answer": "No."}]
    raw = write(tmp_path / "rows.json", rows)
    assert call("vqa_rad", raw, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert (
        "Terms of flaviagiammarino/vqa-rad, if the rows are from there: CC0 1.0" in said
        and "Train and test rows share images" in said
        and "SYNTHETIC" not in said
    )
    assert "`stage: sft`, `dataset: vqa_rad`" in said
    assert call("vqa_rad", raw, "--out", tmp_path / "out", "--name", "pairs", "--synthetic-pairs") == 0
    said = capsys.readouterr().out
    assert "The rejected answers are SYNTHETIC" in said and "`stage: dpo`, `dataset: pairs`" in said
    (row,) = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert (row["chosen"]["value"], row["rejected"]["value"], row["synthetic"]) == ("No.", "Yes", True)


def test_a_seed_draws_other_wrong_answers(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    rows = [{"image_path": "1.png", "question": f"What is {n}?", "answer": f"thing {n}"} for n in range(30)]
    raw = write(tmp_path / "rows.json", rows)

    def rejected(name: str, *flags: str) -> list[str]:
        assert call("vqa_rad", raw, "--out", tmp_path / "out", "--synthetic-pairs", "--name", name, *flags) == 0
        return [row["rejected"]["value"] for row in json.loads((tmp_path / "out" / f"{name}.json").read_text())]

    first = rejected("a")
    assert rejected("b") == rejected("c", "--seed", "0") == first
    assert rejected("d", "--seed", "1") != first
    assert all(
        wrong in {row["answer"] for row in rows} - {row["answer"]} for wrong, row in zip(first, rows, strict=True)
    )


def mixed(row: dict[str, Any], options: Options) -> Iterator[Example]:
    yield Example(question(row["q"]), "a", "b", **{name: row[name] for name in ("images", "scores") if name in row})


def test_all_rows_of_a_file_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    raw = write(tmp_path / "rows.jsonl", [{"q": "x"}, {"q": "y", "images": ["1.png"]}, {"q": "z", "scores": [2, 1.5]}])
    importer = Importer("mixed", "", mixed, layout="alpaca")
    result = import_dataset(importer, Job(str(raw), tmp_path / "out", suffix="jsonl"))
    rows = [json.loads(line) for line in result.file.read_text().splitlines()]
    assert [list(row) for row in rows] == [
        ["instruction", "chosen", "rejected", "images", "score_chosen", "score_rejected"]
    ] * 3
    assert [(row["images"], row["score_chosen"], row["score_rejected"]) for row in rows] == [
        ([], None, None),
        ([str(tmp_path / "1.png")], None, None),
        ([], 2.0, 1.5),
    ]
    assert result.file.read_text().count("<image>") == 1


def test_lines_that_show_a_column_late_stand_in_front(tmp_path: Path) -> None:
    """`datasets` takes the columns of JSON lines from the first 10 MB, and fails where an empty one fills up later."""
    from datasets import load_dataset

    (tmp_path / "1.png").write_bytes(picture(1))
    plain = [{"q": f"{n} {'x' * 50_000}"} for n in range(220)]
    late = [{"q": "y", "images": ["1.png"]}, {"q": "z", "scores": [2, 1]}, {"q": "w", "images": ["1.png"]}]
    raw = write(tmp_path / "rows.jsonl", [*plain, *late])
    importer = Importer("mixed", "", mixed, layout="alpaca")
    result = import_dataset(importer, Job(str(raw), tmp_path / "out", suffix="jsonl"))
    loaded = load_dataset("json", data_files=str(result.file), split="train", cache_dir=str(tmp_path / "cache"))
    questions = [row["instruction"].removeprefix("<image>") for row in loaded]
    assert questions == [row["q"] for row in (plain[0], *late[:2], *plain[1:], late[2])]
    assert loaded[222]["images"] == [str(tmp_path / "1.png")]


def test_options_that_an_importer_does_not_read_are_refused_in_code_too(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rlaif_v does not read margin"):
        import_dataset(IMPORTERS["rlaif_v"], Job(str(raw), tmp_path / "out", options={"margin": 1}))


def test_the_command_answers_without_heavy_imports() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'llamafactory', 'numpy', 'PIL', 'pyarrow', 'pandas'}"
    listing = "import sys\nfrom resonance.cli.main import main\nmain(['data', 'import', '--list'])"
    code = f"{listing}\nprint({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "set()"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_rows_rate_and_what_came_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress() as bar:
        for rows in range(257, 500):  # an import that goes on behind row 256
            tally = Tally(rows, 2 * rows, {"x": 2}, {"y": 1}, columns=["chosen"])
            bar(tally, rows / 1000)
    last = sys.stderr.getvalue().rpartition("\r")[2]  # type: ignore[attr-defined]
    assert (
        last.startswith("499 rows [")
        and "rows/s, 50% of the source, 998 pairs written, 2 pairs and 1 row left out]" in last
    )


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 3))  # seconds
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with Progress() as progress:
        for rows in range(1, 9):
            progress(Tally(rows, rows, columns=["chosen"]), rows / 10)
    assert capsys.readouterr().err.splitlines() == [
        "4 rows read, 40% of the source, 4 pairs written",
        "8 rows read, 80% of the source, 8 pairs written",
    ]


def test_the_summary_counts_rows_and_pairs_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    answers = [
        {"response": f"{score}", "model": "m", "annotations": {"Helpfulness": {"Rating": str(score)}}}
        for score in (5, 3, 3, 1)
    ]
    sound = {"prompt": "x", "img_path": "1.png", "completions": answers}
    raw = write(tmp_path / "rows.jsonl", [sound, sound | {"completions": answers[:1]}, sound | {"img_path": "2.png"}])
    assert call("vlfeedback", raw, "--out", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("3 rows read in ")
    assert lines[3:10] == [
        "1 pair written",
        "11 pairs left out:",
        "          8  a pair narrower than the prompt's widest",
        "          2  a pair with equal scores",
        "          1  image missing",
        "1 row left out, of which nothing could be made:",
        "          1  fewer than two completions",
    ]


@pytest.mark.parametrize("name", ["dataset_info", "other.skipped"])
def test_names_of_other_files(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert call("rlaif_v", raw, "--out", tmp_path / "out", "--name", name) == 1
    assert "is kept for something else" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_output_is_never_the_source(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = raw.read_bytes()
    for source in (raw, tmp_path):
        flags = ("--name", "rows", "--format", "jsonl", "--force")
        assert call("rlaif_v", source, "--out", tmp_path, *flags) == 1
        assert f"{raw} would be both read and written: give another --name" in capsys.readouterr().err
    assert raw.read_bytes() == before


def test_an_import_into_the_folder_of_its_source_can_be_made_again(raw: Path, tmp_path: Path) -> None:
    with open(raw, "a") as file:
        file.write("no JSON\n")
    for _ in range(2):
        assert call("rlaif_v", tmp_path, "--out", tmp_path, "--force") == 0
        assert len(json.loads((tmp_path / "rlaif_v.json").read_text())) == 2
        assert (tmp_path / "rlaif_v.skipped.jsonl").exists()
        (tmp_path / "rlaif_v.json").rename(tmp_path / "rlaif_v.done")


def test_a_folder_that_llamafactory_cannot_read_from(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("rlaif_v", raw, "--out", tmp_path / "a [1]") == 1
    assert "LlamaFactory cannot read from a path with [ in it" in capsys.readouterr().err
    assert not (tmp_path / "a [1]").exists()
    assert call("rlaif_v", raw, "--out", tmp_path / "a [1]", "--no-register") == 0


def test_halves_of_characters_anywhere_in_a_row(raw: Path, tmp_path: Path) -> None:
    odd = [ROW | {"image_path": "\ud83d.png"}, ROW | {"idx": "\ud83d"}, ROW | {"question": ["\ud83d"]}]
    with open(raw, "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in odd)
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 0
    assert len(json.loads((tmp_path / "out" / "rlaif_v.json").read_text())) == 2
    lines = (tmp_path / "out" / "rlaif_v.skipped.jsonl").read_text().splitlines()
    told = [json.loads(line)["reason"] for line in lines]
    assert told == ["image missing", "text that is not valid Unicode", "question is not text"]


def test_what_comes_next_can_be_typed(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my dätä"
    assert call("rlaif_v", raw, "--out", out) == 0
    assert f"Next: resonance data check '{out}/rlaif_v.json'\n" in capsys.readouterr().out


def test_images_are_found_from_any_working_folder(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by paths relative to where the import was started; by LlamaFactory's rule, media_dir first."""
    (tmp_path / "pics").mkdir()
    (tmp_path / "1.png").rename(tmp_path / "pics" / "1.png")
    monkeypatch.chdir(tmp_path)
    assert call("rlaif_v", raw.name, "--out", "out", "--image-root", "pics") == 0
    assert call("rlaif_v", raw.name, "--out", "out", "--image-root", "pics", "--copy-images", "--name", "copied") == 0
    monkeypatch.chdir("/")
    for name in ("rlaif_v", "copied"):
        for row in json.loads((tmp_path / "out" / f"{name}.json").read_text()):
            assert (tmp_path / "out" / row["images"][0]).is_file()


def test_imports_that_end_at_the_same_time_both_register(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = info.replacing, []

    def busy(*arguments: Any, **settings: Any) -> Any:
        calls.append(arguments)
        if len(calls) < 3:
            raise BlockingIOError("another process is writing this file")
        return real(*arguments, **settings)

    monkeypatch.setattr(info, "replacing", busy)
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 0
    assert list(json.loads((tmp_path / "out" / "dataset_info.json").read_text())) == ["rlaif_v"]
    monkeypatch.setattr(info, "PATIENCE", -1.0)
    calls.clear()
    assert call("rlaif_v", raw, "--out", tmp_path / "out", "--name", "b") == 1
    said = capsys.readouterr().err
    assert "its entry is not: another process is writing" in said and "\nNext: resonance data register " in said


@pytest.mark.parametrize("name", [f".rlaif_v.import/{ROWS}", f".rlaif_v.import/{SKIPPED}", ".rlaif_v.json.partial"])
def test_a_link_in_an_output_folder_from_elsewhere_is_not_written_through(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    link, precious = tmp_path / "out" / name, tmp_path / "precious"
    link.parent.mkdir(parents=True)
    precious.write_text("precious")
    link.symlink_to(precious)
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 1
    assert f"{link} is in the way" in capsys.readouterr().err.replace(f"{link}: is", f"{link} is")
    assert precious.read_text() == "precious"
    link.unlink()
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 0 and precious.read_text() == "precious"


@pytest.mark.parametrize("rows", [1, 40])
def test_rows_of_another_set_name_who_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int
) -> None:
    raw = write(tmp_path / "rows.jsonl", [{"question": "q", "chosen": "a", "rejected": "b", "image": "1.png"}] * rows)
    assert call("vqa_rad", raw, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert (
        "are no rows of vqa_rad: they have the columns question, chosen, rejected, image; that is what these" in said
    )
    assert "importers read: rlaif_v" in said
    assert call("rlaif_v", write(tmp_path / "x.jsonl", [{"a": 1}] * rows), "--out", tmp_path / "out") == 1
    assert "no rows of rlaif_v: they have the columns a\n" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("place", ["pictures", "."])
def test_an_image_root_a_level_off(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    root, other = (tmp_path / "a b", tmp_path / "a b" / "pictures")
    other.mkdir(parents=True)
    right, wrong = (other, root) if place == "pictures" else (root, other)
    (right / "1.png").write_bytes(picture(1))
    raw = write(tmp_path / "rows.jsonl", [ROW, ROW | {"chosen": ""}])  # another reason, too
    assert call("rlaif_v", raw, "--out", tmp_path / "out", "--image-root", wrong) == 1
    said = capsys.readouterr().err
    assert f"such as {wrong / '1.png'}; they seem to be below {right}\n" in said
    assert main(shlex.split(said.split("Next: resonance ")[1])) == 0


@pytest.mark.parametrize("text", ["", "[]", "\n"])
def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    assert call("rlaif_v", tmp_path / "rows.json", "--out", tmp_path / "out") == 1
    assert f"{tmp_path / 'rows.json'} holds no rows" in capsys.readouterr().err


def test_a_start_that_read_nothing_is_no_unfinished_import(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", fail)
    assert call("rlaif_v", "--out", tmp_path / "out") == 1
    assert "ConnectionError: no network" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    assert call("rlaif_v", raw, "--out", tmp_path / "out") == 0


def test_another_dataset_info_is_named_in_what_comes_next(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "my sets" / "dataset_info.json"
    assert call("rlaif_v", raw, "--out", tmp_path / "out", "--dataset-info", info) == 0
    following = capsys.readouterr().out.split("Next: resonance ")[1].splitlines()[0]
    assert following.endswith(f"--dataset-dir '{info.parent}'") and main(shlex.split(following)) == 0
    assert f"entry 'rlaif_v' of {info}" in capsys.readouterr().out


def test_columns_that_are_not_read_are_named_and_survive_a_restart(tmp_path, capsys) -> None:
    row = {"prompt": "What?", "chosen": "Yes.", "rejected": "No.", "figure": "a/1.jpg", "id": 7, "note": None}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row, {**row, "prompt": "Who?"}]))
    assert main(["data", "import", "plain_dpo", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "2 pairs written\nnot read: figure (looks like pictures), id\n" in capsys.readouterr().out


@pytest.mark.parametrize("importer", ["openvlthinker", "trl"])
def test_an_importer_that_would_leave_half_of_a_pair_names_the_one_that_does_not(tmp_path, capsys, importer) -> None:
    messages = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "Yes."}]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"messages": messages, "rejected_response": "No."}] * 3))
    command = ["data", "import", importer, str(path), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "that is what these importers read: ms_swift" in told and "openvlthinker," not in told
    assert main([*command[:2], "ms_swift", *command[3:]]) == 0
    assert "3 pairs written" in capsys.readouterr().out


def test_scores_that_some_rows_lack_are_kept_and_not_declared(tmp_path, capsys) -> None:
    row = {"prompt": "What?", "chosen": "Yes.", "rejected": "No."}
    path = write(tmp_path / "rows.json", [row | {"chosen_score": 2, "rejected_score": 1}, row | {"prompt": "Who?"}])
    assert call("plain_dpo", path, "--out", tmp_path / "out") == 0
    assert "Note: only 1 of 2 rows have scores, so the entry declares none\n" in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / "out" / "dataset_info.json").read_text()).values()
    assert "score_chosen" not in entry["columns"]
    assert [r["score_chosen"] for r in json.loads((tmp_path / "out" / "plain_dpo.json").read_text())] == [2.0, None]
    assert main(["data", "check", "plain_dpo", "--dataset-dir", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("importer", "source", "line"),
    [
        ("rlaif_v", None, "Terms: CC BY-NC 4.0: no commercial use"),
        ("rlaif_v", "openbmb/RLAIF-V-Dataset", "Terms: CC BY-NC 4.0: no commercial use"),
        (
            "rlaif_v",
            "mine.json",
            "Terms of openbmb/RLAIF-V-Dataset, if the rows are from there: CC BY-NC 4.0: no commercial use",
        ),
        ("plain_dpo", "mine.json", "Terms: those of the data that you give"),
        ("trl", "owner/name", "Terms: those of the data that you give"),
    ],
)
def test_the_terms_are_those_of_the_hub_set_and_of_nothing_else(importer: str, source: str | None, line: str) -> None:
    assert command.terms(IMPORTERS[importer], source) == line
