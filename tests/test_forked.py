# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run in a fork is the run of the command: same numbers, same surroundings, same end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TIMING = ("runtime", "per_second")
SURROUNDINGS = """
    import json, os, sys
    found = {"argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "environment": dict(os.environ)}
    found |= {"name": __name__, "file": __file__, "main": sys.modules["__main__"].__name__, "flags": repr(sys.flags)}
    found |= {"stdin": sys.stdin.read(), "finder": str(type(sys.meta_path[0])), "warnings": sys.warnoptions}
    print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture
def script(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "script"
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
        path.chmod(0o755)
        return path

    return write


def both(run_script, *argv, **how):
    forked, started = (run_script(*argv, fork=fork, **how) for fork in (True, False))
    return forked, started


def test_the_surroundings_are_those_of_the_command(run_script, script, tmp_path):
    forked, started = (
        json.loads(out) for _, out in both(run_script, script(SURROUNDINGS), "--a", "b c", cwd=tmp_path)
    )
    # imports add to these two, here beforehand
    environment, path = forked.pop("environment"), forked.pop("path")
    assert environment | started.pop("environment") == environment
    assert [entry for entry in path if entry in started["path"]] == started.pop("path")
    assert str(Path(__file__).parent) not in path
    assert forked == started and "_resonance_startup.Finder" in forked["finder"]


def test_the_numbers_are_those_of_the_command(recipe, train, tmp_path):
    runs = [train(recipe(pref_loss="uni_dpo", output_dir=str(tmp_path / str(fork))), fork=fork) for fork in (0, 1)]
    started, forked = (
        [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in run.state["log_history"]]
        for run in runs
    )
    assert forked == started and len(forked) == 9
    assert sorted(f.name for f in runs[1].output_dir.iterdir()) == sorted(f.name for f in runs[0].output_dir.iterdir())


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import atexit, sys; atexit.register(print, 'left'); sys.exit(3)", 3, "left"),
        ("import sys; sys.exit('no such thing')", 1, "no such thing"),
        ("import threading; threading.Timer(0.2, print, ['later']).start()", 0, "later"),
        ("raise ValueError('nothing was given')", 1, "\nValueError: nothing was given\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    ],
    ids=["exit", "message", "thread", "exception", "signal"],
)
def test_it_ends_like_the_command(run_script, script, tmp_path, text, code, said):
    forked, started = both(run_script, script(text), cwd=tmp_path)
    assert forked[0] == started[0] == code
    assert said in forked[1] and said in started[1]


def test_one_that_takes_too_long_is_killed_and_the_next_one_runs(run_script, script, tmp_path):
    started = tmp_path / "started"
    path = script(
        f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(99)"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        run_script(path, cwd=tmp_path, timeout=3)
    assert not Path("/proc", started.read_text()).exists()
    assert run_script(script("print('next')"), cwd=tmp_path) == (0, "next\n")


def test_two_at_once_are_refused(parent, script, tmp_path):
    start = parent({}).start
    first = start([str(script("import time; time.sleep(99)"))], tmp_path, tmp_path / "log")
    with pytest.raises(RuntimeError, match=f"process {first.pid} is still running"):
        start([str(script(""))], tmp_path, tmp_path / "log")
    first.kill()
    assert first.wait() == -signal.SIGKILL


@pytest.mark.parametrize("threads", [0, 1])
def test_a_process_with_threads_does_not_fork(threads):
    code = f"""
        import threading, forked
        for _ in range({threads}):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        forked.must_be_alone()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert (done.returncode != 0) is bool(threads), done.stderr
    assert ("the imports of LlamaFactory started threads" in done.stderr) is bool(threads)
