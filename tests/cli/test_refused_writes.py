# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every command that writes, on a full disk and where it may not write: what it prints and what it leaves."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from resonance.cli.main import main
from resonance.datafiles.write import write_rows

# Command, and the file or files of which its message names one.
COMMANDS = {
    "cp": ("cp quickstart/uni_dpo data/out.yaml", "data/out.yaml"),
    "import": (
        "data import plain_dpo data/pairs.json --out data --name out",
        "data/(out.json|.out.import/state.json)",
    ),
    "register": ("data register data/pairs.json", "data/dataset_info.json(.bak)?"),
    "fix-paths": ("data fix-paths data/pairs.json --search data -o data/out.json", "data/out.json"),
    "fix-paths in place": ("data fix-paths data/pairs.json --search data --in-place", "data/pairs.json"),
    "score-filter": ("data score-filter data/pairs.json -o data/out.json --min-margin 1", "data/out.json"),
    "score-scale": ("data score-scale data/pairs.json -o data/out.json --from 0 5 --to 0 1", "data/out.json"),
    "score-stats": ("data score-stats data/pairs.json --plot data/out.png", "data/out.png"),
    "check --fix": ("data check data/pairs.json --fix data/out.json", "data/out.(json|dropped.jsonl)"),
    "check --html": ("data check data/pairs.json --html data/out.html", "data/out.html"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A working folder that everybody may read, with a set and its entry in data/."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        Path(path, "data", "old").mkdir(parents=True)
        pair = {"instruction": "<image>What?", "chosen": "this", "rejected": "that", "images": ["/content/old/0.png"]}
        rows = [pair | {"score_chosen": 4.0, "score_rejected": 1.0, "instruction": f"<image>{n}?"} for n in range(99)]
        write_rows(path / "data" / "pairs.json", rows)
        (path / "data" / "dataset_info.json").write_text(json.dumps({"other": {"file_name": "x" * 9000}}))
        Image.new("RGB", (30, 30)).save(path / "data" / "old" / "0.png")
        yield path


def in_child(folder: Path, argv: list[str], refusal: str) -> tuple[int, str]:
    """Exit code and output of a command in a fork that the system refuses to write."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            sys.stdout = sys.stderr = open(writing, "w")  # noqa: SIM115  for as long as this process lives
            os.chdir(folder)
            if refusal == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            else:
                os.chmod("data", 0o555)
                drop_capabilities()
            code = main(argv)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    os.close(writing)
    with open(reading) as output:
        text = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def drop_capabilities() -> None:
    """From here on root may write what the permissions of a file allow its owner, and nothing else."""
    version, process, thread = 0x20080522, 0, (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset((ctypes.c_uint32 * 2)(version, process), thread):
        raise OSError(ctypes.get_errno(), "capset")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What `check` imports takes longer than all else here, so no child does it."""
    import llamafactory.data.converter
    import llamafactory.hparams  # noqa: F401


@pytest.mark.parametrize("refusal", ["full", "may not"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_cannot_write_names_the_file_and_leaves_all_as_it_was(
    folder: Path, name: str, refusal: str
) -> None:
    command, file = COMMANDS[name]
    before = contents(folder)
    code, text = in_child(folder, command.split(), refusal)
    assert code == (2 if name.startswith("check") else 1) and "Traceback" not in text, text
    why = "File too large" if refusal == "full" else "Permission denied"
    assert re.search(f"cannot write {file}: {why}", text.replace(f"{folder.resolve()}/", "")), text
    assert contents(folder) == before
