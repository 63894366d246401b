# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The command: targets, exit codes, what it prints, --fix, --html, --model."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from checks.data.ugly import UGLY_PAIRS
from resonance.checks.data import images
from resonance.checks.data.findings import Findings, Problem
from resonance.checks.data.images import ImageProbe
from resonance.checks.data.lengths import TokenCounter
from resonance.checks.data.page import SAMPLED, Gallery
from resonance.checks.data.tally import Tally
from resonance.checks.quiet import quiet
from resonance.cli.main import main
from resonance.rows.vision.header import has_end

MODEL = Path(__file__).parents[2] / "golden" / "trajectory" / "model"

# -- targets ----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_by_the_entry_that_describes_it(folder, make_pair) -> None:
    rows = [{**make_pair(0), "answer": "x"}]
    path = folder.write(rows, columns={"prompt": "instruction", "chosen": "answer", "rejected": "rejected"})
    out = folder.check(path).out
    assert f"pairs: alpaca, pairs; entry 'pairs' of {folder.path}/dataset_info.json" in out


def test_a_file_without_an_entry_is_read_as_it_looks(folder, make_pair, monkeypatch) -> None:
    path = folder.write([make_pair(0, images=["images/gone.png"]), make_pair(1)], name=None)
    assert folder.found(path) == {"image missing": [0]}
    assert "read as its first rows look" in folder.check(path).out
    monkeypatch.chdir(folder.path)
    assert folder.found("pairs.json") == {"image missing": [0]}


def test_odd_rows_at_the_start_do_not_hide_how_the_others_look(folder, make_pair) -> None:
    path = folder.write(["odd", make_pair(1, chosen=7), *(make_pair(i) for i in range(2, 9))], name=None)
    assert folder.found(path) == {"row unreadable": [0], "invalid turns": [1], "mixed column": [1]}


@pytest.mark.parametrize("line", ['{"instruction": ', "[1]"])
def test_a_line_that_is_no_row_does_not_hide_what_is_wrong_with_the_others(folder, make_pair, line) -> None:
    path = folder.write([make_pair(0), make_pair(1, chosen="")], "pairs.jsonl", name=None)
    path.write_text(f"{line}\n{path.read_text()}")
    assert folder.found(path)["empty response"] == [2]
    assert "--fix" in folder.check(path).out.splitlines()[-1]  # row 1 is sound


def test_rows_before_a_break_show_how_a_list_is_read(folder, make_pair) -> None:
    path = folder.write([make_pair(0, chosen=""), make_pair(1), make_pair(2)], name=None)
    path.write_text(path.read_text()[:-50])
    assert folder.found(path) == {"file unreadable": [2], "empty response": [0]}
    clean = folder.path / "clean.json"
    folder.check(path, "--fix", clean)
    assert json.loads(clean.read_text()) == [make_pair(1)]


def test_a_role_of_another_style_is_told_with_its_row(folder) -> None:
    def talk(*roles: str) -> dict[str, object]:
        return {"conversations": [{"from": role, "value": "text"} for role in roles]}

    many = talk("human", "gpt", "human", "gpt")
    path = folder.write(
        [talk("user", "gpt"), *[talk("human", "gpt")] * 3, many, talk("system", "human", "gpt")], name=None
    )
    found = folder.found(path)
    assert found["invalid turns"] == [0] and "unknown columns" not in found


def test_a_file_that_looks_like_nothing_known(folder) -> None:
    path = folder.write([{"a": 1}, {"a": 2}], name=None)
    result = folder.check(path, "--json")
    assert [(problem["kind"], problem["row"]) for problem in result.problems] == [("unknown columns", None)]
    told = json.dumps(result.problems)
    assert "Columns found: " in told and "--set" not in told and "dataset_info" not in told
    assert result.code == 1
    assert folder.check(path).out.splitlines()[-1].startswith("Next: resonance data import --list")
    assert "nobody knows which column is what" in folder.check(path, "--fix", folder.path / "clean.json").err
    assert not (folder.path / "clean.json").exists()


def test_a_folder_stands_for_its_files(folder, make_pair) -> None:
    folder.write([make_pair(0, chosen="")], "a.json", "a")
    folder.write([make_pair(1)], "b.jsonl", None)
    (folder.path / "b.skipped.jsonl").write_text("not data")
    problems = folder.check(folder.path, "--json").problems
    assert [(Path(problem["file"]).name, problem["kind"]) for problem in problems] == [("a.json", "empty response")]


