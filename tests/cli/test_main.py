# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The `resonance` command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resonance import __version__
from resonance.checks import doctor
from resonance.checks.findings import Finding, Report
from resonance.cli import main as cli_main
from resonance.cli import recipes
from resonance.cli.main import main
from resonance.cli.table import print_table

Output = pytest.CaptureFixture[str]


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes of this test's own, so that the shipped ones may change."""
    folder = tmp_path / "shipped" / "examples"
    for name, header in {
        "quickstart/uni_dpo": "# Purpose: learn digits,\n#   in colour\n# GPUs: 0\n# Data: data/digits\n",
        "big/uni_dpo": "# Purpose: a big one\n# GPUs: 4\n"
        "# Command: FORCE_TORCHRUN=1 llamafactory-cli train examples/big/uni_dpo.yaml\n",
        "big/dpo": "",
    }.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{header}\nstage: dpo\npref_loss: {path.stem.replace('dpo', 'sigmoid', name == 'big/dpo')}\n")
    (folder / "big" / "uni_dpo.yaml").open("a").write("deepspeed: examples/deepspeed/z3.json\n")
    (folder / "deepspeed").mkdir()
    (folder / "deepspeed" / "z3.json").write_text("{}")
    monkeypatch.setattr(recipes, "examples_dir", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_ls_and_cp_and_version_do_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from resonance.cli.main import main\n"
        f"copy = ['cp', 'quickstart/uni_dpo', {str(tmp_path / 'r.yaml')!r}]\n"
        "codes = [main(argv) for argv in (['ls'], copy, ['--version'])]\n"
        "heavy = {'torch', 'transformers', 'llamafactory', 'yaml', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str((codes, heavy)) if any(codes) or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"resonance {__version__}" in done.stdout


def test_unknown_command_names_the_nearest(capsys: Output) -> None:
    assert main(["docter"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("resonance: no command 'docter'; there are: doctor, ")
    assert "Next: resonance doctor --help" in error


def test_wrong_flag_is_a_wrong_call(capsys: Output) -> None:
    assert main(["ls", "--recursive"]) == 2
    assert "--recursive" in capsys.readouterr().err


def test_no_command_prints_help(capsys: Output) -> None:
    assert main([]) == 0
    output = capsys.readouterr().out
    assert all(f"    {name} " in output for name in ("doctor", "ls", "cp"))


def test_ls(examples: Path, capsys: Output) -> None:
    assert main(["ls"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "RECIPE              GPUS  PURPOSE",
        "big/dpo             -     -",
        "big/uni_dpo         4     a big one",
        "quickstart/uni_dpo  0     learn digits, in colour",
        "",
        "Next: resonance cp big/uni_dpo my_recipe.yaml",
    ]


def test_ls_of_a_prefix(examples: Path, capsys: Output) -> None:
    assert main(["ls", "quick"]) == 0
    assert "big/dpo" not in capsys.readouterr().out
    assert main(["ls", "qwick"]) == 1
    assert "nearest: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quickstart/uni_dpo", "quickstart/uni_dpo.yaml", "examples/quickstart/uni_dpo.yaml"])
def test_cp(examples: Path, capsys: Output, name: str) -> None:
    assert main(["cp", name, "mine/new.yaml"]) == 0
    assert Path("mine/new.yaml").read_bytes() == (examples / "quickstart" / "uni_dpo.yaml").read_bytes()
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Data: data/digits",
        "Next: llamafactory-cli train mine/new.yaml",
    ]


def test_cp_takes_over_the_command_and_names_what_is_missing(examples: Path, capsys: Output) -> None:
    assert main(["cp", "big/uni_dpo", "."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Next: FORCE_TORCHRUN=1 llamafactory-cli train uni_dpo.yaml"
    (missing,) = [line for line in lines if "examples/deepspeed/z3.json" in line]
    assert missing.endswith("resonance cp examples/deepspeed/z3.json examples/deepspeed/z3.json")
    assert main(missing.partition("resonance ")[2].split()) == 0
    assert Path("examples/deepspeed/z3.json").read_text() == "{}"


def test_cp_does_not_write_over(examples: Path, capsys: Output) -> None:
    Path("mine.yaml").write_text("mine")
    assert main(["cp", "big/dpo", "mine.yaml"]) == 1
    assert Path("mine.yaml").read_text() == "mine" and "--force" in capsys.readouterr().err
    assert main(["cp", "big/dpo", "mine.yaml", "--force"]) == 0
    assert Path("mine.yaml").read_text() != "mine"


def test_a_cp_that_fails_leaves_the_file_as_it_was(
    examples: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    Path("mine.yaml").write_text("mine")
    assert main(["cp", "big/dpo", "mine.yaml", "--force"]) == main(["cp", "big/dpo", "new.yaml"]) == 1
    assert "cannot write new.yaml: No space left on device" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "mine" and {p.name for p in Path().iterdir()} == {"mine.yaml", "shipped"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quickstart/uni_dop", "nearest: quickstart/uni_dpo"),
        ("dop", "nearest: big/dpo"),
        ("uni_dpo", "several recipes: big/uni_dpo, quickstart/uni_dpo"),
        ("../../secret", "no recipe"),
    ],
)
def test_cp_of_a_wrong_name(examples: Path, capsys: Output, name: str, said: str) -> None:
    (examples.parent.parent / "secret").write_text("")
    assert main(["cp", name, "mine.yaml"]) == 2
    error = capsys.readouterr().err
    assert said in error and "Next: resonance ls" in error
    assert not Path("mine.yaml").exists()


def test_shipped_recipes_say_what_they_are_for() -> None:
    for recipe in recipes.list_recipes(recipes.examples_dir()):
        assert {"purpose", "data", "command", "gpus"} <= set(recipe.header), recipe.name


@pytest.mark.parametrize(
    ("code", "ended", "following"),
    [
        (1, "ended with 1; its last lines name the cause.", "correct that, then resonance"),
        (-9, "was killed by signal 9.", "resonance"),
    ],
)
def test_precompute_runs_llamafactory_alone_and_says_how_to_go_on(
    examples: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, code: int, ended: str, following: str
) -> None:
    Path("r.yaml").write_text("")
    Path("colorsys.py").write_text("raise SystemExit('a file of the working folder was executed')")
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, code)

    with monkeypatch.context() as patched:
        patched.setattr("resonance.cli.precompute.subprocess.run", run)
        assert main(["precompute", "r.yaml", "a=b"]) == 1
    assert f"the run {ended}\nNext: {following} precompute r.yaml a=b (rows" in capsys.readouterr().err
    python = commands[0][: commands[0].index("-m")]
    assert subprocess.run([*python, "-c", "import colorsys"]).returncode == 0


@pytest.mark.parametrize(("mark", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_doctor_exits_by_what_it_finds(monkeypatch: pytest.MonkeyPatch, capsys: Output, mark: str, code: int) -> None:
    report = Report({"Versions": [Finding(mark, "torch", "2.0\nold", "pip install torch")]})
    monkeypatch.setattr(doctor, "examine", lambda: report)
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert {"ok": "  ok  torch", "warn": "warn  torch", "fail": "FAIL  torch"}[mark] in text
    assert "          -> pip install torch" in text
    assert main(["doctor", "--json"]) == code
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["ok"] is (code == 0)
    assert parsed["sections"]["Versions"][0]["cure"] == "pip install torch"


def test_an_unknown_command_of_a_group_names_the_nearest(capsys: Output) -> None:
    assert main(["data", "imprt", "rlaif_v"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("resonance data: no command 'imprt'; there are: import, ")
    assert error.endswith("Next: resonance data import --help\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_wrapped_to_a_terminal_and_a_line_a_row_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a", "[b]x[/b] " + "word " * 30), ("\x1b[31m", "y")]
    monkeypatch.setenv("COLUMNS", "60")
    for stream, lines in ((Terminal(), 5), (io.StringIO(), 3)):
        monkeypatch.setattr(sys, "stdout", stream)
        print_table(("NAME", "WHAT"), rows)
        printed = stream.getvalue().splitlines()
        assert "[b]x[/b]" in printed[1] and "\\x1b[31m" in printed[-1] and len(printed) >= lines
        assert (max(map(len, printed[1:])) <= 60) == (lines > 3)


def test_names_to_be_typed_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    print_table(("RECIPE", "MODEL", "DATA"), [("qwen2_vl_2b/uni_dpo_lora", "Q" * 40, "Z" * 40)])
    text = stream.getvalue()
    assert "qwen2_vl_2b/uni_dpo_lora" in text and text.count("Q") == text.count("Z") == 40


def test_columns_stand_in_line_behind_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "ROWS"), [("海港数据集", "2"), ("cafe\u0301", "3"), ("lines", "4")])
    assert capsys.readouterr().out.splitlines() == [
        "NAME        ROWS",
        "海港数据集  2",
        "cafe\u0301        3",
        "lines       4",
    ]


@pytest.mark.parametrize(("word", "cure"), [("uni_dpo", "ls --method uni_dpo"), ("full", "ls --tuning full")])
def test_a_word_that_is_no_start_of_a_name_but_fits_a_filter(word: str, cure: str, capsys) -> None:
    assert main(["ls", word]) == 1
    assert f"as a filter: resonance {cure}\n" in capsys.readouterr().err
    assert main(cure.split()) == 0


@pytest.mark.parametrize("trains", [False, True])
def test_ctrl_c_ends_a_command_without_a_traceback(monkeypatch, capsys, trains: bool) -> None:
    """A command that trains has an ending of its own, which says how to go on."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_main, "main", interrupted)
    monkeypatch.setattr(sys, "excepthook", (lambda *_: None) if trains else sys.__excepthook__)
    with pytest.raises(KeyboardInterrupt if trains else SystemExit) as stop:
        cli_main.entry()
    assert trains or (stop.value.code == 130 and not capsys.readouterr().out)
