# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Uni-DPO's mathematics pairs as alpaca rows: `python scripts/convert_jsonl_to_llamafactory.py Train.jsonl`.

Writes `Train_llama_factory.json` beside the input, as Uni-DPO's script of this name does: system, instruction, chosen,
rejected, score_chosen, score_rejected. The turns are read out of the ChatML prompt; where it has no system turn, the
one that Uni-DPO trains with is put in. Lines that cannot be used are all named, and the others are written. Exits with
1 if there were any. `resonance data import uni_dpo FILE` does the same with an entry in dataset_info.json.
"""

import argparse
import shlex
import sys
from pathlib import Path

try:
    from resonance.datafiles.read import read_rows
    from resonance.datafiles.write import RowWriter, replacing
    from resonance.importers.layout import checked, to_row
    from resonance.importers.spec import Skip
    from resonance.importers.uni_dpo import convert
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run this first, in the checkout: pip install .")

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("input_file", type=Path, help="JSON lines with prompt, chosen, rejected and their scores")
    parser.add_argument("--output_file", type=Path, help="default: NAME_llama_factory.json beside the input")
    parser.add_argument("--system", default=SYSTEM, help="for prompts without a system turn; default: %(default)s")
    args = parser.parse_args(argv)
    output = args.output_file or args.input_file.with_name(f"{args.input_file.stem}_llama_factory.json")
    bad: list[str] = []
    try:
        if output.resolve() == args.input_file.resolve():
            raise ValueError(f"--output_file {output}: is the input")
        with replacing(output) as file:
            writer = RowWriter(file, lines=output.suffix.lower() == ".jsonl", indent=2)
            count = convert_rows(args.input_file, writer, args.system, bad)
            if not count:
                raise ValueError(f"no row of {args.input_file} can be used; {output} was not written")
    except (ValueError, OSError) as error:
        print(*bad, error, sep="\n", file=sys.stderr)
        return 1
    print(*bad, sep="\n", end="\n" if bad else "", file=sys.stderr)
    print(f"{count} rows written to {output}, {len(bad)} left out")
    print(f"Next: resonance data register {shlex.quote(str(output))}")
    return 1 if bad else 0


def convert_rows(source: Path, writer: RowWriter, system: str, bad: list[str]) -> int:
    """Write the rows of a file, append to `bad` what is wrong with the others, and return how many were written."""

    def complain(number: int, message: str) -> None:
        bad.append(f"{source}, row {number}: {message}")

    for number, row in read_rows(source, on_error=complain):
        try:
            if not isinstance(row, dict):
                raise Skip("not an object", type(row).__name__)
            for example in convert(row, {"kind": "math"}):
                if example.turns and example.turns[0][0] != "system":
                    example.turns.insert(0, ("system", system))
                writer.write(to_row(checked(example), "alpaca"))
        except Skip as skip:
            complain(number, f"{skip.reason}{f' ({skip.detail})' if skip.detail else ''}")
    if writer.count:
        writer.close()
    return writer.count


if __name__ == "__main__":
    sys.exit(main())
