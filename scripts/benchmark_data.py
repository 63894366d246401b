# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `resonance data check` and `fix-paths` cost, beside the loop that everybody writes first.

    python scripts/benchmark_data.py [--rows 200000] [--images 3000] [--folder DIR] [--json FILE]

Makes N preference rows with scores over M small JPEG and PNG files on the local disk, and runs, each in a process of
its own: a plain loop (`json.load`, then PIL decodes the images of every row); `resonance data check` (headers);
`resonance data check --decode`; `resonance data fix-paths --marker`. Prints rows a second, seconds and peak resident
memory of each. Exit status 1 if one of ours fails, finds a problem in the sound rows, or takes 500 MB or more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CEILING_MB = 500
PLAIN = """
import json, sys
from PIL import Image
rows = json.load(open(sys.argv[1]))
for row in rows:
    for path in row["images"]:
        Image.open(sys.argv[2] + "/" + path).convert("RGB")
print(len(rows))
"""


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


def make_rows(file: Path, count: int, images: list[str], *, prefix: str = "") -> None:
    """Write `count` sound rows of about 700 characters, row by row."""
    draw = random.Random(2)
    with open(file, "w", encoding="utf-8") as out:
        for i in range(count):
            row = {
                "instruction": f"<image>Question {i}: what is to be seen, and where? " + "Look closely. " * 8,
                "chosen": f"Answer {i}: " + "a careful sentence about the picture. " * 6,
                "rejected": f"Answer {i}: " + "a sentence about another picture. " * 6,
                "score_chosen": round(draw.uniform(3, 5), 2),
                "score_rejected": round(draw.uniform(0, 3), 2),
                "images": [prefix + draw.choice(images)],
            }
            out.write(("[\n" if i == 0 else ",\n") + json.dumps(row))
        out.write("\n]\n")


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
        "rows_per_second": round(rows / seconds),
        "peak_mb": round(usage.ru_maxrss / unit),
        "exit_code": process.returncode,
    }
    columns = (f"{result['rows_per_second']:>10,}", f"{result['seconds']:>9.1f}", f"{result['peak_mb']:>8,}")
    print(f"{name:<34}{''.join(columns)}", flush=True)
    if process.returncode:
        print(output[-2000:], file=sys.stderr)
    return result


def run(folder: Path, rows: int, images: int, decode: bool) -> list[dict[str, Any]]:
    """Make the data and measure every command on it."""
    paths = make_images(folder, images)
    sound, moved = folder / "sound.json", folder / "moved.json"
    make_rows(sound, rows, paths)
    make_rows(moved, rows, paths, prefix="/content/drive/")
    size = sound.stat().st_size / 1e6
    print(f"{rows:,} rows ({size:,.0f} MB of JSON) over {images:,} images; {os.cpu_count()} processors\n")
    print(f"{'':<34}{'rows/s':>10}{'seconds':>9}{'peak MB':>8}")
    resonance = [sys.executable, "-c", "from resonance.cli.main import entry; entry()", "data"]
    fixed = ["--marker", "images", "--root", str(folder / "images"), "-o", str(folder / "fixed.json")]
    commands = {
        "json.load and PIL decode": [sys.executable, "-c", PLAIN, str(sound), str(folder)],
        "resonance data check": [*resonance, "check", str(sound)],
        "resonance data check --decode": [*resonance, "check", str(sound), "--decode"],
        "resonance data fix-paths": [*resonance, "fix-paths", str(moved), *fixed],
    }
    if not decode:
        del commands["resonance data check --decode"]
    return [measure(name, command, rows) for name, command in commands.items()]


def main() -> int:
    """Measure, print, and say whether ours stay within what they promise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
        results = run(folder, args.rows, args.images, not args.no_decode)
    plain, *ours = results
    for result in ours:
        result["times_plain"] = round(plain["seconds"] / result["seconds"], 1)
        print(f"{result['name']}: {result['times_plain']} times as fast as the plain loop")
    if args.json:
        report = {"rows": args.rows, "images": args.images, "results": results}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    good = all(result["exit_code"] == 0 and result["peak_mb"] < CEILING_MB for result in ours)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
