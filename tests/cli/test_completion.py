# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Completion as shells ask for it, and through the shells that are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resonance.cli.completion import SHELLS
from resonance.cli.main import main
from resonance.losses import LOSSES

RESONANCE = Path(sys.executable).with_name("resonance")


def completed(line: str, folder: Path, tmp_path: Path) -> list[str]:
    """What fits at the end of a line, by argcomplete's protocol."""
    answer = tmp_path / "answer"
    protocol = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = "import sys; sys.argv = ['resonance']; from resonance.cli.main import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **protocol}, cwd=folder, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return [word.rstrip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("resonance l", {"losses", "ls"}, {"cp"}),
        ("resonance data sc", {"score-stats", "score-scale", "score-filter"}, {"show"}),
        ("resonance cp qwen2_vl_2b/u", {"qwen2_vl_2b/uni_dpo", "qwen2_vl_2b/uni_dpo_lora"}, {"qwen2_vl_2b/dpo"}),
        ("resonance show methods/r", {"methods/ray"}, set()),
        ("resonance losses uni", {"uni_dpo"}, {"sigmoid"}),
        ("resonance data check my", {"my_pairs", "my_file.json"}, {"other"}),
        ("resonance data show ot", {"other"}, {"my_pairs"}),
        ("resonance cp x y --dataset my", {"my_pairs"}, {"other"}),
        ("resonance estimate --gp", {"--gpu", "--gpu-memory"}, {"--json"}),
        ("resonance completion ", set(SHELLS), set()),
    ],
)
def test_words_that_fit(line: str, some: set[str], none: set[str], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    entry = {"file_name": "x.json"}
    (folder / "data" / "dataset_info.json").write_text(json.dumps({"my_pairs": entry, "other": entry}))
    (folder / "my_file.json").write_text("[]")
    found = set(completed(line, folder, tmp_path))
    assert some <= found and not none & found, found


def test_all_losses_are_offered(tmp_path: Path) -> None:
    assert set(LOSSES) <= set(completed("resonance losses ", tmp_path, tmp_path))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_its_shell(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "resonance" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here; its script was printed")
    assert subprocess.run([shell, "-n", script]).returncode == 0


@pytest.mark.skipif(shutil.which("bash") is None or not RESONANCE.is_file(), reason="no bash, or no resonance command")
def test_bash_completes_by_the_script() -> None:
    ask = (
        'eval "$(resonance completion bash)"; COMP_LINE="resonance los"; COMP_POINT=13; COMP_WORDS=(resonance los); '
        "COMP_CWORD=1; COMP_TYPE=9; "
        "$(complete -p resonance | sed 's/.*-F \\([^ ]*\\) .*/\\1/') resonance los resonance; "
        'echo "got:${COMPREPLY[*]}"'
    )
    env = {**os.environ, "PATH": f"{RESONANCE.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "got:losses", done


def test_help_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (".bashrc", ".zshrc", "fish/completions"))
