# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Move the image paths of Uni-DPO's multimodal data to where the MM-RLHF images are here.

Same arguments and same result as the script of that name in the Uni-DPO repository; beyond it, JSONL and paths with
Windows separators work, a kill leaves the old file or the new one, and a file that is overwritten stays as FILE.bak.
`resonance data fix-paths` does the same for any folder, key and layout, and refuses files that are not there.
"""

import argparse
import sys
from pathlib import Path

try:
    from resonance.datafiles.fix import Findable, Fixing, PathProblem
    from resonance.datafiles.paths import Anchor
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run this first, in the checkout: pip install .")

MARKER = "MM-RLHF"
SHOWN = 20


def main() -> int:
    """Return 0 if the file was written or nothing had to change, 1 if some or all of it could not be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--input_file", type=Path, required=True, help="a .json or .jsonl file")
    parser.add_argument("--image_dir", required=True, help="the folder that has long/, short/, mcq/: .../MM-RLHF")
    parser.add_argument("--output_file", type=Path, help="default: overwrite the input, with a backup beside it")
    args = parser.parse_args()
    folder, target = Path(args.image_dir), args.output_file or args.input_file
    if not folder.is_dir():
        return failed(f"--image_dir {folder}: no such folder")
    if folder.name != MARKER:
        inner = f"; did you mean {folder / MARKER}?" if (folder / MARKER).is_dir() else ""
        print(f"Warning: --image_dir does not end with {MARKER}: {folder}{inner}", file=sys.stderr)
    told: list[PathProblem] = []
    fixing = Fixing(
        Anchor(MARKER, args.image_dir),
        exists=Findable(args.input_file.parent),
        keep_going=True,
        move_to_missing=True,
        on_problem=lambda problem: told.append(problem) if len(told) < SHOWN else None,
        in_place=target.resolve() == args.input_file.resolve(),
    )
    try:
        fixing.run(args.input_file, target, indent=4, ascii_only=False)
    except (ValueError, OSError) as error:
        return failed(str(error))
    for problem in told:
        print(f"Warning: {problem}", file=sys.stderr)
    if (more := sum(fixing.problems.values()) - len(told)) > 0:
        print(f"Warning: ... and {more} more", file=sys.stderr)
    print(f"{args.input_file}: {fixing.rows} entries, {fixing.changed} image paths changed, {fixing.unchanged} not")
    if fixing.stayed:
        print(f"{fixing.stayed} entries stayed as they were, because of a path that is none or leads elsewhere")
    if not fixing.written:
        print("Nothing to change, nothing written")
    else:
        print(f"Saved to {target}" + (f"; as it was: {fixing.backup}" if fixing.backup else ""))
    return 1 if fixing.stayed else 0


def failed(message: str) -> int:
    print(f"change_data_image_path.py: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
