# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where raw rows come from: what a path or a hub id stands for, and going on behind any row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from importers.case import picture, write
from resonance.cli.main import main
from resonance.importers.source import Files, Hub, find_source
from resonance.importers.table import IMPORTERS

UNI_DPO = (
    "UltraFeedback-GPT-4o",
    "UltraFeedback-Qwen2_5_72B",
    "Llama-3-8B-Instruct-UltraFeedback-GPT-4o",
    "Llama-3-8B-Instruct-UltraFeedback-ArmoRM",
    "Llama-3-8B-Instruct-UltraFeedback-ArmoRM-GPT-4o",
    "Gemma-2-9B-IT-UltraFeedback-GPT-4o",
)
ROWS = [{"n": n} for n in range(300)]  # more than one batch of a table


def find(given: str | Path, split: str | None = None, patterns: tuple[str, ...] = ("*",)) -> Any:
    return find_source(str(given), split, replace(IMPORTERS["plain_dpo"], files=patterns))


def names(source: Any) -> list[str]:
    return [path.name for path in source.files]


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".jsonl"])
def test_going_on_behind_any_row(suffix: str, tmp_path: Path) -> None:
    files = [write(tmp_path / f"a{suffix}", ROWS[:137]), write(tmp_path / f"b{suffix}", ROWS[137:])]
    for stop in (0, 1, 128, 136, 137, 138, 299, 300):
        first = Files(files)
        rows = first.rows()
        seen = [next(rows).value for _ in range(stop)]
        position = json.loads(json.dumps(first.position()))
        assert seen + [raw.value for raw in Files(files).rows(position)] == ROWS


def test_lines_that_are_no_json_are_handed_out_once_in_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["{", {"n": 1}, "}", "x", {"n": 4}, "["])
    whole = list(Files([path]).rows())
    assert [(raw.row, raw.value) for raw in whole if raw.error is None] == [(1, {"n": 1}), (4, {"n": 4})]
    assert [raw.row for raw in whole if raw.error is not None] == [0, 2, 3, 5]
    assert [raw.row for raw in whole] == list(range(6))
    for stop in range(7):
        first = Files([path])
        rows = first.rows()
        seen = [next(rows) for _ in range(stop)]
        assert seen + list(Files([path]).rows(first.position())) == whole


def test_splits_by_the_names_of_files_and_folders(tmp_path: Path) -> None:
    for name in ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-0.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, ROWS[:2])
    (tmp_path / "dataset_infos.json").write_text("{}")
    assert names(find(tmp_path)) == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert names(find(tmp_path, "test")) == ["test-0.parquet"]
    with pytest.raises(ValueError, match="no file of split 'val'; there are test, train"):
        find(tmp_path, "val")
    with pytest.raises(ValueError, match="is one file"):
        find(tmp_path / "data" / "test-0.parquet", "test")


def test_folders(tmp_path: Path) -> None:
    write(tmp_path / "one.jsonl", ROWS[:2])
    write(tmp_path / "two.jsonl", ROWS[:2])
    assert names(find(tmp_path)) == ["one.jsonl", "two.jsonl"]
    assert names(find(tmp_path, patterns=("none.*", "t*"))) == ["two.jsonl"]
    with pytest.raises(ValueError, match=r"named none\.\* in this folder; it has one.jsonl, two.jsonl"):
        find(tmp_path, patterns=("none.*",))
    with pytest.raises(ValueError, match="no file here is named after a split"):
        find(tmp_path, "test")
    write(tmp_path / "one.parquet", ROWS[:2])
    with pytest.raises(ValueError, match=r"several types \(.jsonl, .parquet\)"):
        find(tmp_path)


def test_a_path_that_is_there_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("owner/name") == Hub("owner/name", "train")
    assert find("owner/name", "test") == Hub("owner/name", "test")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "rows.jsonl", ROWS)
    assert isinstance(find("owner/name"), Files)


