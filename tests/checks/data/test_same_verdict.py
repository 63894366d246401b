# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data check` finds an error in a file exactly if training stops at it or leaves a row out."""

from __future__ import annotations

import copy
import importlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from checks.data.fuzz import FORMATS, LAYOUTS, Case, make, write
from conftest import MODEL
from resonance.checks.data.entry import find_entries
from resonance.checks.data.findings import Findings
from resonance.checks.data.judge import Options
from resonance.checks.data.scan import Scan
from resonance.hooks.llamafactory import PATCHES

FILES = 400
REBOUND = {
    patch.target: patch.replacement
    for patch in PATCHES
    if patch.scope in ("align", "selection", "rows") and patch.target.startswith("llamafactory.data.")
}


@contextmanager
def rebound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LlamaFactory's names as a run of ours rebinds them."""
    with monkeypatch.context() as patch:
        for target, replacement in REBOUND.items():
            module, _, name = replacement.partition(":")
            patch.setattr(target, getattr(importlib.import_module(module), name))
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The model's tokenizer and processor, its template, and parsed arguments by stage."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    base = {"model_name_or_path": str(MODEL), "dataset": "set", "template": "qwen2_vl", "cutoff_len": 256}
    base |= {"cache_dir": str(tmp_path_factory.mktemp("cache")), "output_dir": "unused", "do_train": True}
    stages = {"rm": "dpo", "sft": "sft", "kto": "kto", "pt": "pt"}
    arguments = {
        stage: get_train_args({**base, "stage": name, "report_to": "none", "use_cpu": True})
        for stage, name in stages.items()
    }
    tokenizer = load_tokenizer(arguments["rm"][0])
    template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], arguments["rm"][1])
    return {"template": template, "arguments": arguments, **tokenizer}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound picture and some that are not."""
    folder = tmp_path_factory.mktemp("images")
    noise = Image.effect_noise((28, 28), 80).convert("RGB")
    noise.save(folder / "0.png")
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.save(folder / "turned.jpg", exif=exif)
    return folder


def put(case: Case, folder: Path, images: Path) -> bool:
    """Write a case and its entry; False if its format cannot hold it."""
    folder.mkdir()
    (folder / "images").symlink_to(images)
    name = write(case, folder)
    (folder / "dataset_info.json").write_text(json.dumps({"set": {"file_name": name, **case.entry}}))
    return name is not None


def errors(folder: Path) -> list[str]:
    """What the check finds, in words."""
    findings = Findings()
    try:
        for entry in find_entries("set", str(folder)):
            Scan(entry, Options(), findings).run()
    except ValueError as error:
        return [str(error)]
    problems = [problem for problem in findings.all() if problem.as_dict()["severity"] == "error"]
    return [f"row {problem.row}: {problem.kind}: {problem.message}" for problem in problems]


def training(case: Case, folder: Path, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Why training stops at a set or leaves rows of it out; empty if it does not."""
    from llamafactory.data import loader

    from resonance.training.run import prepare_rows

    columns = case.entry.get("columns")
    named = columns if isinstance(columns, dict) else {}
    pairs, stage = case.stage == "rm", case.stage
    if stage == "sft" and "formatting" not in case.entry and columns is not None and not named.get("response"):
        stage = "pt"  # prompts alone
    model_args, data_args, training_args, _, _ = loaded["arguments"][stage]
    data_args, training_args = copy.copy(data_args), copy.copy(training_args)
    data_args.dataset_dir = data_args.media_dir = str(folder)
    training_args.output_dir = str(folder / "out")
    skipped = folder / "out" / "skipped_rows.jsonl"
    around: Any = rebound(monkeypatch) if pairs else monkeypatch.context()
    try:
        with around:
            if pairs:
                prepare_rows(
                    data_args, training_args, needs_scores=any(map(named.get, ("score_chosen", "score_rejected")))
                )
            rows = loader._get_merged_dataset(["set"], model_args, data_args, training_args, stage)
            made = loader._get_preprocessed_dataset(
                rows, data_args, training_args, stage, loaded["template"], loaded["tokenizer"], loaded["processor"]
            )
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if skipped.exists():
        return f"left out: {skipped.read_text()}"
    return "" if stage == "pt" or len(made) == len(rows) else f"kept {len(made)} of {len(rows)} rows"


@pytest.fixture
def quiet() -> Iterator[None]:
    import datasets

    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    datasets.enable_progress_bars()


@pytest.fixture
def verdicts(
    tmp_path: Path, images: Path, loaded: dict[str, Any], quiet: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Case, str], tuple[list[str], str] | None]:
    """What check and training find in a case; None if its format cannot hold it."""

    def judge(case: Case, name: str) -> tuple[list[str], str] | None:
        folder = tmp_path / name
        if not put(case, folder, images):
            return None
        return errors(folder), training(case, folder, loaded, monkeypatch)

    return judge


@pytest.mark.filterwarnings("ignore")
def test_check_and_training_agree_about_generated_files(verdicts) -> None:
    disagree, seen, wrong, seed = [], 0, 0, 0
    while seen < FILES:
        case = make(seed)
        if (found := verdicts(case, str(seed))) is not None:
            told, why = found
            seen, wrong = seen + 1, wrong + bool(why)
            if bool(told) != bool(why):
                disagree.append(f"{seed}: {case}\n  check: {told[:3]}\n  training: {why[:300]}")
        seed += 1
    assert not disagree, "\n".join(disagree)
    assert FILES // 4 < wrong < FILES * 3 // 4  # neither is sound or broken whatever comes


