# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The doctor: is this environment fit for our recipes, and if not, what cures it?

Imports neither torch nor LlamaFactory: what has to be imported is imported by `checks/probe.py` in a
child process.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any, Literal

from .. import SUPPORTED_LLAMAFACTORY, __version__
from ..arguments.environment import is_env_enabled
from ..hooks.llamafactory import registry
from ..hooks.torchrun import own_torchrun, script_folders
from . import probe, versions
from .findings import Finding, Report

Result = dict[str, Any]
STALE_SECONDS = 1800  # no build of DeepSpeed's extensions takes that long
TORCH_FAMILY = " ".join(map(versions.pin, ("torch", "torchvision", "torchaudio")))
SAME_RELEASE = f"install the three of one release, from one index: pip install {TORCH_FAMILY}"
LLAMAFACTORY = f"pip install {versions.pin('llamafactory')}"
TRANSFORMERS = versions.pin("transformers")
IMPORT_CURES = {
    "torch": "pip install 'torch>=2.4,<2.12'",
    "torchvision": SAME_RELEASE,
    "torchaudio": SAME_RELEASE,
    "transformers": f"pip install {TRANSFORMERS}",
    "trl": f"pip install {versions.pin('trl')} {TRANSFORMERS}; if mergekit is what is missing: pip install mergekit",
    "deepspeed": (
        f"pip install {versions.pin('deepspeed')}, or uninstall it: only recipes with a `deepspeed:` key need it"
    ),
}


def examine() -> Report:
    """Examines the running Python's environment and returns all findings."""
    steps = [step for step in probe.STEPS if step != "deepspeed" or versions.installed_version("deepspeed")]
    results = probe.run_steps(steps)
    devices = results["torch"].get("value", {}).get("devices", [])
    installed, imports = examine_versions(), examine_imports(results)
    blocked = any(finding.mark == "fail" for finding in installed + imports)
    switched_off = bool(os.environ.get("RESONANCE_DISABLE"))
    return Report(
        {
            "Versions": installed,
            "Devices": examine_devices(results["torch"]) if versions.installed_version("torch") else [],
            "Start-up hook": examine_startup(results["startup"]),
            "Commands": examine_torchrun(len(devices)) + examine_command(),
            "Imports": imports + examine_extensions(),
            "Patches": examine_patches(results["patches"], switched_off=switched_off, blocked=blocked),
        }
    )


def examine_versions() -> list[Finding]:
    """Versions beside the tested ones, with what is asked of each; then the other requirements that are not met."""
    unmet = [each for name in ("llamafactory-resonance", "llamafactory") for each in examine_requirements(name)]
    found = [
        Finding("ok", "python", platform.python_version(), details={"found": platform.python_version()}),
        Finding("ok", "resonance", __version__, details={"found": __version__}),
    ]
    for name, tested in versions.TESTED.items():
        asked = [each for each in unmet if each.details.get("package") == name]
        unmet = [each for each in unmet if each not in asked]
        found.append(examine_version(name, tested, asked))
    found += unmet
    found += [Finding("warn", "torch family", text, SAME_RELEASE) for text in versions.mismatched_torch_family()]
    return found + examine_flash_attention()


def examine_version(name: str, tested: tuple[str, ...], asked: list[Finding]) -> Finding:
    """One version beside the tested ones, and what is asked of it in vain."""
    version = versions.installed_version(name)
    details = {"found": version, "tested": list(tested)}
    untested = version is not None and version.partition("+")[0] not in tested
    text = f"{version or 'not installed':<16} {'untested; ' if untested else ''}tested: {', '.join(tested)}"
    if asked and version is not None:
        worst = min(asked, key=lambda finding: finding.mark)  # fail before warn
        return Finding(worst.mark, name, "\n".join([text, *(each.text for each in asked)]), worst.cure, details)
    if version is None and name not in versions.OPTIONAL:
        return Finding("fail", name, text, f"pip install {versions.pin(name)}", details)
    if name == "llamafactory" and versions.can_compare() and (newer := registry.untested()):
        text, untested = f"{text}\n{newer}", True
    cure = f"if a recipe of Resonance fails: pip install {versions.pin(name)}" if untested else ""
    return Finding("warn" if untested else "ok", name, text, cure, details)


def examine_flash_attention() -> list[Finding]:
    """Transformers 5.6.0 calls FlashAttention with the sinks of a model that has none, and fails (its issue 45588)."""
    flash, transformers = map(versions.installed_version, ("flash-attn", "transformers"))
    if flash is None or transformers != "5.6.0":
        return []
    text = f"Transformers {transformers} fails with `flash_attn: fa2` in all runs but those of our preference trainer"
    cure = f"pip install {TRANSFORMERS}, or write `flash_attn: sdpa` into other recipes"
    return [Finding("warn", "flash-attn", text, cure)]


def examine_requirements(distribution: str) -> list[Finding]:
    version = versions.installed_version(distribution)
    if version is None:
        if distribution in versions.TESTED:
            return []  # its version is marked already
        cure = "pip install . in the checkout"
        return [Finding("warn", "requirements", f"{distribution} is not installed as a package", cure)]
    if not versions.can_compare():
        why = f"what {distribution} asks for was not compared: packaging is not installed"
        return [Finding("fail", "requirements", why, "pip install packaging")]
    found = []
    for name, requirement, installed in versions.unmet_requirements(distribution):
        needed = name == "llamafactory" or installed is None or versions.stops_llamafactory(name)
        text = f"{distribution} {version} asks for {requirement}, found {installed or 'none'}"
        mark: Literal["warn", "fail"] = "fail" if needed else "warn"
        found.append(Finding(mark, "requirements", text, f"pip install '{requirement}'", {"package": name}))
    return found


