# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Streams: from local files with and without workers, and from a hub, where nothing is known before it comes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def hub_stream(data, make_pair, rebound, tmp_path):
    """Align rows as a streamed hub dataset; `load_from` is what LlamaFactory sets for one."""
    import datasets
    from llamafactory.hparams import DataArguments

    from resonance.rows.align import align_dataset
    from resonance.rows.attributes import ScoredDatasetAttr
    from resonance.rows.load import load_dataset
    from resonance.rows.plan import RowPlan

    def align(rows, **features):
        table = datasets.Dataset.from_list(rows)
        for column, feature in features.items():
            table = table.cast_column(column, feature)
        table.to_parquet(str(tmp_path / "hub.parquet"))
        stream = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "hub.parquet"), split="train", streaming=True
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("datasets.load_dataset", lambda *_, **__: stream)
            stream = load_dataset("someone/pairs", split="train", streaming=True)
        attr = ScoredDatasetAttr("hf_hub", "someone/pairs", ranking=True)
        columns = ("prompt", "chosen", "rejected", "images", "score_chosen", "score_rejected")
        attr.join({"ranking": True, "columns": {name: name for name in columns} | {"prompt": "instruction"}})
        data_args = DataArguments(template="qwen2_vl", dataset="pairs", dataset_dir=str(data.folder), streaming=True)
        data_args.row_plan = RowPlan(True)
        training_args = SimpleNamespace(output_dir=str(tmp_path / "out"), process_index=0, local_process_index=0)
        return align_dataset(stream, attr, data_args, training_args)

    return align


def test_hub_rows_are_numbered_and_checked_as_they_come(hub_stream, data, make_pair):
    rows = [{**make_pair(i), "images": [str(data.folder / f"images/{i}.png")]} for i in range(5)]
    rows[1]["rejected"] = ""
    rows[3]["score_chosen"] = float("nan")
    stream = iter(hub_stream(rows))
    assert [next(stream)["_row"] for _ in range(2)] == [0, 2]
    with pytest.raises(ValueError, match="someone/pairs, row 3: `score_chosen` is not finite but nan"):
        next(stream)


def test_hub_images_are_decoded_and_a_broken_one_is_named(hub_stream, data, make_pair):
    import datasets
    from PIL import Image

    rows = [make_pair(i) for i in range(3)]
    for i, row in enumerate(rows):
        row["images"] = [{"bytes": (data.folder / f"images/{i}.png").read_bytes(), "path": None}]
    (row, *_) = hub_stream(rows, images=[datasets.Image()])
    assert isinstance(row["_images"][0], Image.Image)

    rows[1]["images"][0]["bytes"] = b"broken"
    with pytest.raises(ValueError, match=r"someone/pairs, row 1: cannot be decoded \(UnidentifiedImageError"):
        list(hub_stream(rows, images=[datasets.Image()]))


@pytest.mark.parametrize("workers", [0, 2])
def test_local_stream_keeps_row_numbers_with_any_number_of_workers(data, load, make_pair, workers):
    from torch.utils.data import DataLoader

    data.write([{**make_pair(i), "images": [f"images/{i % 6}.png"]} for i in range(8)])
    stream = load(streaming=True, dataloader_num_workers=workers).train
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    rows = {row["_row"]: row["score_chosen"] for row in loader}
    assert rows == {i: pytest.approx(3 + i / 10) for i in range(8)}


def test_local_stream_checks_scores_before_the_first_row(data, load, make_pair):
    rows = [{**make_pair(i), "images": [f"images/{i % 6}.png"]} for i in range(30)]
    rows[17]["score_chosen"] = rows[29]["score_rejected"] = None
    path = data.write(rows, "pairs.jsonl")
    with pytest.raises(ValueError, match="2 problems") as caught:
        load(streaming=True)
    assert f"{path}, row 17: " in str(caught.value) and f"{path}, row 29: " in str(caught.value)


def test_warnings_of_a_stream_stop_after_ten_rows(data, load, make_pair, warnings_of_rows):
    rows = [{**make_pair(i), "images": [f"images/{i % 6}.png"]} for i in range(30)]
    for row in rows[5:25]:
        row["rejected"] = row["chosen"]
    data.write(rows)
    result = load(streaming=True)
    assert len(list(result.train)) == 10
    assert len(list(result.train)) == 10  # a second pass lists nothing twice
    assert len(warnings_of_rows) == 10
    assert warnings_of_rows[-1].endswith("Further skipped rows of this dataset are only listed there.")
    assert len(result.skipped.read_text().splitlines()) == 20
