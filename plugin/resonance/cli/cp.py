# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance cp`."""

import argparse
import difflib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..datafiles.write import WriteError, replacing
from . import recipes

if TYPE_CHECKING:
    from ..translate.tailor import Tailored

FILLS = ("model", "template", "dataset", "dataset_dir", "output_dir", "gpus")
EXAMPLES = (
    "resonance cp qwen2_vl_2b/uni_dpo_lora my.yaml",
    "resonance cp qwen2_5_vl_7b/uni_dpo my.yaml --model Qwen/Qwen2.5-VL-3B-Instruct --dataset my_pairs --gpus 4",
    "resonance cp uni_dpo_lora my.yaml --dataset mine,others --output-dir saves/mine --set learning_rate=1e-5",
    "resonance cp examples/deepspeed/ds_z3_config.json .",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "recipe", metavar="NAME", help="a name that `resonance ls` prints, or a path below examples/"
    ).completer = recipes.completer  # type: ignore[attr-defined]
    add("dest", type=Path, metavar="FILE", help="the file to write, or a folder to write it into")
    add("--force", action="store_true", help="write over a file that exists")
    add("--json", action="store_true", help="print one object: file, what was changed, copied files, next command")
    fill = parser.add_argument_group("fill in; comments stay, and the changes are printed").add_argument
    fill("--model", metavar="MODEL", help="a hub id or folder; its template is filled in too")
    fill("--template", metavar="NAME", help="LlamaFactory's template, for a model that is not known")
    fill("--dataset", metavar="NAME[,NAME]", help="data sets of dataset_info.json").completer = data_sets  # type: ignore[attr-defined]
    fill("--dataset-dir", metavar="DIR", help="folder of dataset_info.json")
    fill("--output-dir", metavar="DIR", help="where the run writes")
    fill("--gpus", type=int, metavar="N", help="GPUs of one machine; the rows of a step stay as many as in the recipe")
    fill("--set", action="append", default=[], metavar="KEY=VALUE", help="any other key, as YAML writes its value")


