# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Parquet and Arrow files a batch at a time, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

TABLES = (".parquet", ".arrow")
TABLE_ROWS = 128  # rows turned into Python at a time; each may hold an image


def table_batches(path: Path) -> tuple[int, Iterator[Any]]:
    """Return how many rows a table has, 0 if that is not known, and its record batches.

    Raises:
        pyarrow.ArrowException, OSError: now or while iterating, if it cannot be read.
    """
    if path.suffix.lower() == ".arrow":
        return 0, _arrow_batches(path)
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path, pre_buffer=False)
    # group by group: asked for all at once, the reader keeps the raw bytes of each group until the file's end
    groups = (table.iter_batches(batch_size=TABLE_ROWS, row_groups=[group]) for group in range(table.num_row_groups))
    return table.metadata.num_rows, chain.from_iterable(groups)


def table_length(path: Path) -> int:
    """Return how many rows a table has; none is turned into Python.

    Raises:
        OSError: if it cannot be read.
    """
    import pyarrow as pa

    try:
        total, batches = table_batches(path)
        return total or sum(batch.num_rows for batch in batches)
    except pa.ArrowException as error:
        raise OSError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def batch_at(path: Path, number: int) -> tuple[int, list[Any]]:
    """Return the rows of the batch that holds row `number`, and the number of the first of them.

    Raises:
        IndexError: if there is no such row.
        pyarrow.ArrowException, OSError: if it cannot be read.
    """
    start = 0
    batches: Iterator[Any] = iter(())
    if path.suffix.lower() == ".arrow":
        batches = _arrow_batches(path)
    else:
        import pyarrow.parquet as pq

        table = pq.ParquetFile(path, pre_buffer=False)
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if number < start + rows:
                batches = table.iter_batches(batch_size=TABLE_ROWS, row_groups=[group])
                break
            start += rows
    for batch in batches:
        if number < start + batch.num_rows:
            return start, batch.to_pylist()
        start += batch.num_rows
    raise IndexError(f"{path}: has no row {number}")


def _arrow_batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)  # what `datasets` writes
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            reader = map(file.get_batch, range(file.num_record_batches))
        for batch in reader:
            for start in range(0, batch.num_rows, TABLE_ROWS):
                yield batch.slice(start, TABLE_ROWS)
