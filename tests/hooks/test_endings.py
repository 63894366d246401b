# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How a run from the command line ends in an error: the cause last, ours without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resonance.arguments import reader
from resonance.hooks import endings


@pytest.fixture(autouse=True)
def hook(monkeypatch):
    for name in (endings.CAUSES, "RANK", "LOCAL_RANK", "LLAMAFACTORY_VERBOSITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    endings.report_errors()
    endings.report_errors()
    assert sys.excepthook.previous is sys.__excepthook__, "once"


def ended(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        sys.excepthook(*sys.exc_info())


def refused() -> None:
    try:
        reader.read_recipe("none.yaml")
    except ValueError:
        sys.excepthook(*sys.exc_info())


def test_an_error_of_ours_has_no_traceback(capsys, monkeypatch):
    refused()
    assert capsys.readouterr().err.startswith("ValueError: none.yaml: No such file or directory")
    monkeypatch.setenv("LLAMAFACTORY_VERBOSITY", "DEBUG")
    refused()
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_keeps_its_traceback(capsys):
    ended(ValueError("of somebody else"))
    try:
        reader.read_recipe(3)  # fails within this package, but not by a `raise` of it
    except TypeError:
        sys.excepthook(*sys.exc_info())
    error = capsys.readouterr().err
    assert error.count("Traceback") == 2 and "ValueError: of somebody else" in error and "first cause" not in error


def test_the_first_cause_comes_last(capsys):
    try:
        try:
            raise OSError("no such tokenizer")
        except OSError as cause:
            raise OSError("Failed to load tokenizer.") from cause
    except OSError:
        sys.excepthook(*sys.exc_info())
    assert capsys.readouterr().err.endswith("The first cause: OSError: no such tokenizer\n")


def test_an_error_of_others_ends_with_the_command_that_looks_for_its_cause(capsys, monkeypatch):
    for words in (["train", "my.yaml", "pref_beta=1"], ["my.yaml", "pref_beta=1"]):  # of the command, and of a rank
        monkeypatch.setattr(sys, "argv", ["llamafactory-cli", *words])
        ended(OSError("Failed to load tokenizer."))
        last = capsys.readouterr().err.splitlines()[-2:]
        assert last == [
            "OSError: Failed to load tokenizer.",
            "Next: `resonance validate my.yaml pref_beta=1` looks for the cause in the recipe, and loads no model.",
        ]
    ended(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert "Memory ran out. `resonance validate my.yaml pref_beta=1 --gpu-memory GIB`" in capsys.readouterr().err
    ended(RuntimeError("a shape is wrong"))
    assert capsys.readouterr().err.endswith("RuntimeError: a shape is wrong\n")
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", "train", "--stage", "dpo"])
    ended(OSError("no recipe file"))
    assert capsys.readouterr().err.endswith("OSError: no recipe file\n")


def test_an_error_is_reported_once_though_another_hook_came_between(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", "train", "my.yaml"])
    ours = sys.excepthook
    monkeypatch.setattr(sys, "excepthook", lambda *error: ours(*error))
    endings.report_errors()
    assert sys.excepthook is not ours
    ended(OSError("once"))
    error = capsys.readouterr().err
    assert error.count("Traceback") == error.count("resonance validate") == 1


@pytest.mark.parametrize(
    ("recipe", "overwrites", "last"),
    [
        ("output_dir: {out}\n", False, "The same command goes on from {out}/checkpoint-20, the newest complete"),
        ("output_dir: {out}\noverwrite_output_dir: true\n", True, "with overwrite_output_dir=false behind it"),
        ("output_dir: {out}/none\n", False, "{out}/none has no complete checkpoint: the same command starts anew"),
    ],
)
def test_ctrl_c_tells_how_to_go_on(capsys, monkeypatch, tmp_path, recipe, overwrites, last):
    out = tmp_path / "out"
    for number, text in ((20, "{}"), (30, "{")):
        (out / f"checkpoint-{number}").mkdir(parents=True)
        (out / f"checkpoint-{number}" / "trainer_state.json").write_text(text)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.format(out=out))
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path)])
    ended(KeyboardInterrupt())
    error = capsys.readouterr().err
    assert "Traceback" not in error and last.format(out=out) in error.splitlines()[-1]
    if overwrites:  # what is printed holds
        assert reader.read_words([str(path), "overwrite_output_dir=false"])["overwrite_output_dir"] is False
    monkeypatch.setenv("LOCAL_RANK", "1")
    ended(KeyboardInterrupt())
    assert not capsys.readouterr().err


