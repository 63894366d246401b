# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the start-up line costs every Python process of this environment: `python scripts/benchmark_startup.py [runs]`.

Times `python -c pass` with the package on and with `RESONANCE_DISABLE=1`, in turn, so that a machine that slows down
slows both. Prints both medians and their difference.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time


def milliseconds(environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
    return 1000 * (time.perf_counter() - start)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=int, nargs="?", default=200, help="of each kind; default: %(default)s")
    main(parser.parse_args().runs)
