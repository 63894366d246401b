# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The doctor: every finding, from made-up probes; then whole environments, sound and damaged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import venv
from pathlib import Path
from typing import Any

import pytest

from layered import CHECKOUT, copy_checkout, make_layered_env
from resonance import TESTED_LLAMAFACTORY
from resonance.checks import doctor, probe, versions
from resonance.checks.findings import Finding

SOUND_STARTUP = {
    "disabled": False,
    "finder_at_start": True,
    "pth": ["/env/resonance_startup.pth"],
    "package": "/env/resonance",
}
CPU = {"devices": [], "cuda_build": None}


def marks(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.mark for finding in findings}


def test_tested_set_is_that_of_the_constraints() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.MULTILINE))
    assert {name: tested[0] for name, tested in versions.TESTED.items()}.items() <= pins.items()
    assert set(versions.TESTED["llamafactory"]) == set(TESTED_LLAMAFACTORY)
    rows = [line for line in (CHECKOUT / "docs" / "versions.md").read_text().splitlines() if line.startswith("|")]
    for name, tested in versions.TESTED.items():
        (row,) = [row for row in rows if name in row.split("|")[1].replace(",", " ").split()]
        assert all(version in row for version in tested)


def test_missing_package_fails_unless_it_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions.installed_version
    monkeypatch.setattr(
        versions, "installed_version", lambda name: None if name in ("deepspeed", "trl") else found(name)
    )
    findings = {finding.name: finding for finding in doctor.examine_versions()}
    assert findings["trl"].mark == "fail" and findings["trl"].cure == "pip install trl==0.24.0"
    assert findings["deepspeed"].mark == "ok" and "not installed" in findings["deepspeed"].text
    assert findings["torch"].details == {"found": found("torch"), "tested": ["2.11.0"]}


@pytest.mark.parametrize(
    ("unmet", "mark"),
    [
        (("llamafactory", "llamafactory<0.10,>=0.9.4", "0.9.3"), "fail"),
        (("transformers", "transformers<=5.6.0", "5.9.0"), "fail"),
        (("gradio", "gradio<=5.50.0", "6.0"), "warn"),
        (("fire", "fire", None), "fail"),
    ],
)
def test_unmet_requirement(monkeypatch: pytest.MonkeyPatch, unmet: tuple[str, str, str | None], mark: str) -> None:
    monkeypatch.setattr(versions, "unmet_requirements", lambda name: [unmet])
    (finding,) = doctor.examine_requirements("llamafactory")
    assert finding.mark == mark and finding.cure == f"pip install '{unmet[1]}'"
    assert f"found {unmet[2] or 'none'}" in finding.text


def test_version_check_switched_off_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "unmet_requirements", lambda name: [("trl", "trl<=0.24.0", "1.0")])
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    assert [finding.mark for finding in doctor.examine_requirements("llamafactory")] == ["warn"]


def test_unmet_requirements_reads_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        versions, "requires", lambda name: ["pytest>=9999", "none-such", "pytest", "x; extra == 'dev'"]
    )
    unmet = versions.unmet_requirements("anything")
    assert [(name, requirement) for name, requirement, _ in unmet] == [
        ("pytest", "pytest>=9999"),
        ("none-such", "none-such"),
    ]


@pytest.mark.parametrize(
    ("torch", "vision", "audio", "wrong"),
    [
        ("2.11.0", "0.26.0", "2.11.0", []),
        ("2.4.1+cpu", "0.19.1+cpu", "2.4.1", []),
        ("2.15.0", "0.30.0", "2.11.0", ["torchaudio"]),
        ("2.6.0", "0.26.0", "2.11.0", ["torchvision", "torchaudio"]),
        ("2.6.0", "0.21.0", None, []),
    ],
)
def test_torch_family(
    monkeypatch: pytest.MonkeyPatch, torch: str, vision: str, audio: str | None, wrong: list[str]
) -> None:
    installed = {"torch": torch, "torchvision": vision, "torchaudio": audio}
    monkeypatch.setattr(versions, "installed_version", installed.get)
    assert [sentence.split()[0] for sentence in versions.mismatched_torch_family()] == wrong


@pytest.mark.parametrize(
    ("flash", "transformers", "count"), [("2.8.3", "5.6.0", 1), ("2.8.3", "4.57.1", 0), (None, "5.6.0", 0)]
)
def test_flash_attention_of_transformers(monkeypatch, flash, transformers, count):
    installed = {"flash-attn": flash, "transformers": transformers}
    monkeypatch.setattr(versions, "installed_version", installed.get)
    found = doctor.examine_flash_attention()
    assert len(found) == count and all("fa2" in finding.text and "sdpa" in finding.cure for finding in found)