def test_several_targets_are_counted_together(folder, make_pair) -> None:
    folder.write([make_pair(0, chosen="")], "a.json", "a")
    folder.write([make_pair(1), make_pair(2, chosen="")], "b.json", "b")
    out = folder.check("a", "b").out
    assert out.splitlines()[-1] == "2 errors in 2 rows, 0 warnings; 3 rows checked"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pears"], "pears: no such file, and no such name in"),
        (["pears"], "(nearest: pairs, pairs2)"),
        ([""], "a TARGET is empty"),
        (
            ["hub"],
            "download it.\nNext: hf download --repo-type dataset a/b --local-dir FOLDER, then resonance data",
        ),
        (["gone"], "gone.json is not there. Download it, or correct the entry in"),
        (["pairs", "--score-range", "5", "0"], "the lower one goes first"),
        (["pairs", "--model", "x"], "--model needs --template"),
        (["pairs", "--cutoff-len", "9"], "need --model and --template"),
        (["pairs", "--limit", "-1"], "--limit -1: is 0 or more"),
        (["pairs", "--model", "x", "--template", "y", "--cutoff-len", "0"], "--cutoff-len 0: is 1 or more"),
        (["pairs", "--html", "page.json"], "--html page.json: writes .html or .htm"),
        (["pairs", "--html", "/"], "--html /: writes .html or .htm"),
        (["pairs", "pairs2", "--fix", "o.json"], "--fix cleans one data set at a time; the targets are 2"),
        (["pairs", "--fix", "o.csv"], "--fix o.csv: writes .json or .jsonl"),
        (["pairs", "--against", "pears"], "pears: no such file"),
    ],
)
def test_wrong_calls(folder, make_pair, arguments, message) -> None:
    folder.write([make_pair(0)])
    folder.write([make_pair(0)], "pairs2.json", "pairs2")
    folder.register("gone", "gone.json")
    info = folder.path / "dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "hub": {"hf_hub_url": "a/b"}}))
    result = folder.check(*arguments)
    assert result.code == 2 and result.out == ""
    assert result.err.startswith("resonance data check: ") and message in result.err
    assert result.err.splitlines()[-1].startswith("Next: ")


def test_a_broken_dataset_info_is_told(folder, make_pair) -> None:
    folder.write([make_pair(0)])
    (folder.path / "dataset_info.json").write_text("{")
    assert folder.check("pairs").code == 2


# -- what is printed --------------------------------------------------------------------------------------------------


def test_errors_come_before_warnings_and_the_commonest_first(folder, make_pair) -> None:
    lower = {"score_chosen": 1.0}
    rows = [make_pair(i, **lower) for i in range(7)] + [make_pair(i, chosen="") for i in range(7, 10)]
    folder.write([*rows, make_pair(10, images=["gone.png"])])
    lines = folder.check("pairs", "--limit", "2").out.splitlines()
    heads = [line.strip() for line in lines if line.startswith(("  FAIL", "  warn"))]
    assert heads == ["FAIL  empty response: 3", "FAIL  image missing: 1", "warn  score order: 7"]
    assert "          ... and 5 more (--limit 0 shows all)" in lines
    assert sum("row " in line and "chosen has 1.0" in line for line in lines) == 2
    assert lines[-2] == "4 errors in 4 rows, 7 warnings in 7 rows; 11 rows checked"
    copy = f"--fix {folder.path}/pairs.clean.json"
    assert lines[-1] == f"Next: resonance data check --dataset-dir {folder.path} pairs --limit 2 {copy}"
    assert sum("chosen has 1.0" in line for line in folder.check("pairs", "--limit", "0").out.splitlines()) == 7