def examine_devices(torch: Result) -> list[Finding]:
    if "error" in torch:
        return [Finding("fail", "torch", torch["error"], IMPORT_CURES["torch"])]
    value = torch["value"]
    found = [Finding("ok", f"cuda:{index}", name) for index, name in enumerate(value["devices"])]
    if not found:
        build = (
            f"built for CUDA {value['cuda_build']}, no device seen" if value["cuda_build"] else "built without CUDA"
        )
        found = [Finding("ok", "cpu", f"{os.cpu_count()} cores; torch is {build}")]
    return found


def examine_startup(startup: Result) -> list[Finding]:
    """Is the finder in every Python process of this environment?"""
    again = "pip install --force-reinstall --no-deps llamafactory-resonance, or pip install . in the checkout"
    if "error" in startup:
        return [Finding("fail", "finder", startup["error"], again)]
    value = startup["value"]
    if value["disabled"]:
        setting = f"RESONANCE_DISABLE={os.environ.get('RESONANCE_DISABLE')}"
        return [Finding("fail", "finder", f"switched off by {setting}", "unset RESONANCE_DISABLE", value)]
    if value["finder_at_start"]:
        finder = Finding("ok", "finder", "in place when Python starts", details=value)
    else:
        finder = Finding("fail", "finder", "not in place: LlamaFactory runs without this package", again, value)
    pth = ", ".join(value["pth"]) or "none in the site-packages of this Python"
    return [
        finder,
        Finding("ok", "package", value["package"]),
        Finding("ok" if value["pth"] else "warn", ".pth line", pth),
    ]


def examine_torchrun(devices: int) -> list[Finding]:
    own = own_torchrun()
    if own is not None:
        return [Finding("ok", "torchrun", f"recipes of Resonance are started by {own}")]
    needed = devices > 1 or is_env_enabled("FORCE_TORCHRUN")
    text = f"this Python has none in {' or '.join(script_folders())}; runs with several processes need it"
    return [Finding("fail" if needed else "warn", "torchrun", text, IMPORT_CURES["torch"])]


def examine_command() -> list[Finding]:
    """Is the `llamafactory-cli` that a shell finds the one of this environment?"""
    found, folders = shutil.which("llamafactory-cli"), script_folders()
    own = next((path for folder in folders if os.access(path := Path(folder, "llamafactory-cli"), os.X_OK)), None)
    if own is None:
        return [Finding("warn", "llamafactory-cli", f"this Python has none in {' or '.join(folders)}", LLAMAFACTORY)]
    if found is None or not os.path.samefile(found, own):
        where = f"the one on PATH is {found}, of another environment" if found else "it is not on PATH"
        cure = f"activate this environment, or type {own}"
        return [Finding("warn", "llamafactory-cli", f"{where}; this one's is {own}", cure)]
    return [Finding("ok", "llamafactory-cli", str(found))]


def examine_imports(results: dict[str, Result]) -> list[Finding]:
    """Whether what is installed can be imported."""
    found = []
    for name, cure in IMPORT_CURES.items():
        result = results.get(name)
        if versions.installed_version(name) is None and name not in versions.OPTIONAL:
            continue  # its version is marked already
        if result is None:
            found.append(Finding("ok", name, "not installed; only recipes with a `deepspeed:` key need it"))
        elif "error" in result:
            found.append(Finding("warn" if name in versions.OPTIONAL else "fail", name, result["error"], cure))
        else:
            found.append(Finding("ok", name, "imports"))
    return found


def examine_extensions() -> list[Finding]:
    """Locks that a killed build left: PyTorch's next build of that extension, as DeepSpeed starts one, never ends."""
    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or "~/.cache/torch_extensions").expanduser()
    locks = [lock for lock in sorted(folder.glob("**/lock")) if time.time() - lock.stat().st_mtime > STALE_SECONDS]
    text = "is locked, and nobody has built there for {} minutes: DeepSpeed waits for it without end"
    return [Finding("warn", "extension", f"{x.parent} {text.format(STALE_SECONDS // 60)}", f"rm {x}") for x in locks]


def examine_patches(patches: Result, switched_off: bool = False, blocked: bool = False) -> list[Finding]:
    """The state of each patch, and why it exists. Recipes run without an optional one.

    Args:
        patches: what the probe found.
        switched_off: whether the environment switches the package off.
        blocked: whether something else is broken, which has to be mended first.
    """
    supported = "unset RESONANCE_DISABLE" if switched_off else f"pip install 'llamafactory{SUPPORTED_LLAMAFACTORY}'"
    if blocked and not switched_off:
        supported = "mend what is marked FAIL above, then ask again"
    if "error" in patches:
        return [Finding("fail", "patches", patches["error"], supported)]
    found = []
    waiting = [row for row in patches["value"] if row["state"] not in ("applied", "ready")]
    for error in {row["error"] for row in waiting}:
        alike = [row for row in waiting if row["error"] == error]
        if len(alike) > 1:
            text = f"{len(alike)} patches wait for this: {error or 'LlamaFactory was imported without them'}"
            found.append(Finding("fail", "patches", text, supported, {"targets": [row["target"] for row in alike]}))
            waiting = [row for row in waiting if row not in alike]
    for row in [row for row in patches["value"] if row in waiting or row["state"] in ("applied", "ready")]:
        good = row["state"] in ("applied", "ready")
        mark: Literal["ok", "warn", "fail"] = "ok" if good else "warn" if row["optional"] else "fail"
        lines = [row["state"], f"why: {row['why']}", f"until: {row['remove_when']}", row["error"] or ""]
        text = "\n".join(line for line in lines if line)
        found.append(Finding(mark, row["target"], text, "" if good else supported, row))
    return found
