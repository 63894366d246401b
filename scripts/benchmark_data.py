# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `resonance data check` and `fix-paths` cost, beside the loops that everybody writes first.

    python scripts/benchmark_data.py [--rows 200000] [--images 3000] [--folder DIR] [--json FILE]

Makes N preference rows with scores over M small JPEG and PNG files on the local disk, and runs, each in a process of
its own: `json.load` and a loop that decodes the images of every row by PIL, beside `resonance data check` (headers)
and `check --decode`; and `json.load`, a loop over the paths and `json.dump`, beside the three ways of `fix-paths`,
which also looks whether each file is there; and what `resonance data view` does before its page is there, with a
search of all texts and an order by margin behind it. `check` imports LlamaFactory, whose converters judge rows; a
process that does no more is measured, too. Prints rows a second, seconds, CPU seconds and peak resident memory of
each. Exit status 1 if one of ours fails, finds a problem in the sound rows, takes 500 MB or more (`check`: beside
that import), or writes other bytes than the loop.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resonance.datafiles.write import write_rows

CEILING_MB = 500
IMPORT = "import llamafactory.data.converter"
DECODE = """
import json, sys
from PIL import Image
rows = json.load(open(sys.argv[1]))
for row in rows:
    for path in row["images"]:
        Image.open(sys.argv[2] + "/" + path).convert("RGB")
print(len(rows))
"""
MOVE = """
import json, sys
rows = json.load(open(sys.argv[1]))
for row in rows:
    row["images"] = [path.replace(sys.argv[2], sys.argv[3]) for path in row["images"]]
json.dump(rows, open(sys.argv[4], "w"), indent=4)
"""
VIEW = """
import sys
from pathlib import Path
from resonance.datafiles.find import entry_of, find
from resonance.datafiles.parts import Layout
from resonance.datafiles.rowindex import Query, RowIndex
data = find(sys.argv[1], Path(sys.argv[2], "dataset_info.json"))
index = RowIndex(data.files, Layout(entry_of(data))).open()
for query in [Query(text="question 1"), Query(sort="margin", down=True)][: int(sys.argv[3])]:
    assert index.select(query, {}, {})
"""
ELSEWHERE = "/content/drive"
RESONANCE = [sys.executable, "-c", "from resonance.cli.main import entry; entry()", "data"]


def make_images(folder: Path, count: int) -> list[str]:
    """Write noise of 60 to 300 pixels, JPEG and PNG in turn; returns the paths below `folder`."""
    from PIL import Image

    draw, paths = random.Random(1), []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = f"images/{i:06d}.{'jpg' if i % 2 else 'png'}"
        size = (draw.randint(60, 300), draw.randint(60, 300))
        Image.effect_noise(size, 60).convert("RGB").save(folder / path)
        paths.append(path)
    return paths