@pytest.mark.slow
def test_json_is_alone_on_stdout_also_when_a_model_is_loaded(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1, chosen="word " * 400)])
    command = [sys.executable, "-c", "from resonance.cli.main import entry; entry()", "data", "check", "pairs"]
    command += ["--json", "--dataset-dir", folder.path]
    command += ["--model", MODEL, "--template", "qwen2_vl", "--cutoff-len", "256"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (problem,) = json.loads(done.stdout)
    assert (problem["row"], problem["kind"], done.returncode) == (1, "too long", 1)
    assert re.fullmatch(
        r"\d+ tokens \(prompt \d+ with \d of images, answer \d+\); cutoff_len is 256", problem["message"]
    )


@pytest.mark.parametrize("rows", [None, []], ids=["no file", "no row"])
def test_heavy_imports_wait_for_the_first_row(folder, rows) -> None:
    path = folder.path / "pairs.json"
    if rows is not None:
        folder.write(rows)
    code = (
        "import sys; from resonance.cli.main import main; main(sys.argv[1:]);"
        "sys.exit(str({'torch', 'transformers', 'llamafactory', 'datasets', 'numpy'} & set(sys.modules) or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code, "data", "check", path], capture_output=True, text=True)
    assert "{" not in done.stderr and ("no such file" in done.stderr) == (rows is None)


def test_rows_are_judged_without_a_word_of_llamafactory(folder, make_pair) -> None:
    chat = {"conversations": [{"from": "gpt", "value": "?"}]}
    folder.write([chat], formatting="sharegpt", ranking=False, columns={"messages": "conversations"})
    command = [
        sys.executable,
        "-c",
        "from resonance.cli.main import entry; entry()",
        "data",
        "check",
        "pairs",
        "--json",
    ]
    done = subprocess.run([*command, "--dataset-dir", folder.path], capture_output=True, text=True)
    assert [problem["kind"] for problem in json.loads(done.stdout)] == ["invalid turns"] and done.stderr == ""


def test_without_llamafactory_the_check_stops_and_says_so(folder, make_pair, monkeypatch) -> None:
    folder.write([make_pair(0)])
    monkeypatch.setitem(sys.modules, "llamafactory.data.converter", None)
    result = folder.check("pairs")
    assert result.code == 2 and "LlamaFactory, by which rows are judged, cannot be imported" in result.err


def test_problems_beyond_those_kept_in_memory_are_told_too() -> None:
    findings = Findings(keep=3, spill=True)
    for row in range(10):
        findings.add(Problem("f", row, "bad score", f"\ud800 {row}"))
        findings.add(Problem("f", row, "score order", ""))
    findings.discard("f", ["score order"])
    assert [problem.row for problem in findings.all()] == list(range(10))
    assert next(findings.all()) == Problem("f", 0, "bad score", "\ud800 0")
    assert findings.count("error") == 10 and findings.count("warning") == 0


def test_images_opened_side_by_side_are_judged_as_one_by_one(pictures, monkeypatch) -> None:
    paths = [str(path) for path in sorted(pictures.iterdir())]
    with quiet():
        one_by_one = ImageProbe("", decode=True)
        for path in paths:
            one_by_one(path)
        together = ImageProbe("", decode=True)
        together.look_ahead(paths)
        assert together.facts == one_by_one.facts
        again = ImageProbe("", decode=True)
        again.look_ahead(paths[:3] * 2 + [b"bytes", None, {"bytes": None, "path": paths[4]}])
        monkeypatch.setattr(images, "WORKERS", 2)
        again.look_ahead(paths)
    assert again.facts == one_by_one.facts and len(again.sizes) == len(one_by_one.sizes)


def test_histograms_count_every_value() -> None:
    for values in ([1.0] * 5, range(100), [0.1 * i for i in range(50)], [-3.0, 1e9]):
        bins = Tally("x", values).bins()
        assert sum(each.size for each in bins) == len(list(values))
        assert all(each.low <= each.high for each in bins)
    assert Tally("x").bins() == []


def test_answers_of_labelled_rows_are_counted_without_the_empty_ones_beside_them(folder) -> None:
    rows = [{"instruction": f"{i}?", "output": "A gull.", "label": bool(i)} for i in range(2)]
    columns = {"prompt": "instruction", "response": "output", "kto_tag": "label"}
    folder.write(rows, ranking=False, columns=columns)
    told = folder.check("pairs").out
    assert "Answers, characters: least 7, median 7, 95 % 7, most 7" in told and told.count("  7 ####") == 1
    assert told.partition("Answers")[2].splitlines()[1].split()[-1] == "2"


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_lengths_are_those_of_a_training_run(folder, make_pair, rows_of_training) -> None:
    """A row is too long exactly if LlamaFactory's own tokens of it are more than cutoff_len."""
    rows = [make_pair(i, chosen="word " * 10 * (i + 1)) for i in range(6)]
    folder.write(rows)
    tokens = rows_of_training(folder.path)
    limit = sorted(tokens)[3]
    result = folder.check("pairs", "--json", "--model", MODEL, "--template", "qwen2_vl", "--cutoff-len", limit)
    assert [problem["row"] for problem in result.problems] == [i for i, n in enumerate(tokens) if n > limit]
    assert {problem["kind"] for problem in result.problems} == {"too long"}
    told = [int(problem["message"].split()[0]) for problem in result.problems]
    assert told == [n for n in tokens if n > limit]


@pytest.fixture
def rows_of_training():
    """Longest token count of each row of `pairs`, by LlamaFactory's own processor."""

    def run(path: Path) -> list[int]:
        from llamafactory.data import get_template_and_fix_tokenizer
        from llamafactory.data.converter import get_dataset_converter
        from llamafactory.data.parser import get_dataset_list
        from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
        from llamafactory.hparams import get_infer_args
        from llamafactory.model import load_tokenizer

        settings = {"model_name_or_path": str(MODEL), "template": "qwen2_vl", "cutoff_len": 100_000}
        model_args, data_args, _, _ = get_infer_args(settings)
        data_args.media_dir = str(path)
        loaded = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
        processor = PairwiseDatasetProcessor(template, loaded["tokenizer"], loaded["processor"], data_args)
        (attr,) = get_dataset_list(["pairs"], str(path))
        convert = get_dataset_converter("alpaca", attr, data_args)
        aligned = [convert(row) for row in json.loads((path / "pairs.json").read_text())]
        batch = processor.preprocess_dataset({key: [row[key] for row in aligned] for key in aligned[0]})
        pairs = zip(batch["chosen_input_ids"], batch["rejected_input_ids"], strict=True)
        return [max(len(chosen), len(rejected)) for chosen, rejected in pairs]

    return run


@pytest.mark.parametrize(
    ("model", "template", "message"),
    [
        ("/no/such", "qwen2_vl", "--model /no/such: there is no such folder"),
        ("./such", "qwen2_vl", "--model ./such: there is no such folder"),
        ("such", "qwen2_vl", r"--model such .* cannot be loaded: Failed to load tokenizer. \("),
        (str(MODEL), "qwen2v", "--template qwen2v cannot be loaded: there is no such template; nearest: qwen2_vl"),
    ],
)
def test_models_that_cannot_be_loaded(model, template, message) -> None:
    with pytest.raises(ValueError, match=message):
        TokenCounter(model, template, 100, {})


def test_a_row_that_the_model_cannot_take(folder, make_pair) -> None:
    """A video file that is there and is none: only the model's own processor finds out."""
    (folder.path / "v.mp4").write_bytes(b"no video")
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "videos": "v"}
    folder.write([{**make_pair(0, instruction="<video>?"), "v": ["v.mp4"]}], columns=columns)
    result = folder.check("pairs", "--json", "--model", MODEL, "--template", "qwen2_vl")
    assert result.by_kind() == {"not measured": [0]}


def test_prompts_without_answers_are_measured_and_media_tokens_found(folder) -> None:
    """What a run of `stage: ppo` stops at, for the same model."""
    texts = ["<image>Which?", "<image>Which? " + "word " * 200, "<image>Which? <|video_pad|>"]
    rows = [{"instruction": text, "images": [f"images/{i}.png"]} for i, text in enumerate(texts)]
    folder.write(rows, columns={"prompt": "instruction", "images": "images"}, ranking=False)
    result = folder.check("pairs", "--json", "--model", MODEL, "--template", "qwen2_vl", "--cutoff-len", 128)
    assert result.by_kind() == {"too long": [1], "media token": [2]}
    assert ", answer" not in result.problems[0]["message"] + result.problems[1]["message"]


# -- --fix ------------------------------------------------------------------------------------------------------------

MENDED = {
    "no placeholder": ({"instruction": "Which?"}, {"instruction": "<image>Which?"}),
    "score as text": ({"score_chosen": "4.5"}, {"score_chosen": 4.5}),
    "answer a number": ({"chosen": 7}, {"chosen": "7"}),
    "one image": ({"images": "images/1.png"}, {"images": ["images/1.png"]}),
    "backslashes": ({"images": ["images\\1.png"]}, {"images": ["images/1.png"]}),
    "half character": ({"chosen": "It is \ud83d."}, {"chosen": "It is \ufffd."}),
    "two halves": ({"chosen": "It is \ud83d\ude00."}, {"chosen": "It is \U0001f600."}),
}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_fix_mends_what_it_can(folder, make_pair, suffix) -> None:
    sound = [make_pair(i) for i in range(20, 30)]
    ugly = [make_pair(i, **change) for i, (change, _) in enumerate(MENDED.values())]
    path = folder.write([*sound, *ugly], f"pairs.{suffix}")
    before = path.read_bytes()
    out = folder.path / f"clean.{suffix}"
    result = folder.check("pairs", "--fix", out)
    text = out.read_text(encoding="utf-8")
    rows = json.loads(text) if suffix == "json" else [json.loads(line) for line in text.splitlines()]
    assert rows[:10] == sound
    assert rows[10:] == [make_pair(i, **change) for i, (_, change) in enumerate(MENDED.values())]
    assert path.read_bytes() == before and result.code == 1
    assert f"{out}: 17 rows, 6 of them mended" in result.out  # two halves of a character are read as one by JSON
    assert (folder.path / "clean.dropped.jsonl").read_text() == ""


def test_fix_drops_the_rest_and_lists_it_and_the_copy_passes(folder, make_pair) -> None:
    ugly = [make_pair(i, **change) for i, (change, _, _) in enumerate(UGLY_PAIRS.values())]
    rows = ["odd", *(make_pair(i) for i in range(200, 260)), *ugly, make_pair(200)]
    folder.write(rows)
    out = folder.path / "clean.json"
    result = folder.check("pairs", "--fix", out, "--limit", 0)
    folder.register("clean", "clean.json")
    assert folder.check("clean", "--json").code == 0
    kept = json.loads(out.read_text())
    dropped = [json.loads(line) for line in (folder.path / "clean.dropped.jsonl").read_text().splitlines()]
    assert len(kept) + len(dropped) == len(rows)
    assert dropped[0] == {
        "file": str(folder.path / "pairs.json"),
        "row": 0,
        "problems": [{"kind": "row unreadable", "message": "a row is text, but a mapping is needed"}],
        "data": "odd",
    }
    assert f"{len(dropped)} rows left out (" in result.out
    strict = folder.path / "strict.json"
    folder.check("pairs", "--fix", strict, "--strict")
    folder.register("strict", "strict.json")
    assert folder.check("strict", "--strict", "--json").problems == []
    assert len(json.loads(strict.read_text())) < len(kept)


def test_fix_mends_messages(folder) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    texts = [("Which?", "A."), (parts, "B."), ("<image>?", 7)]
    rows = [
        {"messages": [{"from": "human", "value": q}, {"from": "gpt", "value": a}], "images": [f"images/{i}.png"]}
        for i, (q, a) in enumerate(texts)
    ]
    columns = {"messages": "messages", "images": "images"}
    folder.write(rows, formatting="sharegpt", ranking=False, columns=columns)
    folder.check("pairs", "--fix", folder.path / "clean.json")
    cleaned = json.loads((folder.path / "clean.json").read_text())
    contents = [[turn["value"] for turn in row["messages"]] for row in cleaned]
    assert contents == [["<image>Which?", "A."], ["<image>Which?", "B."], ["<image>?", "7"]]


def test_fix_takes_leaked_rows_out(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1)], "eval.json", "eval")
    folder.write([make_pair(0), make_pair(2)], "train.json", "train")
    folder.check("train", "--against", "eval", "--fix", folder.path / "clean.json")
    assert json.loads((folder.path / "clean.json").read_text()) == [make_pair(2)]


