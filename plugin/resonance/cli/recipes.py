# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipes that come with the package: where they are, what they are called, what their headers say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

FACTS = ("method", "tuning", "model", "data", "gpus", "memory")
SETTING = re.compile(r"^([a-z_0-9]+):[ \t]*(.*?)[ \t]*(?:[ \t]#.*)?$", re.MULTILINE)
HEADER = re.compile(r"^#\s*([A-Z][A-Za-z]*):\s*(.*\S)\s*$")


@dataclass(frozen=True)
class Recipe:
    """One YAML file of `examples/`.

    Attributes:
        name: path below `examples/` without the suffix, e.g. `quickstart/uni_dpo`.
        path: the file.
        header: what its first comment lines say, by topic in lower case: purpose, data, command, gpus, paper.
        settings: its keys that stand at the start of a line, with their values as they are written.
    """

    name: str
    path: Path
    header: dict[str, str]
    settings: dict[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """What a table of recipes has of it."""
        gpus = self.header.get("gpus", "-")
        nodes = int(variable(self.header.get("command", ""), "NNODES") or 1)
        first = re.match(r"\d+", gpus)
        of = self.settings
        values = {
            "method": self.method,
            "tuning": of.get("finetuning_type", "-"),
            "model": of.get("model_name_or_path", "-"),
            "data": of.get("dataset", of.get("eval_dataset", "-")),
            "gpus": f"{nodes} x " * (nodes > 1) + (first[0] if first else gpus),
            "memory": memory(gpus),
        }
        return {name: values[name] for name in FACTS}

    @property
    def method(self) -> str:
        """The loss or algorithm, by the name that people look for."""
        stage = self.settings.get("stage", "-")
        if stage == "dpo":
            losses = re.findall(r"[\w.:]+", self.settings.get("pref_loss", "sigmoid"))
            return "+".join(losses) if losses != ["sigmoid"] else "dpo"
        return self.settings.get("ppo_variant", stage) if stage == "ppo" else stage

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "path": str(self.path), **self.facts, "header": self.header}


def examples_dir() -> Path:
    """Returns the folder of the recipes: inside the installed package, or at the top of the checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    places = [package / "examples", package.parents[1] / "examples"]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"no examples in {places[0]} nor in {places[1]}; install again: pip install --force-reinstall --no-deps ."
    )


def read_header(text: str) -> dict[str, str]:
    """Reads the comment lines at the top of a recipe; a line without a topic goes on with the one before it."""
    header: dict[str, str] = {}
    topic = None
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        match = HEADER.match(line)
        if match:
            topic = match[1].lower()
            header[topic] = match[2]
        elif topic and line.strip("# "):
            header[topic] += " " + line.strip("# ")
    return header


def list_recipes(examples: Path) -> list[Recipe]:
    """Returns every recipe below a folder, sorted by name."""
    paths = sorted(path for path in examples.rglob("*") if path.suffix in (".yaml", ".yml"))
    names = [path.relative_to(examples).with_suffix("").as_posix() for path in paths]
    return [read_recipe(name, path) for name, path in zip(names, paths, strict=True)]


def read_recipe(name: str, path: Path) -> Recipe:
    text = path.read_text(encoding="utf-8")
    return Recipe(name, path, read_header(text), dict(SETTING.findall(text)))


def variable(command: str, name: str) -> str:
    """The value of an environment variable that a command starts with; empty if it has none."""
    found = re.search(rf"(?:^|\s){name}=(\S+)", command)
    return found[1] if found else ""


def memory(gpus: str) -> str:
    """What a header says of the memory of a GPU: measured or estimated, by both ways where it has both."""
    both = re.search(r"LlamaFactory's path ([\d.]+) GiB, ours ([\d.]+)", gpus)
    one = re.search(r"([\d.]+) GiB", gpus)
    if one is None:
        return "-"
    return f"{'~' * ('not measured' in gpus)}{both[2] if both else one[1]} GiB"


def completer(**_: object) -> list[str]:
    """Names for completion."""
    return [recipe.name for recipe in list_recipes(examples_dir())]


def find_file(wanted: str, examples: Path) -> Path:
    """Returns the file a user means: a recipe by name, or any file of `examples/` by its path.

    Args:
        wanted: `quickstart/uni_dpo`, the same with `.yaml` or `examples/` around it, or `uni_dpo` if only one recipe
            ends so.
        examples: folder of the recipes.

    Raises:
        ValueError: no such file, or several; the message lists the nearest ones.
    """
    wanted = wanted.removeprefix("examples/")
    exact = examples / wanted
    if exact.is_file() and exact.resolve().is_relative_to(examples.resolve()):
        return exact
    recipes = {recipe.name: recipe.path for recipe in list_recipes(examples)}
    name = wanted.removesuffix(".yaml").removesuffix(".yml")
    if name in recipes:
        return recipes[name]
    same_end = [full for full in recipes if full.endswith("/" + name)]
    if len(same_end) == 1:
        return recipes[same_end[0]]
    if same_end:
        raise ValueError(f"{wanted!r} is the name of several recipes: {', '.join(same_end)}")
    raise ValueError(f"no recipe {wanted!r}; nearest: {', '.join(nearest_names(name, list(recipes)))}")


def nearest_names(name: str, names: list[str]) -> list[str]:
    """Returns up to three names, nearest first, comparing whole names and last parts alike."""
    last_parts = {full.rpartition("/")[2]: full for full in names}
    near = get_close_matches(name, names, n=3, cutoff=0.4)
    near += [last_parts[part] for part in get_close_matches(name.rpartition("/")[2], last_parts, n=3, cutoff=0.4)]
    return list(dict.fromkeys(near))[:3] or names[:3]
