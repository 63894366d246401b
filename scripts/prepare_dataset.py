# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""topic-overwrite as ShareGPT pairs with JPEG pictures, for examples/qwen3_vl_4b: `python scripts/prepare_dataset.py`.

Short for `resonance data import topic_overwrite --image-format jpeg`: writes `topic_overwrite.json`, the pictures and
the entry in `dataset_info.json` to the output folder. A run that was killed goes on where it stopped.
"""

import argparse
import sys

try:
    from resonance.cli.main import main as resonance
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run this first, in the checkout: pip install .")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--input", help="a download: file or folder; default: the hub's helehan/topic-overwrite")
    parser.add_argument("--output_dir", default="data", help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="rows to read; default: all")
    parser.add_argument("--force", action="store_true", help="replace an output that is there")
    parser.add_argument("--restart", action="store_true", help="forget an unfinished run instead of going on with it")
    args = parser.parse_args(argv)
    command = ["data", "import", "topic_overwrite", *([args.input] if args.input else [])]
    command += ["--out", args.output_dir, "--image-format", "jpeg"]
    command += ["--max-rows", str(args.limit)] if args.limit is not None else []
    command += [flag for flag, given in (("--force", args.force), ("--restart", args.restart)) if given]
    return resonance(command)


if __name__ == "__main__":
    sys.exit(main())