def test_fix_saves_the_rows_before_a_break(folder, make_pair) -> None:
    path = folder.write([make_pair(i) for i in range(5)])
    path.write_text(path.read_text()[:-150])
    result = folder.check("pairs", "--fix", folder.path / "clean.json")
    assert json.loads((folder.path / "clean.json").read_text()) == [make_pair(i) for i in range(4)]
    assert "1 row left out (1 file unreadable)" in result.out


def test_fix_never_writes_over_what_it_reads(folder, make_pair) -> None:
    path = folder.write([make_pair(0, chosen=""), make_pair(1)])
    before = path.read_bytes()
    os.link(path, folder.path / "link.json")
    (folder.path / "symbolic.json").symlink_to(path)
    for out in (path, folder.path / "link.json", folder.path / "symbolic.json", folder.path / "dataset_info.json"):
        result = folder.check("pairs", "--fix", out)
        assert result.code == 2 and "Choose another name" in result.err
    other = folder.write([make_pair(9)], "eval.json", "eval")
    result = folder.check("pairs", "--against", "eval", "--fix", other)
    assert result.code == 2 and f"would write over {other}, which is being read" in result.err
    (folder.path / "page.html").symlink_to(path)
    result = folder.check("pairs", "--html", folder.path / "page.html")
    assert result.code == 2 and f"would write over {path}, which is being read" in result.err
    assert path.read_bytes() == before
    assert not list(folder.path.glob("*.dropped.jsonl"))