def test_the_lowest_rank_s_cause_comes_behind_torchrun_s_report(capsys):
    def torchrun() -> None:
        for rank in (3, 1):
            code = (
                "import sys; from resonance.hooks import endings; endings.report_errors()\n"
                "from resonance.arguments.reader import read_recipe\n"
                f"read_recipe('rank{rank}.yaml')"
            )
            subprocess.run([sys.executable, "-c", code], env=os.environ | {"RANK": str(rank)}, check=False)
        print("a long report", file=sys.stderr)
        raise subprocess.CalledProcessError(1, "torchrun")

    with pytest.raises(SystemExit) as end:
        endings.with_cause_last(torchrun)
    assert end.value.code == 1 and endings.CAUSES not in os.environ
    last = capsys.readouterr().err.partition("a long report\n")[2].strip()
    assert last.startswith("Rank 1 was stopped by:\nValueError: rank1.yaml: No such file")


LOST = (
    "RuntimeError: [gloo/transport/tcp/pair.cc:538] Read error [127.0.0.1]:1: Connection reset by peer",
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1",
    "RuntimeError: Timed out waiting 60000ms for recv operation to complete",
)


@pytest.mark.parametrize("lost", LOST)
def test_a_rank_that_lost_another_says_where_the_cause_is_and_gives_way_to_it(lost, capsys, monkeypatch, tmp_path):
    (tmp_path / "out" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-3" / "trainer_state.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text(f"output_dir: {tmp_path / 'out'}")
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", "train", str(tmp_path / "recipe.yaml")])

    def torchrun(causes: dict[str, str]) -> None:
        monkeypatch.setattr(sys, "argv", sys.argv[:1] + sys.argv[2:])  # as in a rank
        for rank, cause in causes.items():
            monkeypatch.setenv("RANK", rank)
            ended(
                RuntimeError(cause.partition(": ")[2]) if cause.startswith("RuntimeError") else ConnectionError(cause)
            )
        raise subprocess.CalledProcessError(1, "torchrun")

    before = list(sys.argv)
    with pytest.raises(SystemExit):
        endings.with_cause_last(lambda: torchrun({"0": lost}))
    last = capsys.readouterr().err.partition("Rank 0 was stopped by:\n")[2]
    assert lost in last and "did not answer within `ddp_timeout` seconds" in last
    assert f"The same command goes on from {tmp_path / 'out' / 'checkpoint-3'}" in last.splitlines()[-1]
    monkeypatch.setattr(sys, "argv", before)
    with pytest.raises(SystemExit):
        endings.with_cause_last(lambda: torchrun({"0": lost, "1": "RuntimeError: the picture is gone"}))
    last = capsys.readouterr().err.partition("Rank 1 was stopped by:\n")[2]
    assert last == "RuntimeError: the picture is gone\n"


def test_without_a_cause_it_is_said_that_a_rank_was_killed_and_how_to_go_on(capsys, monkeypatch, tmp_path):
    def killed() -> None:
        raise subprocess.CalledProcessError(1, "torchrun")

    (tmp_path / "recipe.yaml").write_text(f"output_dir: {tmp_path / 'out'}")
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", "train", str(tmp_path / "recipe.yaml")])
    with pytest.raises(SystemExit) as end:
        endings.with_cause_last(killed)
    last = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 1 and "exitcode -9 is SIGKILL" in last
    assert last.endswith(f"{tmp_path / 'out'} has no complete checkpoint: the same command starts anew.")
    assert endings.with_cause_last(lambda: Path) is Path
