# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`scripts/mutants.py`: every mutant of its list still applies, and it tells the noticed from the unnoticed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def mutants() -> Any:
    spec = importlib.util.spec_from_file_location("mutants", CHECKOUT / "scripts" / "mutants.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutant_applies(mutants):
    problems = []
    for mutant in mutants.read_mutants():
        try:
            mutant.apply((CHECKOUT / mutants.PACKAGE / mutant.file).read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError) as error:
            problems.append(f"{mutant.name}: {error}")
        files = {test.partition("::")[0] for test in mutant.tests}
        problems += [f"{mutant.name}: no {file}" for file in sorted(files) if not (CHECKOUT / file).is_file()]
    assert not problems, "\n".join(["rewrite these in scripts/mutants.toml:", *problems])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [("b", "c", "2 times"), ("d", "c", "0 times"), ("a", "a", "the old one"), ("a = b", "a =", "invalid syntax")],
)
def test_what_is_no_mutant_is_refused(mutants, old, new, problem):
    with pytest.raises((ValueError, SyntaxError), match=problem):
        mutants.Mutant("name", "file.py", old, new, []).apply("a = b\nb = 1\n")


def test_a_list_with_a_fault_is_refused(mutants, tmp_path):
    entry = '[[mutant]]\nname = "n"\nfile = "f"\nold = "a"\nnew = "b"\ntests = []\n'
    path = tmp_path / "mutants.toml"
    path.write_text(entry * 2)
    with pytest.raises(ValueError, match="several mutants are named n"):
        mutants.read_mutants(path)
    path.write_text(entry.replace("old", "odl"))
    with pytest.raises(ValueError, match="odl"):
        mutants.read_mutants(path)


@pytest.mark.slow
def test_outcomes(mutants, capsys):
    """A break, a change that nobody can notice, and tests that are not there; a suite that fails before any."""
    edit = {"file": "losses/metrics.py", "old": "(chosen > rejected)", "tests": ["tests/losses/test_metrics.py"]}
    broken = mutants.Mutant("broken", new="(chosen >= rejected)", **edit)
    same = mutants.Mutant("same", new="(rejected < chosen)", **edit)
    found = mutants.run([broken, same], jobs=2)
    assert [result.outcome for result in found] == [mutants.KILLED, mutants.SURVIVED]
    assert "tests/losses/test_metrics.py::" in found[0].why
    with pytest.raises(RuntimeError, match="have to pass before anything is broken"):
        mutants.run([broken._replace(tests=["tests/losses/nowhere.py"])], jobs=1)
