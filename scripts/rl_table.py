# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How much reinforcement learning lifts the quickstart's SFT model, by method and seed.

    bash scripts/quickstart.sh                            # makes the model, once
    python scripts/rl_table.py                            # every method, three seeds
    python scripts/rl_table.py --only grpo --seeds 0,1 --json rows.json

Each run is `llamafactory-cli train` with a recipe of examples/quickstart. `before` and `after` are held-out greedy
accuracy on 160 pictures; CPU seconds are those of the whole command, with start-up and evaluations, on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.runs import train

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "examples" / "quickstart"
ONE_UPDATE: dict[str, Any] = {
    "per_device_train_batch_size": 128,
    "ppo_buffer_size": 1,
    "max_steps": 80,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant_with_warmup",
    "eval_steps": 80,
}
METHODS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "ppo": ("ppo", {}),
    "ppo_rm": ("ppo_rm", {"ppo_variant": "ppo"}),  # on the reward model of `bash scripts/quickstart.sh rm`
    "grpo": ("grpo", {}),
    "reinforce_plus_plus": ("grpo", ONE_UPDATE | {"num_generations": 1, "kl_in": "loss", "kl_estimator": "k3"}),
    "rloo": ("grpo", ONE_UPDATE | {"num_generations": 4, "kl_in": "loss", "kl_estimator": "k3"}),
    "dr_grpo": ("grpo", ONE_UPDATE | {"num_generations": 4}),
    "dapo": ("grpo", ONE_UPDATE | {"num_generations": 4}),
    "gspo": ("grpo", ONE_UPDATE | {"num_generations": 4}),
}


def run(name: str, seed: int, overrides: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Train once; raises RuntimeError with the end of the log if that fails."""
    recipe, changes = METHODS[name]
    keys = {"ppo_variant": name, "seed": seed, "plot_loss": False, **changes, **overrides}
    finished = train(RECIPES / f"{recipe}.yaml", keys, out)
    accuracy = finished.values("eval_reward/exact")  # a rule that also stands beside a reward model, without a weight
    return {"name": name, "seed": seed, "before": accuracy[0], "after": accuracy[-1], "cpu_s": finished.cpu_s}


def rows(names: list[str], seeds: list[int], overrides: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One a run, as soon as it is known."""
    for name in names:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                yield run(name, seed, overrides, Path(folder, "out"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=METHODS, action="append", help="a method; may be given several times")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="keys of the recipe")
    args = parser.parse_args()
    if not (ROOT / "saves" / "quickstart" / "sft").is_dir():
        print("saves/quickstart/sft is not there; `bash scripts/quickstart.sh` makes it", file=sys.stderr)
        return 2
    found = []
    print("| method | seed | before | after | points | CPU s |\n|---|---|---|---|---|---|")
    overrides = dict(pair.split("=", 1) for pair in args.overrides)
    for row in rows(args.only or list(METHODS), [int(seed) for seed in args.seeds.split(",")], overrides):
        found.append(row)
        points = 100 * (row["after"] - row["before"])
        print("| {name} | {seed} | {before:.3f} | {after:.3f} |".format(**row), f"{points:+.1f} | {row['cpu_s']} |")
        sys.stdout.flush()
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