def test_the_copy_proposed_for_a_folder_is_not_in_it(folder, make_pair) -> None:
    (folder.path / "parts").mkdir()
    for name in ("a", "b"):
        folder.write([make_pair(0, chosen=""), make_pair(1)], f"parts/{name}.json", None)
    folder.register("parts", "parts")
    last = folder.check("parts").out.splitlines()[-1]
    assert last.endswith(f" --fix {folder.path}/parts.clean.json")


def test_a_copy_elsewhere_is_registered_where_its_images_are(folder, make_pair, tmp_path_factory) -> None:
    """Its relative paths start at the dataset_dir of the original; what is printed next keeps them so."""
    folder.write([make_pair(0, chosen=""), make_pair(1)])
    clean = tmp_path_factory.mktemp("else where") / "clean.json"
    last = folder.check("pairs", "--fix", clean).out.splitlines()[-1]
    assert last.startswith("Next: resonance data register ")
    assert main(shlex.split(last)[2:]) == 0
    assert folder.check("clean").code == 0


def test_fix_writes_nothing_if_nothing_is_left_or_rows_hold_bytes(folder, make_pair) -> None:
    folder.write([make_pair(0, chosen="")], "bad.json", "bad")
    result = folder.check("bad", "--fix", folder.path / "clean.json")
    assert result.code == 2 and "no row would be left, so nothing was written" in result.err
    blob = (folder.path / "images/1.png").read_bytes()
    folder.write([make_pair(0, images=[{"bytes": blob, "path": None}])], "pairs.parquet")
    result = folder.check("pairs", "--fix", folder.path / "clean.json")
    assert result.code == 2 and "Import it first: embedded images become files" in result.err
    assert not (folder.path / "clean.json").exists() and not (folder.path / "clean.dropped.jsonl").exists()