@pytest.mark.parametrize("given", ["name", "a/b/c", "data/rows.parquet", "./owner", "owner/name.zip", "", "a b/c"])
def test_neither_a_path_nor_a_hub_id(given: str) -> None:
    if not given:
        given = "~/no/such"
    with pytest.raises(ValueError, match="is no file or folder here .* and no hub id, which is OWNER/NAME"):
        find(given)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that `datasets` reads as it reads a hub set: two parquet shards with embedded pictures."""
    import datasets

    folder = tmp_path / "owner" / "name" / "data"
    folder.mkdir(parents=True)
    features = datasets.Features(
        {"image": datasets.Image(), "question": datasets.Value("string")}
        | {name: datasets.Value("string") for name in ("chosen", "rejected")}
    )
    for shard in (0, 1):
        rows = {
            "image": [{"bytes": picture(n), "path": f"{n}.png"} for n in range(12)],
            "question": [f"{shard}, {n}?" for n in range(12)],
            "chosen": ["yes"] * 12,
            "rejected": ["no"] * 12,
        }
        datasets.Dataset.from_dict(rows, features).to_parquet(folder / f"train-0000{shard}-of-00002.parquet")
    monkeypatch.chdir(tmp_path)
    return "owner/name"


def test_the_hub_is_streamed_without_decoding(hub: str) -> None:
    rows = list(Hub(hub, "train").rows())
    assert [raw.row for raw in rows] == list(range(24))
    assert rows[13].value["question"] == "1, 1?"
    assert rows[13].value["image"]["bytes"] == picture(1)
    assert (rows[0].file, rows[0].folder) == (hub, None)


@pytest.mark.parametrize("stop", [1, 11, 12, 13, 24])
def test_the_hub_goes_on_behind_any_row(hub: str, stop: int) -> None:
    whole = list(Hub(hub, "train").rows())
    first = Hub(hub, "train")
    rows = first.rows()
    seen = [next(rows) for _ in range(stop)]
    position = json.loads(json.dumps(first.position()))
    assert seen + list(Hub(hub, "train").rows(position)) == whole


def test_a_hub_set_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "wanted.jsonl", ROWS)
    write(tmp_path / "owner" / "name" / "other.jsonl", [{"x": "y"}])
    monkeypatch.chdir(tmp_path)
    assert [raw.value for raw in Hub("owner/name", "train", "wanted.jsonl").rows()] == ROWS


def test_a_hub_set_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "import", "rlaif_v", "no-such/set", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "'no-such/set' is no path here, and its split 'train' cannot be read from the hub" in said
    assert "hf download --repo-type dataset no-such/set" in said


@pytest.mark.parametrize(
    "importer, file",
    [
        (["mm_rlhf"], "dpo_pairs.jsonl"),  # the rest of the set is 30 GB of archives
        (["uni_dpo"], "Multimodal/uni_dpo_image_only_mcq_short_long_50k.json"),
        (["uni_dpo", "--kind", "math"], "Math/Train_Qwen_2_5_math_7B.jsonl"),
        (["uni_dpo", "--kind", "textual"], "Textual/UltraFeedback-GPT-4o/train.jsonl"),
        *((["uni_dpo", "--kind", "textual", "--subset", name], f"Textual/{name}/train.jsonl") for name in UNI_DPO),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_one_file_of_a_hub_set_that_holds_several(
    importer: list[str],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import datasets

    asked = []

    def load_dataset(*arguments: Any, **settings: Any) -> None:
        asked.append((arguments, settings))
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert main(["data", "import", *importer, "--out", str(tmp_path)]) == 1
    (((hub_id,), settings),) = asked
    assert settings == {"split": "train", "data_files": file, "streaming": True}
    assert f"hf download --repo-type dataset {hub_id} {file} --local-dir FOLDER" in capsys.readouterr().err


def test_a_table_is_not_held_in_memory(tmp_path: Path) -> None:
    """Eight groups of 2 MB: what is held at any time is a group or two."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": [bytes([n % 256]) * 8192 + n.to_bytes(2, "little") for n in range(2048)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=256, compression="none", use_dictionary=False)
    size = (tmp_path / "rows.parquet").stat().st_size
    del table
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in Files([tmp_path / "rows.parquet"]).rows())
    assert size > 16e6
    assert most < size / 2
