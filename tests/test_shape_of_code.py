# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The shape of the code: sizes, which room may import which, and what every file must or must not say."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "plugin" / "resonance"
STARTUP = CHECKOUT / "plugin" / "_resonance_startup.py"  # beside the package
SOURCES = [STARTUP, *sorted(PACKAGE.rglob("*.py"))]
COPYRIGHT = "# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0."

FILE_LINES, FUNCTION_LINES, ARGUMENTS, FIELDS = 250, 50, 8, 15
# Takes what it was published to take: the log-probs, lengths and scores of a pair, one by one.
PUBLISHED = {"preference_loss"}

# Who may import whom, lazily or not.
ARROWS = {
    STARTUP.name: {"hooks"},
    "startup.py": {STARTUP.stem},
    "__main__.py": {"cli"},
    "upstream.py": set(),  # annotations for every room
    "hooks": {"arguments", "training", "board"},
    "board": {"arguments", "losses", "policy", "rewards"},
    "arguments": {"losses", "policy", "rewards", "spec", "wire", "forward", "rows"},  # of the last two only names
    "rows": set(),
    "spec": set(),
    "losses": {"spec"},
    "policy": {"spec"},
    "wire": set(),
    "rewards": {"spec", "wire", "reward_model", "rows"},  # of rows only names of templates
    "serve": {"rewards", "wire"},
    "forward": set(),
    "reward_model": {"forward", "rows"},
    "reference": {"rows", "forward", "datafiles"},  # of datafiles only files that are there whole or not at all
    "rollout": {"forward", "wire"},
    "training": {
        "arguments",
        "rows",
        "losses",
        "policy",
        "rewards",
        "reward_model",
        "rollout",
        "forward",
        "reference",
        "report",
        "wire",
    },
    "evaluate": {"arguments", "forward", "reference", "reward_model", "rollout", "rows", "training", "wire"},
    "datafiles": {"rows"},  # of rows only what a score is
    "view": {"datafiles"},
    "scoring": {"datafiles", "rewards", "rows", "spec", "wire"},
    "importers": {"datafiles"},
    "translate": set(),
    "report": {"rows", "datafiles", "arguments"},  # of rows only thumbnails, of arguments names of files
    # up, on purpose: the doctor reports on the hooks
    "checks": {"hooks", STARTUP.stem, "arguments", "rows", "datafiles", "importers"},
    "cli": {
        "arguments",
        "checks",
        "evaluate",
        "importers",
        "datafiles",
        "losses",
        "report",
        "reward_model",
        "rewards",
        "rows",
        "scoring",
        "serve",
        "translate",
        "view",
        "wire",
    },
}
# Only these import LlamaFactory: inside functions in `checks` and `hooks`.
IMPORTS_LLAMAFACTORY = {"hooks", "board", "rows", "reward_model", "evaluate", "training", "checks"}
ONLY_TORCH = {"spec", "losses", "policy"}
# Rooms that answer without torch: it may only be imported inside a function there.
WITHOUT_TORCH = {
    STARTUP.name,
    "startup.py",
    *"hooks arguments datafiles view importers translate report checks cli spec rewards scoring serve wire".split(),
}
MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|root|home|tmp|Users)/\w|\.\./shared\b")


def inside(path: Path) -> tuple[str, ...]:
    """The parts of a path below the package, or below its folder for the file beside it."""
    return path.relative_to(STARTUP.parent if path == STARTUP else PACKAGE).parts


def room(path: Path) -> str:
    return inside(path)[0]