@pytest.mark.parametrize("form", sorted({name for name in FORMATS if name not in ("JSON",)}))
def test_sound_files_are_sound_in_every_format(verdicts, form) -> None:
    for layout in LAYOUTS:
        case = layout("images/0.png")
        case.format = form
        told = verdicts(case, case.layout)
        broken = form in ("folder in folder", "folder with more")
        assert told is None or (bool(told[0]), bool(told[1])) == (broken, broken), (str(case), told)


# -- what the generated files found first ----------------------------------------------------------------------------


def text_pairs(**change: Any) -> Case:
    case = next(layout for layout in LAYOUTS if layout.__name__ == "text_pairs")("")
    for row in case.rows:
        row.update({"score_chosen": 5.0, "score_rejected": 2.5})
    case.entry["columns"] |= {"score_chosen": "score_chosen", "score_rejected": "score_rejected"}
    case.rows[2].update(change)
    return case


@pytest.mark.parametrize(
    "form", ["json", "indented json", "lines in json", "jsonl", "list in jsonl", "indented jsonl"]
)
def test_a_score_that_is_true_stops_whatever_the_file_is(verdicts, form) -> None:
    case = text_pairs(score_rejected=True)
    case.format = form
    told, why = verdicts(case, "set")
    assert any("row 2: bad score: `score_rejected` is not a number but bool True" in each for each in told)
    assert "row 2: `score_rejected` is true or false True, where 3 other rows have a number" in why


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize("word", ["None", "NA", "null", "nan", "7", "007", "true"])
def test_an_answer_is_the_text_that_the_file_holds(folder, loaded, quiet, monkeypatch, form, word) -> None:
    from llamafactory.data import loader

    from resonance.training.run import prepare_rows

    case = text_pairs()
    case.format = form
    for i, row in enumerate(case.rows):
        row["chosen"] = word + "0" * i * word.isdecimal()
    name = write(case, folder.path)
    (folder.path / "dataset_info.json").write_text(json.dumps({"set": {"file_name": name, **case.entry}}))
    assert folder.check("set").code == 0
    model_args, data_args, training_args, _, _ = loaded["arguments"]["rm"]
    data_args, training_args = copy.copy(data_args), copy.copy(training_args)
    data_args.dataset_dir, training_args.output_dir = str(folder.path), str(folder.path / "out")
    with rebound(monkeypatch):
        prepare_rows(data_args, training_args, needs_scores=True)
        rows = loader._get_merged_dataset(["set"], model_args, data_args, training_args, "rm")
    assert [row["_response"][0]["content"] for row in rows] == [row["chosen"] for row in case.rows]
    assert [row["_score_chosen"] for row in rows] == [5.0] * 4


@pytest.mark.parametrize(
    ("form", "kind"), [("json", None), ("jsonl", "dates"), ("csv", None), ("parquet", None), ("list in jsonl", None)]
)
def test_answers_that_are_dates_stop_where_datasets_reads_dates(verdicts, form, kind) -> None:
    case = text_pairs()
    case.format = form
    for i, row in enumerate(case.rows):
        row["chosen"] = f"2024-05-0{i + 1}"
    told, why = verdicts(case, "set")
    assert bool(told) == bool(why) == bool(kind)
    if kind:
        assert "row 0: dates: `chosen` holds dates alone ('2024-05-01' ...)" in told[0]
        assert "`chosen` (column `chosen`) was read as dates. To do: Save the file as a JSON list" in why


def test_a_whole_number_that_no_table_holds_is_named(verdicts) -> None:
    case = text_pairs(note={"a": [10**30]})
    told, why = verdicts(case, "list")
    kind = "large number"
    assert told == [
        f"row 2: {kind}: `note.a[]` is {10**30}, beyond the whole numbers of 64 bits that a JSON list may hold"
    ]
    assert f"row 2: `note.a[]` is {10**30}, beyond" in why
    case.format = "jsonl"
    assert verdicts(case, "lines") == ([], "")


@pytest.mark.parametrize(("encoding", "message"), [("gbk", "is not UTF-8"), ("utf-8-sig", "byte order mark")])
def test_a_list_in_another_encoding_is_named_with_its_cure(verdicts, encoding, message) -> None:
    case = text_pairs(chosen="问题")
    case.text = lambda data: data.decode().encode(encoding)
    told, why = verdicts(case, "set")
    assert len(told) == 1 and message in told[0] and message in why
    assert "set.json" in why and "Save the file as UTF-8, without a byte order mark." in why


def test_rows_over_several_lines_are_read_as_long_as_datasets_reads_them(verdicts) -> None:
    for count, sound in ((4, True), (400, False)):
        case = text_pairs()
        case.format, case.rows = (
            "indented jsonl",
            [{**case.rows[0], "note": "x" * 900} for i in range(count)],
        )
        for row in case.rows:
            row["rejected"] = "no"
        told, why = verdicts(case, f"of {count}")
        assert (bool(told), bool(why)) == (not sound, not sound), (told, why)
    assert "rows span several lines, which `datasets` reads up to 327,680 bytes" in told[0]


def test_an_entry_that_is_no_object_does_not_stand_in_the_way_of_others(folder, make_pair) -> None:
    folder.write([make_pair(0)])
    info = folder.path / "dataset_info.json"
    info.write_text(json.dumps({"bad": "s.json", "none": {"file_name": ["x"]}, **json.loads(info.read_text())}))
    assert folder.check("pairs").code == 0
    assert "bad: is 's.json', but an object with a file_name is needed" in folder.check("bad").err
    assert "none: `file_name` is ['x'], but the name of a file or folder is needed" in folder.check("none").err


def test_a_text_file_is_a_row_a_line(folder) -> None:
    (folder.path / "wiki.txt").write_text("One line.\n\nAnother one.\n")
    folder.register("wiki", "wiki.txt", ranking=False, columns={"prompt": "text"})
    assert folder.check("wiki", "--json").by_kind() == {"empty prompt": [1]}
