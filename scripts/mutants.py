# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Break central lines one at a time and see that the nearest tests notice. Takes minutes; no part of the test suite.

    python scripts/mutants.py                          # all of mutants.toml
    python scripts/mutants.py --only position --jobs 2 # those with a word in their names, two at a time
    python scripts/mutants.py --list

Every job works in a temporary copy of the checkout. The tests of all chosen mutants have to pass there first.
Exit code: 0 all are noticed, 1 some survive, 2 something is wrong with a mutant or its tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = Path("plugin", "resonance")
NOT_COPIED = (".git", ".venv*", ".cache", "__pycache__", ".*_cache", "saves")
SECONDS = 900  # a test that takes longer hangs

KILLED, SURVIVED, WRONG = "killed", "SURVIVED", "ERROR"


class Mutant(NamedTuple):
    """One edit of one file of the package, `old` to `new`, and the tests (as pytest takes them) that have to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def apply(self, text: str) -> str:
        """The file's text with the edit.

        Raises:
            ValueError: `old` is not there exactly once, or the result is no Python.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has the old text {count} times instead of once")
        changed = text.replace(self.old, self.new)
        if changed == text:
            raise ValueError("the new text is the old one")
        compile(changed, self.file, "exec")
        return changed


class Result(NamedTuple):
    """What became of a mutant; `why`: the first test that failed, or what is wrong."""

    outcome: str
    why: str


def read_mutants(path: Path = CHECKOUT / "scripts" / "mutants.toml") -> list[Mutant]:
    """All mutants of a file, in its order.

    Raises:
        ValueError: two have one name, or one lacks a key or has another.
    """
    try:
        mutants = [Mutant(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]]
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    names = [mutant.name for mutant in mutants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: several mutants are named {', '.join(twice)}")
    return mutants


class Tree:
    """A copy of the checkout in which the installed package is the copy's own, in every process that tests start."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        shutil.copytree(CHECKOUT, self.root, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        self.env = os.environ | {
            "PYTHONPATH": str(self.root / "plugin"),
            "PYTHONDONTWRITEBYTECODE": "1",  # two edits of one second and length would share compiled code
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        found = self._run("-c", "import resonance; print(resonance.__file__)")[1].strip()
        if not Path(found).is_relative_to(self.root):
            raise RuntimeError(f"the tests of the copy in {self.root} would import {found}")

    def test(self, tests: list[str]) -> tuple[int | None, str]:
        """pytest's exit code (None: ended after SECONDS) and output; it stops at the first failure."""
        folder = self.root.parent / "pytest"
        return self._run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--basetemp={folder}", *tests)

    def try_mutant(self, mutant: Mutant) -> Result:
        path = self.root / PACKAGE / mutant.file
        original = path.read_text(encoding="utf-8")
        try:
            path.write_text(mutant.apply(original), encoding="utf-8")
        except (ValueError, SyntaxError) as error:
            return Result(WRONG, str(error))
        try:
            code, output = self.test(mutant.tests)
        finally:
            path.write_text(original, encoding="utf-8")
        if code == 1:
            return Result(KILLED, first_failure(output))
        if code == 0:
            return Result(SURVIVED, " ".join(mutant.tests))
        return Result(WRONG, f"pytest exited {code}: {output.strip().splitlines()[-1]}")

    def _run(self, *words: str) -> tuple[int | None, str]:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that what tests have started ends with them
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
            return process.returncode, output
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return None, output + f"\nended after {SECONDS} s"


def first_failure(output: str) -> str:
    """The first test that pytest's summary lists as failed."""
    return next(iter(re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)), "?")


def must_pass(tree: Tree, mutants: list[Mutant]) -> None:
    """Raise RuntimeError if a test fails without any mutant, and so could not tell."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    code, output = tree.test(tests)
    if code != 0:
        raise RuntimeError(f"the tests have to pass before anything is broken, but pytest exited {code}:\n{output}")


@contextmanager
def trees(count: int) -> Iterator[list[Tree]]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        yield [Tree(Path(folder, str(number))) for number in range(count)]


def run(mutants: list[Mutant], jobs: int) -> list[Result]:
    """Try each mutant, `jobs` at a time, and print what becomes of it."""
    with trees(jobs) as copies, ThreadPoolExecutor(jobs) as pool:
        must_pass(copies[0], mutants)
        free: SimpleQueue[Tree] = SimpleQueue()
        for tree in copies:
            free.put(tree)

        def one(mutant: Mutant) -> Result:
            tree = free.get()
            try:
                return tree.try_mutant(mutant)
            finally:
                free.put(tree)

        results = []
        width = max(len(mutant.name) for mutant in mutants)
        for mutant, result in zip(mutants, pool.map(one, mutants), strict=True):
            print(f"{result.outcome:8}  {mutant.name:{width}}  {result.why}", flush=True)
            results.append(result)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="WORD", help="those with this in their names; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each in a copy of its own (1)")
    parser.add_argument("--list", action="store_true", help="name them, their files and tests, and stop")
    asked = parser.parse_args()
    every = read_mutants()
    mutants = [m for m in every if not asked.only or any(word in m.name for word in asked.only)]
    if not mutants:
        parser.error(f"no mutant has {' or '.join(map(repr, asked.only))} in its name; --list shows all {len(every)}")
    if asked.list:
        for mutant in mutants:
            print(f"{mutant.name}\n    {mutant.file}\n    {' '.join(mutant.tests)}")
        return 0
    results = run(mutants, min(asked.jobs, len(mutants)))
    count = {outcome: sum(r.outcome == outcome for r in results) for outcome in (KILLED, SURVIVED, WRONG)}
    print(f"{count[KILLED]} of {len(results)} killed, {count[SURVIVED]} survived, {count[WRONG]} could not be tried")
    return 2 if count[WRONG] else int(bool(count[SURVIVED]))


if __name__ == "__main__":
    sys.exit(main())
