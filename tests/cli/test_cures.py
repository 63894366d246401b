# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the data commands print as the next thing to type is typed here, and has to work."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import DATA
from resonance.cli.main import main
from resonance.importers.table import fitting

Next = Callable[..., list[str]]
PICTURES = sorted((DATA / "images").iterdir())[:4]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`typed(words)`: exit code and output of a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(words: list[str]) -> tuple[int, str]:
        code = main(words)
        return code, "".join(capsys.readouterr())

    return run


def next_words(text: str) -> list[str]:
    """The words behind `Next: resonance` in a report."""
    command = re.search(r"Next: resonance (data [^\n]*?)(?:, (?:then|if|where) .*)?$", text, re.MULTILINE)
    assert command, text
    return shlex.split(command[1])


def settings(text: str) -> list[str]:
    """The last `--set`s of an advice; the words behind `for pairs` if it has some."""
    advice = text.rpartition("for pairs")[2] if "for pairs" in text else text.rpartition("Pass ")[2]
    return re.findall(r"--set|(?<=--set )\S+", advice.replace(",", " "))


def entry(name: str, folder: str = "data") -> dict[str, Any]:
    return json.loads(Path(folder, "dataset_info.json").read_text())[name]


def write(name: str, rows: Any) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(lines)


def pictures(folder: str) -> list[str]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [str(Path(shutil.copy(picture, folder)).name) for picture in PICTURES]


def talk(*roles: str) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": f"text of {role}"} for role in roles]}


@pytest.mark.parametrize(
    ("roles", "tags"),
    [
        (("human", "bot"), {"assistant_tag": "bot"}),
        (("asker", "gpt"), {"user_tag": "asker"}),
        (("Q", "A", "Q", "A"), {"user_tag": "Q", "assistant_tag": "A"}),
        (("rules", "human", "gpt"), {"system_tag": "rules"}),
        (("rules", "Q", "A"), {"system_tag": "rules", "user_tag": "Q", "assistant_tag": "A"}),
    ],
)
def test_roles_of_other_names(typed, roles, tags):
    write("talk.json", [talk(*roles)])
    code, text = typed(["data", "register", "talk.json"])
    assert code == 1 and f"messages have the roles {next(iter(tags.values()))}" in text
    code, text = typed(["data", "register", "talk.json", *settings(text)])
    assert code == 0, text
    assert tags.items() <= entry("talk")["tags"].items()
    assert typed(next_words(text))[0] == 0


def test_a_developer_is_the_system(typed):
    write("talk.json", [talk("developer", "user", "assistant")])
    assert typed(["data", "register", "talk.json"])[0] == 0
    assert entry("talk")["tags"]["system_tag"] == "developer"


@pytest.mark.parametrize(
    ("better", "worse"), [("preferred", "dispreferred"), ("answer_win", "answer_lose"), ("better_text", "worse_text")]
)
def test_pairs_of_other_names(typed, better, worse):
    write("mine.json", [{"question": f"q{i}", better: f"yes {i}", worse: f"no {i}"} for i in range(2)])
    code, text = typed(["data", "register", "mine.json"])
    assert code == 1 and "for pairs" in text
    code, text = typed(["data", "register", "mine.json", *settings(text)])
    assert code == 0, text
    assert entry("mine")["ranking"] is True
    assert entry("mine")["columns"] == {"prompt": "question", "chosen": better, "rejected": worse}
    assert typed(next_words(text))[0] == 0


