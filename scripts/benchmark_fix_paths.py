# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows a second and peak memory of `resonance data fix-paths`, beside json.load, a loop and json.dump.

    python scripts/benchmark_fix_paths.py [--rows 200000]

Makes a file of pairs and their images (empty ones: only names are looked at) in a temporary folder. Each way runs in a
process of its own. The results are compared byte by byte.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from resonance.datafiles.write import write_rows

PLAIN = """
import json
rows = json.load(open("pairs.json"))
for row in rows:
    row["images"] = [path.replace("/content/", "here/") for path in row["images"]]
json.dump(rows, open("plain.json", "w"), indent=4)
"""
WAYS = {
    "json.load, loop, json.dump": ["-c", PLAIN],
    "fix-paths --from --to": ["fix-paths", "pairs.json", "-o", "prefix.json", "--from", "/content", "--to", "here"],
    "fix-paths --marker": ["fix-paths", "pairs.json", "-o", "marker.json", "--marker", "MM", "--root", "here/MM"],
    "fix-paths --search": ["fix-paths", "pairs.json", "-o", "search.json", "--search", "here"],
}
CALL = "import sys; from resonance.cli.main import main; sys.exit(main(['data', *sys.argv[1:]]))"


def prepare(count: int) -> None:
    """Write the rows and make the images, a thousand a folder."""
    for folder in range(-(-count // 1000)):
        os.makedirs(f"here/MM/{folder}")
    for number in range(count):
        Path(f"here/MM/{number // 1000}/{number}.jpg").touch()
    rows = (
        {
            "instruction": "<image>" + "question " * 20,
            "chosen": "answer " * 60,
            "rejected": "other " * 60,
            "score_chosen": 4.0,
            "score_rejected": 1.0,
            "images": [f"/content/MM/{number // 1000}/{number}.jpg"],
        }
        for number in range(count)
    )
    write_rows("pairs.json", rows, indent=4)


def measure(command: list[str]) -> tuple[float, float]:
    """Run a Python process; return seconds and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"it ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare(args.rows)
        print(f"{args.rows} rows, {Path('pairs.json').stat().st_size / 1e6:.0f} MB\n")
        print(f"{'':28}{'rows/s':>9}{'seconds':>9}{'peak MB':>9}")
        for name, command in WAYS.items():
            seconds, memory = measure(command if command[0] == "-c" else ["-c", CALL, *command])
            print(f"{name:28}{args.rows / seconds:9.0f}{seconds:9.1f}{memory:9.0f}", flush=True)
        wanted = Path("plain.json").read_bytes()
        same = all(Path(f"{way}.json").read_bytes() == wanted for way in ("prefix", "marker", "search"))
        print(f"\nresults are {'the same, byte by byte' if same else 'NOT THE SAME'}")
        os.chdir("/")


if __name__ == "__main__":
    main()
