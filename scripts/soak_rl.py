# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A long run of reinforcement learning, watched from outside: memory, open files and threads of its process.

    python scripts/soak_rl.py                             # 2,000 steps of GRPO on a small untrained model
    python scripts/soak_rl.py --steps 200 --json rows.json ppo_variant=ppo num_generations=1

It trains on the digits of data/, with a checkpoint and an evaluation every tenth of the run; two checkpoints are kept.
Each row of the table is a tenth, and the last one what follows the last step, when the model is saved. It fails if the
last tenth holds more memory than the third by more than LIMIT MiB, or more files or threads: what a run needs at all,
with its first evaluation and checkpoint, it has by then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 16.0  # MiB
PARTS = 10
RECIPE: dict[str, Any] = {
    "stage": "ppo",
    "ppo_variant": "grpo",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "dataset_dir": str(ROOT / "data"),
    "media_dir": str(ROOT / "data"),
    "dataset": "digits_rl",
    "eval_dataset": "digits_heldout_prompts",
    "eval_strategy": "steps",
    "template": "qwen2_vl",
    "cutoff_len": 256,
    "max_samples": 320,
    "max_new_tokens": 16,
    "rewards": [{"name": "exact", "answer": "answer", "extract": "\\d"}, {"name": "length", "max_length": 8}],
    "num_generations": 4,
    "per_device_train_batch_size": 16,
    "ppo_buffer_size": 2,
    "kl_coef": 0.05,
    "learning_rate": 1e-4,
    "logging_steps": 5,
    "save_strategy": "steps",
    "save_total_limit": 2,
    "report_to": "none",
    "use_cpu": True,
}


@dataclass
class Row:
    """What a process held at a step; memory in MiB."""

    step: int
    rss: float
    files: int
    threads: int


def held(pid: int, step: int) -> Row:
    """Of a process, now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Row(step, round(int(status["VmRSS"].split()[0]) / 1024, 1), files, int(status["Threads"]))


def newest_step(log: Path) -> int:
    """Of LlamaFactory's log; 0 before the first line."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return json.loads(lines[-1])["current_steps"] if lines else 0


def watch(process: subprocess.Popen[bytes], log: Path, every: float) -> Iterator[Row]:
    """Rows of a run until it ends."""
    while process.poll() is None:
        try:
            yield held(process.pid, newest_step(log))
        except (FileNotFoundError, ProcessLookupError, KeyError, ValueError):  # it has just ended, or writes a line
            continue
        time.sleep(every)


def soak(steps: int, overrides: Mapping[str, str], folder: Path) -> list[Row]:
    """Train, and return what was seen. Raises RuntimeError with the end of the log if the run fails."""
    model, out, output = folder / "model", folder / "out", folder / "output.log"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_tiny_model.py", model], check=True, capture_output=True)
    tenth = max(1, steps // PARTS)
    places = {"model_name_or_path": str(model), "output_dir": str(out)}
    times = {"max_steps": steps, "save_steps": tenth, "eval_steps": tenth}
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, **places, **times}))
    command = ["llamafactory-cli", "train", str(recipe), *(f"{key}={value}" for key, value in overrides.items())]
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with output.open("wb") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream, cwd=folder)
        try:
            rows = list(watch(process, out / "trainer_log.jsonl", every=0.5))
        finally:
            process.kill()
    if process.wait():
        raise RuntimeError(f"{' '.join(command)} failed:\n{output.read_text(errors='replace')[-4000:]}")
    return rows


def tenths(rows: list[Row], steps: int) -> list[Row]:
    """The most that was held in each tenth of the run, and last from its last step on, while it saves the model."""
    ends = [steps * (part + 1) // PARTS for part in range(PARTS)]
    found = []
    for begin, end in zip([0, *ends], [*ends, steps + 1], strict=True):
        of = [row for row in rows if begin <= row.step < end]
        if of:
            found.append(
                Row(min(end, steps), *(max(getattr(row, name) for row in of) for name in ("rss", "files", "threads")))
            )
    return found


def grows(parts: list[Row]) -> list[str]:
    """What the last tenth holds more of than the third."""
    first, last = parts[2], parts[PARTS - 1]
    found = [f"{last.rss - first.rss:.1f} MiB"] if last.rss - first.rss > LIMIT else []
    names = ("files", "threads")
    return found + [
        f"{getattr(last, name) - getattr(first, name)} {name}"
        for name in names
        if getattr(last, name) > getattr(first, name)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="at least 30")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="keys of the recipe")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        rows = soak(args.steps, dict(pair.split("=", 1) for pair in args.overrides), Path(folder))
        seconds = time.monotonic() - began
    parts = tenths(rows, args.steps)
    print("| step | RSS MiB | files | threads |\n|---|---|---|---|")
    for number, row in enumerate(parts):
        name = row.step if number < PARTS else "end"
        print(f"| {name} | {row.rss} | {row.files} | {row.threads} |")
    print(f"{args.steps} steps in {seconds:.0f} s")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in parts], indent=1) + "\n", encoding="utf-8")
    if len(parts) <= PARTS:
        print(f"only {len(parts)} of {PARTS + 1} rows were seen; take more --steps", file=sys.stderr)
        return 2
    if more := grows(parts):
        print(f"it grows: {', '.join(more)} since the third tenth", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