# -- --html -----------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_stands_alone_and_escapes_every_text(folder, make_pair) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>\ud800'
    rows = [make_pair(0, chosen=evil), make_pair(1, images=[evil]), make_pair(2, instruction="<image>" + evil)]
    folder.write([*rows, make_pair(3, chosen=[evil]), *(make_pair(i) for i in range(4, 40))], name=f"<b>{evil[:9]}")
    page = folder.path / "report.html"
    result = folder.check(f"<b>{evil[:9]}", "--html", page)
    assert f"{page}: the same with pictures" in result.out
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.tags and "b" in tags.tags
    assert tags.tags.count("img") >= SAMPLED
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
    assert "&lt;script&gt;" in text and "<svg" in text
    assert "http" not in text


def test_the_sample_is_of_all_rows() -> None:
    aligned = {"_prompt": [], "_response": [], "_images": None}
    gallery = Gallery()
    for row in range(1000):
        gallery("f", row, aligned, [])
    rows = [card.row for card in gallery.sample()]
    assert len(set(rows)) == SAMPLED and rows == sorted(rows) and max(rows) > 500


# -- what comes next, and what is not written over --------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--fix", "--html"])
def test_no_file_is_written_over_unless_told_to(folder, make_pair, option) -> None:
    folder.write([make_pair(0), make_pair(1)])
    out = folder.path / ("out.json" if option == "--fix" else "out.html")
    out.write_text("precious")
    result = folder.check("pairs", option, out)
    assert result.code == 2 and out.read_text() == "precious"
    assert f"{option} {out}: exists; add --force to write over it, or give another name." in result.err
    assert folder.check("pairs", option, out, "--force").code == 0 and out.read_text() != "precious"
    assert folder.check("pairs", "--force").code == 2