def say(text: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize("command", ["register", "check", "show"])
def test_a_file_that_an_importer_reads(typed, command):
    rows = [{"chosen": say(f"What is {i}?", "This."), "rejected": say(f"What is {i}?", "That.")} for i in range(3)]
    write("trl.jsonl", rows)
    _, text = typed(["data", command, "trl.jsonl"])
    words = next_words(text)
    assert words == ["data", "import", "trl", "trl.jsonl", "--out", "data"]
    assert typed(words)[0] == 0 and entry("trl")["ranking"] is True


LF_PAIR = {
    **{"conversations": [{"from": "human", "value": "<image>What?"}], "images": ["a.png"]},
    **{"chosen": {"from": "gpt", "value": "Two."}, "rejected": {"from": "gpt", "value": "Ten."}},
}


@pytest.mark.parametrize("importer", ["rlhfv", "vlfeedback", "trl", "vlquery_json"])
@pytest.mark.parametrize("count", [1, 200])
def test_rows_that_llamafactory_reads_are_registered(typed, importer, count):
    assert importer not in fitting(LF_PAIR)
    shutil.copy(PICTURES[0], "a.png")
    write("pairs.json", [LF_PAIR] * count)
    code, text = typed(["data", "import", importer, "pairs.json", "--out", "out"])
    assert code == 1 and "LlamaFactory reads them without an import" in text, text
    assert f"{min(count, 20)} rows read" in text.replace("1 row read", "1 rows read")
    words = next_words(text)
    assert words == ["data", "register", "pairs.json", "--dataset-dir", "out"]
    Path("out").mkdir(exist_ok=True)
    code, text = typed(words)
    assert code == 0 and typed(next_words(text))[0] == 0


def test_a_mended_copy_keeps_the_mapping_of_its_set(typed):
    rows = [
        {"q": f"q{i}", "good": f"yes {i}", "bad": f"no {i}", "image": "not one", "sg": 3.0, "sb": 1.0}
        for i in range(3)
    ]
    write("data/odd.json", [*rows, {**rows[0], "good": ""}])
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad", "score_chosen": "sg", "score_rejected": "sb"}
    sets = [word for key, name in columns.items() for word in ("--set", f"columns.{key}={name}")]
    assert typed(["data", "register", "data/odd.json", *sets, "--set", "columns.images="])[0] == 0
    code, text = typed(["data", "check", "odd", "--fix", "data/fixed.json"])
    assert code == 1
    code, text = typed(next_words(text))
    assert code == 0, text
    assert entry("fixed") == {**entry("odd"), "file_name": "fixed.json"}
    assert typed(next_words(text))[0] == 0
    code, text = typed(["data", "score-filter", "odd", "--min-margin", "1", "-o", "data/half.json"])
    assert code == 0, text
    assert typed(next_words(text))[0] == 0 and entry("half") == {**entry("odd"), "file_name": "half.json"}


def test_tags_of_a_mended_copy(typed):
    write("data/odd.json", [talk("me", "you"), talk("me", "you"), talk("me")])
    assert (
        typed(["data", "register", "data/odd.json", *"--set tags.user_tag=me --set tags.assistant_tag=you".split()])[0]
        == 0
    )
    _, text = typed(["data", "check", "odd", "--fix", "data/fixed.json"])
    assert typed(next_words(text))[0] == 0
    assert entry("fixed") == {**entry("odd"), "file_name": "fixed.json"}


def test_registering_elsewhere_keeps_the_place_of_the_media(typed):
    names = pictures("mydata/pics")
    rows = [
        {"prompt": "<image>?", "chosen": f"yes {i}", "rejected": "no", "images": [f"pics/{name}"]}
        for i, name in enumerate(names)
    ]
    write("mydata/mine.json", rows)
    assert typed(["data", "check", "mydata/mine.json"])[0] == 0
    code, text = typed(["data", "register", "mydata/mine.json"])
    assert code == 0 and "`media_dir: mydata`" in text
    assert next_words(text) == ["data", "check", "mine", "--media-dir", "mydata"]
    assert typed(next_words(text))[0] == 0
    code, text = typed(["data", "register", "mydata/mine.json", "--dataset-dir", "mydata"])
    assert code == 0 and "media_dir" not in text and typed(next_words(text))[0] == 0


def test_a_sound_set_is_followed_by_what_a_recipe_says(typed):
    write("data/mine.json", [{"prompt": f"q{i}", "chosen": f"yes {i}", "rejected": "no"} for i in range(3)])
    write("data/other.json", [{"prompt": f"r{i}", "chosen": f"yes {i}", "rejected": "no"} for i in range(3)])
    code, text = typed(["data", "check", "data/mine.json"])
    assert code == 0 and next_words(text) == ["data", "register", "data/mine.json"]
    assert typed(next_words(text))[0] == 0
    code, text = typed(["data", "check", "mine", "--against", "data/other.json"])
    assert code == 0 and "No row and no image is shared with data/other.json" in text
    assert text.endswith("Next: `dataset: mine`, `dataset_dir: data` in a recipe\n")
    assert "is shared with" not in typed(["data", "check", "mine", "--against", "data/mine.json"])[1]


def test_a_copy_of_embedded_images_is_made_by_way_of_an_import(typed):
    Path("data").mkdir()
    image = {"bytes": PICTURES[0].read_bytes(), "path": None}
    pairs = [
        {"conversations": turns("What?"), "chosen": message("Yes."), "rejected": message("No."), "images": [image]},
        {"conversations": turns("Who?"), "chosen": message(""), "rejected": message("No."), "images": [image]},
    ]
    pq.write_table(pa.Table.from_pylist(pairs), "data/pairs.parquet")
    assert typed(["data", "register", "data/pairs.parquet"])[0] == 0
    code, text = typed(["data", "check", "pairs", "--fix", "clean.json"])
    assert code == 2 and "Import it first: embedded images become files" in text
    words = next_words(text)
    assert words[:2] == ["data", "import"]
    code, text = typed([*words, "--name", "imported"])
    assert code == 0 and "1 pair written" in text
    assert typed(["data", "check", "imported"])[0] == 0


def test_media_in_a_column_that_the_entry_does_not_name(typed):
    """A copy without errors would be empty, so that column is named."""
    names = pictures("data")
    rows = [{"ask": f"<image>What is {n}?", "say": "That.", "figure": name} for n, name in enumerate(names)]
    write("data/mine.json", rows)
    sets = "--set columns.prompt=ask --set columns.response=say --set columns.images=".split()
    assert typed(["data", "register", "data/mine.json", *sets])[0] == 0
    code, text = typed(["data", "check", "mine"])
    assert code == 1 and "placeholder count" in text
    words = next_words(text)
    assert typed(words)[0] == 0
    assert entry("mine")["columns"] == {"prompt": "ask", "response": "say", "images": "figure"}
    assert typed(["data", "check", "mine"])[0] == 0


def turns(asked: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"<image>{asked}"}]