def test_lock_that_a_killed_build_left(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    for name, age in (("old", 3600), ("new", 0)):
        lock = tmp_path / "py311_cpu" / name / "lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        os.utime(lock, (time.time() - age,) * 2)
    (finding,) = doctor.examine_extensions()
    assert finding.cure == f"rm {tmp_path / 'py311_cpu' / 'old' / 'lock'}" and "without end" in finding.text


@pytest.mark.parametrize(
    ("startup", "mark"),
    [
        ({}, "ok"),
        ({"finder_at_start": False, "pth": []}, "fail"),
        ({"disabled": True, "finder_at_start": False}, "fail"),
    ],
)
def test_startup_hook(startup: dict[str, Any], mark: str) -> None:
    (finder, *_) = doctor.examine_startup({"value": SOUND_STARTUP | startup})
    assert (finder.name, finder.mark) == ("finder", mark)
    assert bool(finder.cure) is (mark != "ok")


def test_devices() -> None:
    assert marks(doctor.examine_devices({"value": CPU | {"devices": ["H100, 80 GiB"] * 2}})) == {
        "cuda:0": "ok",
        "cuda:1": "ok",
    }
    assert marks(doctor.examine_devices({"value": CPU})) == {"cpu": "ok"}
    assert marks(doctor.examine_devices({"error": "OSError: libcudart"})) == {"torch": "fail"}


def test_torchrun_of_this_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "own_torchrun", lambda: Path("/env/bin/torchrun"))
    (finding,) = doctor.examine_torchrun(8)
    assert (finding.mark, finding.text) == ("ok", "recipes of Resonance are started by /env/bin/torchrun")


@pytest.mark.parametrize(
    ("devices", "force", "mark"), [(0, "0", "warn"), (1, "0", "warn"), (2, "0", "fail"), (0, "1", "fail")]
)
def test_missing_torchrun_fails_where_it_would_be_started(
    monkeypatch: pytest.MonkeyPatch, devices: int, force: str, mark: str
) -> None:
    monkeypatch.setattr(doctor, "own_torchrun", lambda: None)
    monkeypatch.setattr(doctor, "script_folders", lambda: ["/env/bin"])
    monkeypatch.setenv("FORCE_TORCHRUN", force)
    (finding,) = doctor.examine_torchrun(devices)
    assert finding.mark == mark and "/env/bin" in finding.text and finding.cure.startswith("pip install 'torch")


def test_llamafactory_newer_than_tested_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.mark for f in doctor.examine_versions() if f.name == "llamafactory"] == ["ok"]
    monkeypatch.setattr("resonance.hooks.registry.version", lambda name: "0.9.6.dev0")
    (finding,) = [f for f in doctor.examine_versions() if f.name == "llamafactory"]
    assert finding.mark == "warn" and "llamafactory 0.9.6.dev0 is newer than what Resonance was tested" in finding.text
    assert finding.cure.endswith(f"pip install llamafactory=={TESTED_LLAMAFACTORY[-1]}")


def test_patches() -> None:
    row = {
        "target": "llamafactory.a.B",
        "scope": "rows",
        "optional": False,
        "why": "w",
        "remove_when": "r",
        "state": "ready",
        "error": None,
    }
    (finding,) = doctor.examine_patches({"value": [row]})
    assert (finding.mark, finding.text) == ("ok", "ready\nwhy: w\nuntil: r")
    (finding,) = doctor.examine_patches({"value": [row | {"state": "failed", "error": "llamafactory.a.B is gone"}]})
    assert (
        finding.mark == "fail" and finding.text.endswith("llamafactory.a.B is gone") and "pip install" in finding.cure
    )
    assert marks(doctor.examine_patches({"value": [row | {"state": "pending"}]})) == {"llamafactory.a.B": "fail"}
    (finding,) = doctor.examine_patches({"value": [row | {"state": "failed", "optional": True}]})
    assert finding.mark == "warn"


def test_child_that_dies_is_a_finding_and_the_rest_is_still_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_child(steps: list[str]) -> tuple[str, str]:
        lines = [f"{probe.MARK}{json.dumps({step: {'value': step}})}" for step in steps]
        alive = lines[: steps.index("b")] if "b" in steps else lines
        return "noise\n" + "\n".join(alive), "the process ended with signal 11: "

    monkeypatch.setattr(probe, "run_child", run_child)
    assert probe.run_steps(["a", "b", "c"]) == {
        "a": {"value": "a"},
        "b": {"error": "the process ended with signal 11: "},
        "c": {"value": "c"},
    }