def test_the_list_of_dropped_rows_is_not_written_over(folder, make_pair) -> None:
    folder.write([make_pair(0)])
    (folder.path / "out.dropped.jsonl").write_text("precious")
    assert "out.dropped.jsonl: exists" in folder.check("pairs", "--fix", folder.path / "out.json").err
    assert not (folder.path / "out.json").exists()


def test_what_comes_next_is_the_whole_command(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1, chosen=""), make_pair(2)], file="my pairs.json")
    last = folder.check("pairs", "--score-range", 0, 5).out.splitlines()[-1]
    words = shlex.split(last.removeprefix("Next: resonance data check "))
    assert words[2:6] == ["pairs", "--score-range", "0", "5"] and words[-1].endswith("my pairs.clean.json")
    folder.check(*words[2:])
    assert (folder.path / "my pairs.clean.json").exists()


def test_no_copy_is_proposed_where_none_helps(folder, make_pair) -> None:
    folder.write([make_pair(0, chosen=""), make_pair(1, chosen="")])
    assert folder.check("pairs").out.splitlines()[-1].startswith("Every row has an error that cannot be mended")
    folder.write([make_pair(i, images=[f"/content/{i}.png"]) for i in range(3)])
    last = folder.check("pairs").out.splitlines()[-1]
    assert last.startswith(f"Next: resonance data fix-paths {folder.path}/pairs.json --search DIR, where DIR is")
    folder.write([make_pair(i, images=None) for i in range(3)] + [make_pair(3)])  # a placeholder too many in three
    assert "--fix" in folder.check("pairs").out.splitlines()[-1]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "no rows"),
        (b"[]", "no rows"),
        (b'[{"instruction": "a", ', "file unreadable"),
        ("[]".encode("utf-16"), "file unreadable"),
    ],
)
def test_a_file_without_a_row_is_one_error(folder, data, kind) -> None:
    (folder.path / "x.json").write_bytes(data)
    result = folder.check(folder.path / "x.json")
    verdict = result.out.splitlines()[-1]
    assert verdict.startswith("1 error") and verdict.endswith("0 warnings; 0 rows checked") and kind in result.out
    assert "--set" not in result.out and "dataset_info" not in result.out and "Next" not in result.out


@pytest.mark.parametrize(
    ("name", "cut", "padding", "ends"),
    [
        ("moving.gif", 0, b"", True),
        ("moving.gif", 9, b"", False),
        ("whole.jpg", 0, b"\0\0\r\n", True),
        ("whole.jpg", 0, b"what a camera adds", False),
        ("3.png", 12, b"", False),
        ("tiff", 0, b"", None),
    ],
)
def test_the_end_of_an_image_file(pictures, name, cut, padding, ends) -> None:
    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, "TIFF")
    data = out.getvalue() if name == "tiff" else (pictures / name).read_bytes()
    with Image.open(io.BytesIO(data[: len(data) - cut] + padding)) as image:
        assert has_end(image) is ends


def test_a_models_own_media_token_is_found(folder, make_pair) -> None:
    folder.write([make_pair(0), make_pair(1, chosen="It is <|image_pad|>.")])
    assert folder.check("pairs").code == 0
    (problem,) = folder.check("pairs", "--json", "--model", MODEL, "--template", "qwen2_vl").problems
    assert (problem["kind"], problem["row"]) == ("media token", 1)
    assert problem["message"].startswith(
        "the answer holds `<|image_pad|>`, which the model reads as a part of a medium"
    )


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_media_that_hold_objects_are_errors(folder, make_pair, kind) -> None:
    rows = [
        make_pair(i, instruction=f"<image><{kind}>?", **{f"{kind}s": [{"url": "a.mp4", "crop": 1}]}) for i in (0, 1)
    ]
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    folder.write(rows, columns=columns | {f"{kind}s": f"{kind}s"})
    problems = folder.check("pairs", "--json").problems
    errors = [each for each in problems if each["severity"] == "error"]
    wanted = {"video": "video unreadable", "audio": "audio unreadable"}[kind]
    assert [(each["kind"], each["row"]) for each in errors] == [(wanted, 0), (wanted, 1)]
    assert "is a mapping with ['crop', 'url'], but a path" in errors[0]["message"]