def message(said: str) -> dict[str, str]:
    return {"from": "gpt", "value": said}


def test_bytes_are_shown_by_their_size(typed):
    data = PICTURES[0].read_bytes()
    parts = [{"type": "image", "image": data, "text": None}, {"type": "text", "image": None, "text": "What?"}]
    row = {"figure": {"bytes": data, "path": None}, "raw": data, "talk": [{"role": "user", "content": parts}]}
    pq.write_table(pa.Table.from_pylist([row]), "odd.parquet")
    code, text = typed(["data", "show", "odd.parquet", "--full"])
    assert code == 0 and "\\x" not in text and len(text) < 2000
    assert text.count("KiB>") + text.count("bytes>") == 3


def test_pairs_that_would_be_registered_as_answers_alone(typed):
    names = pictures("data")
    asked = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "Reference."}]
    outputs = {"output_1": {"from": "llava", "value": "Yes."}, "output_2": {"from": "llava", "value": "No."}}
    write("data/rlhf.json", [{"image": name, "conversations": asked, **outputs, "preference": 2} for name in names])
    code, text = typed(["data", "register", "data/rlhf.json"])
    assert code == 0 and "Registered as answers alone, but rows can be read as pairs: resonance data import" in text
    words = shlex.split(re.search(r"as pairs: resonance (.*)", text)[1])
    assert words[2] == "llava_rlhf"
    code, text = typed(words)
    assert code == 0 and "4 pairs written" in text
    code, text = typed(["data", "register", "data/rlhf.json", "--set", "ranking=false", "--name", "answers"])
    assert code == 0 and "as pairs" not in text


def test_half_a_pair_under_another_name(typed):
    write("pope.json", [{"image_id": 1, "question": "Is it?", "answer": "no", "chosen": "No.", "reject": "Yes."}])
    code, text = typed(["data", "register", "pope.json"])
    assert code == 1 and "reject: rejected answers, which would not be read" in text
    assert next_words(text) == ["data", "import", "ha_dpo", "pope.json", "--out", "data"]


@pytest.mark.parametrize(("asked", "cured"), [("What is {}?", True), ("<image><image>What is {}?", False)])
def test_placeholders_that_a_copy_gets_or_not(typed, asked, cured):
    """A copy that would be empty is not advised."""
    names = pictures("data")
    rows = [{"instruction": asked.format(n), "output": "That.", "images": [name]} for n, name in enumerate(names)]
    write("data/mine.json", rows)
    assert typed(["data", "register", "data/mine.json"])[0] == 0
    code, text = typed(["data", "check", "mine"])
    assert code == 1 and ("Every row has an error that cannot be mended" in text) == (not cured)
    if cured:
        assert typed(next_words(text))[0] == 1 and len(json.loads(Path("data/mine.clean.json").read_text())) == 4