def data_sets(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """For completion: names behind those that stand there already."""
    from ..datafiles.info import INFO, read_info

    before, comma, _last = prefix.rpartition(",")
    return [before + comma + name for name in read_info(Path(parsed_args.dataset_dir or "data", INFO))]


def run(args: argparse.Namespace) -> int:
    """Copy a recipe to a file of yours, fill in what it is told, and print what to type next."""
    try:
        source = recipes.find_file(args.recipe, recipes.examples_dir())
    except (ValueError, FileNotFoundError) as error:
        print(f"resonance cp: {error}\nNext: resonance ls", file=sys.stderr)
        return 2
    dest = args.dest / source.name if args.dest.is_dir() else args.dest
    if dest.exists() and not args.force:
        print(f"resonance cp: {dest} exists; add --force to write over it", file=sys.stderr)
        return 1
    made = None
    try:
        if args.set or any(getattr(args, name) is not None for name in FILLS):
            made = fill_in(args, source, dest)
        with replacing(dest, "wb") as file:
            file.write(source.read_bytes() if made is None else made.text.encode())
        if made is not None:
            copy_beside(made)
    except WriteError as error:
        print(f"resonance cp: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"resonance cp: {error}\nNext: resonance cp --help", file=sys.stderr)
        return 2
    report(args, source, dest, made)
    return 0


def fill_in(args: argparse.Namespace, source: Path, dest: Path) -> "Tailored":
    """The recipe made over.

    Raises:
        ValueError: it cannot be.
    """
    from ..translate.tailor import ZERO, Wish, tailor

    if source.suffix not in (".yaml", ".yml"):
        raise ValueError(f"{args.recipe}: is no recipe, so there is nothing to fill in")
    recipe = recipes.read_recipe(args.recipe, source)
    command = recipe.header.get("command", f"llamafactory-cli train {source.name}")
    processes = [int(recipes.variable(command, name) or 1) for name in ("NNODES", "NPROC_PER_NODE")]
    given = {name: getattr(args, name) for name in FILLS}
    made = tailor(
        source.read_text(encoding="utf-8"),
        command,
        processes[0] * processes[1],
        Wish(dest, **given, sets=[parse_set(text) for text in args.set]),
    )
    for name in made.copies:
        if not shipped(name).is_file():
            there = sorted(f"{ZERO.rpartition('/')[0]}/{path.name}" for path in shipped(ZERO).parent.glob("*.json"))
            raise ValueError(
                f"deepspeed: {name} does not come with Resonance, which has {', '.join(there)}; for a file of your "
                f"own write ./{name}"
            )
    return made


def shipped(name: str) -> Path:
    """A file that recipes name by its path below `examples/`."""
    return recipes.examples_dir() / name.removeprefix("examples/")


def parse_set(text: str) -> tuple[str, str]:
    """A key and its value.

    Raises:
        ValueError: it is neither, or the value is not one of YAML.
    """
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", key):
        raise ValueError(f"--set {text}: write KEY=VALUE")
    try:
        yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {text}: the value is not YAML ({' '.join(str(error).split())})") from error
    return key, value


def copy_beside(made: "Tailored") -> None:
    """Writes the files that the recipe names; one of that name with the same content may be there.

    Raises:
        WriteError: they cannot be written.
    """
    for name, target in made.copies.items():
        content = shipped(name).read_bytes()
        if target.exists() and target.read_bytes() != content:
            made.notes.append(f"{target} was there and differs from {name}: kept")
            continue
        with replacing(target, "wb") as file:
            file.write(content)


def report(args: argparse.Namespace, source: Path, dest: Path, made: "Tailored | None") -> None:
    """Prints what was done and what follows."""
    is_recipe = source.suffix in (".yaml", ".yml")
    old = source.read_text(encoding="utf-8")
    new = made.text if made is not None else old
    following = next_steps(recipes.read_header(old).get("command", ""), dest, made) if is_recipe else []
    notes = made.notes if made is not None else []
    copied = list(map(str, made.copies.values())) if made is not None else []
    if args.json:
        told = {"recipe": str(source), "file": str(dest), "changes": changed(old, new), "notes": notes}
        print(json.dumps({**told, "copied": copied, "next": following}, indent=2, ensure_ascii=False))
        return
    print(f"{source.name} -> {dest}")
    diff = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm=""))
    for line in diff[2:]:
        if not line.startswith("@@"):
            print(f"  {line}")
    for target in copied:
        print(f"-> {target}")
    for note in notes:
        print(f"Note: {note}")
    if is_recipe:
        print_needed(new)
    for step in following:
        print(f"Next: {step}")


def changed(old: str, new: str) -> dict[str, list[str | None]]:
    """Old and new values by key; None where there was none, or is none."""
    before, after = (dict(recipes.SETTING.findall(text)) for text in (old, new))
    return {key: [before.get(key), after.get(key)] for key in {**before, **after} if before.get(key) != after.get(key)}


def print_needed(text: str) -> None:
    """Prints the files that a recipe and its command point to and that are not here, and its data."""
    header = recipes.read_header(text)
    settings = [line for line in text.splitlines() if not line.startswith("#")]
    for path in dict.fromkeys(
        re.findall(r"\bexamples/[\w./-]+\.json", "\n".join([*settings, header.get("command", "")]))
    ):
        if not Path(path).exists():
            print(f"It also needs {path}, looked up from where you start: resonance cp {path} {path}")
    if "data" in header:
        print(f"Data: {header['data']}")


def next_steps(command: str, dest: Path, made: "Tailored | None") -> list[str]:
    """Commands to type next: the check of the copy, and the run.

    Args:
        command: of the original's header.
        dest: the copy.
        made: as it was made over; None if it was not.
    """
    if made is not None:
        check = [shlex.join(["resonance", "validate", str(dest)])]
        return [*check, made.command]
    if "llamafactory-cli train" not in command and "llamafactory.launcher" not in command:
        return [f"llamafactory-cli train {shlex.quote(str(dest))}"]
    return [re.sub(r"\S+\.ya?ml", lambda _: shlex.quote(str(dest)), command)]