@pytest.mark.slow
def test_sound_and_damaged_environments(tmp_path: Path) -> None:
    env = make_layered_env(tmp_path / "env")
    env.pip_install("-e", copy_checkout(tmp_path / "checkout"))
    command = env.root / "bin" / "resonance"
    sound = json.loads(env.run(command, "doctor", "--json").stdout)
    assert sound["ok"] and sound["failures"] == 0
    assert {row["details"]["state"] for row in sound["sections"]["Patches"]} == {"applied", "ready"}

    broken = {"torchaudio": "import os; os.abort()", "deepspeed": "raise RuntimeError('no compiler')"}
    for name, text in broken.items():
        (env.site_packages / f"{name}.py").write_text(text)
    done = env.run(command, "doctor", check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(r"FAIL  torchaudio +the process ended with signal 6.*\n +-> install the three", done.stdout)
    assert re.search(r"warn  deepspeed +RuntimeError: no compiler\n +-> pip install deepspeed==0.18.4", done.stdout)

    off = json.loads(env.run(command, "doctor", "--json", check=False, RESONANCE_DISABLE="1").stdout)
    assert [row["mark"] for row in off["sections"]["Start-up hook"]] == ["fail"]
    assert off["sections"]["Start-up hook"][0]["cure"] == "unset RESONANCE_DISABLE"


def test_an_untested_version_is_not_called_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions.installed_version
    given = {"torch": "2.4.0", "torchvision": "0.19.0", "torchaudio": "2.4.0", "datasets": "4.0.0+local"}
    monkeypatch.setattr(versions, "installed_version", lambda name: given.get(name) or found(name))
    findings = {finding.name: finding for finding in doctor.examine_versions()}
    assert findings["torch"].mark == "warn" and "2.4.0            untested; tested: 2.11.0" in findings["torch"].text
    assert findings["datasets"].mark == "ok"


def test_what_a_version_breaks_is_said_once_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    unmet = [("transformers", "transformers<=5.6.0", "5.9.0")]
    monkeypatch.setattr(versions, "unmet_requirements", lambda name: unmet if name == "llamafactory" else [])
    (finding,) = [each for each in doctor.examine_versions() if "5.9.0" in each.text]
    assert (finding.mark, finding.name) == ("fail", "transformers")
    assert finding.cure == "pip install 'transformers<=5.6.0'" and "asks for transformers<=5.6.0" in finding.text
    row = {"scope": "rows", "optional": False, "why": "w", "remove_when": "r", "state": "failed"}
    rows = [{**row, "target": f"llamafactory.a.{name}", "error": "ImportError: transformers"} for name in "ABC"]
    rows.append({**row, "target": "llamafactory.a.D", "state": "ready", "error": None})
    waiting, good = doctor.examine_patches({"value": rows}, blocked=True)
    assert waiting.text == "3 patches wait for this: ImportError: transformers" and waiting.mark == "fail"
    assert waiting.cure == "mend what is marked FAIL above, then ask again" and good.mark == "ok"


@pytest.mark.parametrize(("on_path", "mark"), [("own", "ok"), ("other", "warn"), (None, "warn")])
def test_a_foreign_llamafactory_cli_is_found(monkeypatch, tmp_path, on_path, mark):
    for folder in ("own", "other"):
        script = tmp_path / folder / "llamafactory-cli"
        script.parent.mkdir()
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    monkeypatch.setattr(doctor, "script_folders", lambda: [str(tmp_path / "own")])
    monkeypatch.setenv("PATH", str(tmp_path / on_path) if on_path else "/nowhere")
    (finding,) = doctor.examine_command()
    assert finding.mark == mark
    if mark == "warn":
        assert f"this one's is {tmp_path}/own/llamafactory-cli" in finding.text and "or type" in finding.cure


def test_a_python_with_nothing_installed_is_examined(tmp_path: Path) -> None:
    """The standard library alone; other commands name what they miss."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "plugin"), "PYTHONNOUSERSITE": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "resonance", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    done = run("doctor")
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert re.search(r"FAIL  llamafactory +not installed", done.stdout) and "patches wait for this" in done.stdout
    assert done.stdout.count("No module named 'llamafactory'") == 1
    assert done.stdout.count("No module named 'torch'") <= 1
    (tmp_path / "r.yaml").write_text("stage: dpo\n")
    for words in (("estimate", "r.yaml"), ("losses", "my_losses:mine"), ("validate", "r.yaml"), ("report", ".")):
        other = run(*words)
        assert other.returncode == 1 and "Traceback" not in other.stderr, other.stderr
        assert f"is not installed in {python}\nNext: resonance doctor" in other.stderr
    assert run("ls").returncode == 0 and run("losses", "uni_dpo").returncode == 0
