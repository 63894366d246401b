# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A small data set and its page, served in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from resonance.datafiles.find import entry_of, find
from resonance.datafiles.flags import flags_file
from resonance.datafiles.info import INFO
from resonance.datafiles.parts import Layout
from resonance.datafiles.rowindex import RowIndex
from resonance.datafiles.write import write_rows
from resonance.view.server import Server
from resonance.view.session import Session


def pair(number: int, **more: Any) -> dict[str, Any]:
    """Row `number`: margins go up and down, answers grow."""
    return {
        "instruction": f"<image>What is number {number}?",
        "chosen": f"It is {number}, which is written large." + " Truly." * number,
        "rejected": f"It is {number + 1}, which is written small.",
        "score_chosen": 5.0,
        "score_rejected": float(number * 3 % 5),
        "images": [f"images/{number % 3}.png"],
        "source": "even" if number % 2 == 0 else "odd",
    } | more


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Twelve pairs in a file, with pictures beside it."""
    (tmp_path / "images").mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / "images" / f"{number}.png")
    write_rows(tmp_path / "pairs.json", map(pair, range(12)), indent=2)
    return tmp_path / "pairs.json"


@pytest.fixture
def served() -> Iterator[Callable[..., Server]]:
    """Open a file and serve its page; all are ended with the test."""
    servers: list[Server] = []

    def serve(path: Path, problems: Any = None, **options: Any) -> Server:
        data = find(str(path), path.parent / INFO)
        rows = RowIndex(data.files, Layout(entry_of(data)), **options).open()
        session = Session(path.name, rows, flags_file(path), path.parent, problems)
        server = Server(session, "127.0.0.1", 0)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
