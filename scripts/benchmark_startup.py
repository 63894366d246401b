# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the start-up line costs every Python process of this environment, and what the start of a command costs.

`python scripts/benchmark_startup.py [runs]` times `python -c pass` with the package on and with `RESONANCE_DISABLE=1`,
in turn, so that a machine that slows down slows both, and prints both medians and their difference. Then it prints the
processor time of commands, the least of five, which other processes of the machine disturb little.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = ("ls", "--help", "show uni_dpo_lora", "losses", "losses uni_dpo", "completion bash", "data list")
HELPS = ("cp", "data check", "estimate", "data import")


def milliseconds(environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
    return 1000 * (time.perf_counter() - start)


def cpu_seconds(line: str) -> float:
    """Processor time of a command, its imports and all."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "resonance", *line.split()], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(runs: int) -> None:
    on = {name: value for name, value in os.environ.items() if name != "RESONANCE_DISABLE"}
    off = on | {"RESONANCE_DISABLE": "1"}
    probe = "import sys; sys.exit('_resonance_startup' not in sys.modules)"
    if subprocess.run([sys.executable, "-c", probe], env=on).returncode:
        sys.exit(f"the start-up line is not installed for {sys.executable}; run: pip install .")
    milliseconds(on), milliseconds(off)  # byte code and disk cache
    pairs = [(milliseconds(on), milliseconds(off)) for _ in range(runs)]
    with_package, without = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"python -c pass, median of {runs} runs in turn")
    print(f"with the package     {with_package:7.3f} ms")
    print(f"switched off         {without:7.3f} ms")
    print(f"difference           {with_package - without:7.3f} ms")
    print("processor time of commands, the least of 5 runs")
    for line in [*COMMANDS, *(f"{name} --help" for name in HELPS)]:
        print(f"resonance {line:<20} {min(cpu_seconds(line) for _ in range(5)):7.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=int, nargs="?", default=200, help="of each kind; default: %(default)s")
    main(parser.parse_args().runs)