def file_of(room: str) -> Path:
    """Where a room says what it is."""
    return STARTUP if room == STARTUP.name else PACKAGE / room / ("" if room.endswith(".py") else "__init__.py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(path: Path, outside_functions: bool = False) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [parsed(path)]
    for node in waiting:
        yield node
        if not (outside_functions and isinstance(node, ast.FunctionDef)):
            waiting += ast.iter_child_nodes(node)


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; relative ones are made absolute."""
    package = ["resonance", *inside(path)[:-1]]
    for node in nodes(path, top_level_only):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*start, *(node.module or "").split(".")]).rstrip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so what belongs to the project cannot be told")
    return [path for name in listed.stdout.split("\0") if name and (path := CHECKOUT / name).is_file()]


def over_budget(path: Path) -> Iterator[str]:
    """What in a file is larger than the budgets allow."""
    if (lines := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES:
        yield f"the file has {lines} lines"
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            names = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if length > FUNCTION_LINES:
                yield f"{node.name} has {length} lines"
            if count > ARGUMENTS and node.name not in PUBLISHED:
                yield f"{node.name} has {count} arguments"
        elif isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list):
            fields = sum(isinstance(statement, ast.AnnAssign) for statement in node.body)
            if fields > FIELDS:
                yield f"{node.name} has {fields} fields"


def arrows_missing(path: Path) -> Iterator[str]:
    """Rooms that a file imports although its own may not."""
    rooms = {child.name for child in PACKAGE.iterdir() if child.is_dir()} | {"startup", STARTUP.stem}
    names = [name.removeprefix("resonance.").partition(".")[0] for name in imports(path)]
    ours = set(names) & rooms
    here = room(path)
    if here == "__init__.py":
        return  # imports nothing, see foreign_imports
    if here not in ARROWS:
        yield f"{here} is a new room: say in ARROWS what it may import"
    else:
        yield from (f"{here} -> {there}" for there in sorted(ours - {here} - ARROWS[here]))


def foreign_imports(path: Path) -> Iterator[str]:
    """Packages that a file imports although its room may not."""
    here = room(path)
    everywhere = {name.partition(".")[0] for name in imports(path)}
    at_the_top = {name.partition(".")[0] for name in imports(path, top_level_only=True)}
    refused = everywhere & {"trl"}  # what tests compare with, not what runs
    if here not in IMPORTS_LLAMAFACTORY:
        refused |= everywhere & {"llamafactory"}
    if here in ONLY_TORCH:
        refused |= everywhere & {"transformers", "datasets", "numpy", "peft", "accelerate"}
    if here in WITHOUT_TORCH:
        refused |= at_the_top & {"torch", "transformers", "llamafactory", "datasets", "numpy"}
    if here == STARTUP.name:
        refused |= at_the_top - {"sys", "typing", "types", "importlib"}  # all but `sys` for the type checker only
    if here == "__init__.py":
        refused |= everywhere
    yield from sorted(refused)


def no_file_has(problems_of: Callable[[Path], Iterable[str]]) -> None:
    found = [f"{path.relative_to(PACKAGE)}: {problem}" for path in SOURCES for problem in problems_of(path)]
    assert not found, "\n".join([f"{len(found)} problems", *found])


def test_budgets() -> None:
    no_file_has(over_budget)


def test_arrows_between_rooms() -> None:
    no_file_has(arrows_missing)


def test_what_comes_from_outside() -> None:
    no_file_has(foreign_imports)


def test_startup_imports_sys_alone() -> None:
    tree = ast.parse(STARTUP.read_text())
    executed = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in executed] == ["import sys"]


def test_every_python_file_starts_with_the_copyright_line() -> None:
    files = [path for path in tracked_files() if path.suffix == ".py"]
    assert [str(path) for path in files if not path.read_text(encoding="utf-8").startswith(COPYRIGHT)] == []


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in SOURCES if not ast.get_docstring(parsed(path))]
    assert [str(path.relative_to(PACKAGE)) for path in silent] == []


def test_no_path_of_one_machine_in_any_file() -> None:
    texts = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".sh", ".cfg", ".in", ""}
    found = []
    for path in tracked_files():
        if path.suffix in texts and path != Path(__file__):
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1):
                found += [f"{path.relative_to(CHECKOUT)}:{number}: {line[:80]}"] if MACHINE_PATHS.search(line) else []
    assert found == []


def test_no_circle_of_imports_between_modules() -> None:
    """Nor one that is hidden in a function or in `if TYPE_CHECKING`."""
    modules = {}
    for path in SOURCES:
        if path == STARTUP:
            modules[STARTUP.stem] = path
            continue
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        modules[".".join(["resonance", *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    graph = {}
    for module, path in modules.items():
        # `from .folder import name` is of the module `folder.name` if there is one, else of `folder`
        named = {name if name in modules else name.rpartition(".")[0] for name in imports(path)}
        graph[module] = named & modules.keys() - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")