def rows_over(images: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Sound rows of about 700 characters."""
    draw = random.Random(2)
    for i in range(count):
        yield {
            "instruction": f"<image>Question {i}: what is to be seen, and where? " + "Look closely. " * 8,
            "chosen": f"Answer {i}: " + "a careful sentence about the picture. " * 6,
            "rejected": f"Answer {i}: " + "a sentence about another picture. " * 6,
            "score_chosen": round(draw.uniform(3, 5), 2),
            "score_rejected": round(draw.uniform(0, 3), 2),
            "images": [draw.choice(images)],
        }


def measure(name: str, command: list[str], rows: int) -> dict[str, Any]:
    """Run a command to its end: wall time, and the peak resident memory of that process alone."""
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read().decode(errors="replace")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    result = {
        "name": name,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "rows_per_second": round(rows / seconds),
        "peak_mb": round(usage.ru_maxrss / unit),
        "exit_code": process.returncode,
    }
    columns = (f"{result['rows_per_second']:>10,}", f"{result['seconds']:>9.1f}", f"{result['cpu_seconds']:>9.1f}")
    print(f"{name:<34}{''.join(columns)}{result['peak_mb']:>8,}", flush=True)
    if process.returncode:
        print(output[-2000:], file=sys.stderr)
    return result


def run_checks(folder: Path, images: list[str], rows: int, decode: bool) -> list[dict[str, Any]]:
    """The plain loop first, then ours."""
    sound = folder / "sound.json"
    write_rows(sound, rows_over(images, rows))
    commands = {
        "json.load, PIL decodes": [sys.executable, "-c", DECODE, str(sound), str(folder)],
        "resonance data check": [*RESONANCE, "check", str(sound)],
        "resonance data check --decode": [*RESONANCE, "check", str(sound), "--decode"],
    }
    if not decode:
        del commands["resonance data check --decode"]
    return [measure(name, command, rows) for name, command in commands.items()]


def run_moves(folder: Path, images: list[str], rows: int) -> list[dict[str, Any]]:
    """The plain loop first, then ours, of which each result says whether it is the loop's, byte by byte."""
    moved, here = folder / "moved.json", str(folder.resolve())
    write_rows(moved, rows_over([f"{ELSEWHERE}/{image}" for image in images], rows), indent=4)
    ways = {
        "fix-paths --marker": ["--marker", "images", "--root", f"{here}/images"],
        "fix-paths --from --to": ["--from", ELSEWHERE, "--to", here],
        "fix-paths --search": ["--search", here],
    }
    plain = [sys.executable, "-c", MOVE, str(moved), ELSEWHERE, here, str(folder / "plain.json")]
    results = [measure("json.load, loop, json.dump", plain, rows)]
    for name, way in ways.items():
        output = folder / "fixed.json"
        output.unlink(missing_ok=True)
        result = measure(
            f"resonance data {name}", [*RESONANCE, "fix-paths", str(moved), *way, "-o", str(output)], rows
        )
        result["same"] = output.exists() and filecmp.cmp(output, folder / "plain.json", shallow=False)
        results.append(result)
    return results


def run_views(folder: Path, rows: int) -> list[dict[str, Any]]:
    """What `resonance data view` does until its page is there, and for two questions of the page more."""
    sound = [sys.executable, "-c", VIEW, str(folder / "sound.json"), str(folder)]
    names = {"resonance data view: open": "0", "the same, search and order": "2"}
    return [measure(name, [*sound, queries], rows) for name, queries in names.items()]


def compare(plain: dict[str, Any], ours: list[dict[str, Any]], beside_mb: int = 0) -> bool:
    """Print how ours compare with the plain loop; return whether they stay within what they promise.

    Args:
        plain: what the loop took.
        ours: what each command took.
        beside_mb: memory of imports that all of ours make.
    """
    good = plain["exit_code"] == 0
    for result in ours:
        result["times_plain"] = round(plain["seconds"] / result["seconds"], 1)
        same = {None: "", True: ", the same bytes", False: ", NOT THE SAME BYTES"}[result.get("same")]
        print(
            f"{result['name']}: {result['times_plain']} times as fast as {plain['name']}, "
            f"{result['peak_mb']} MB to its {plain['peak_mb']} MB{same}"
        )
        good &= result["exit_code"] == 0 and result["peak_mb"] - beside_mb < CEILING_MB and result.get("same", True)
    return good


def main() -> int:
    """Measure, print, and say whether ours stay within what they promise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--images", type=int, default=3000, help="distinct files; rows show them again and again")
    parser.add_argument("--folder", type=Path, help="where the data are made and kept; default: a temporary folder")
    parser.add_argument("--no-decode", action="store_true", help="leave out `check --decode`")
    parser.add_argument("--json", type=Path, help="write the numbers to a file")
    args = parser.parse_args()
    if args.rows < 1 or args.images < 1:
        parser.error("--rows and --images are 1 or more")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        images = make_images(folder, args.images)
        print(f"{args.rows:,} rows over {args.images:,} images; {os.cpu_count()} processors\n")
        print(f"{'':<36}{'rows/s':>10}{'seconds':>9}{'CPU s':>9}{'peak MB':>8}")
        imported = measure(IMPORT, [sys.executable, "-c", IMPORT], args.rows)
        checks = run_checks(folder, images, args.rows, not args.no_decode)
        moves = run_moves(folder, images, args.rows)
        views = run_views(folder, args.rows)
    print()
    good = [compare(checks[0], checks[1:], imported["peak_mb"]), compare(moves[0], moves[1:])]
    good += [view["exit_code"] == 0 and view["peak_mb"] < CEILING_MB for view in views]
    if args.json:
        report = {"rows": args.rows, "images": args.images, "results": [*checks, *moves, *views]}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
