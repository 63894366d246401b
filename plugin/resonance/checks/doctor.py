# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The doctor: is this environment fit for our recipes, and if not, what cures it?

Imports neither torch nor LlamaFactory: what has to be imported is imported by `checks/probe.py` in a
child process.
"""

from __future__ import annotations

import os
import platform
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
    return Report(
        {
            "Versions": examine_versions(),
            "Devices": examine_devices(results["torch"]),
            "Start-up hook": examine_startup(results["startup"]),
            "torchrun": examine_torchrun(len(devices)),
            "Imports": examine_imports(results) + examine_extensions(),
            "Patches": examine_patches(results["patches"], switched_off=bool(os.environ.get("RESONANCE_DISABLE"))),
        }
    )


def examine_versions() -> list[Finding]:
    """Versions beside the tested ones, then every declared requirement that is not met."""
    found = [
        Finding("ok", "python", platform.python_version(), details={"found": platform.python_version()}),
        Finding("ok", "resonance", __version__, details={"found": __version__}),
    ]
    for name, tested in versions.TESTED.items():
        version = versions.installed_version(name)
        text = f"{version or 'not installed':<16} tested: {', '.join(tested)}"
        details = {"found": version, "tested": list(tested)}
        if name == "llamafactory" and (newer := registry.untested()):
            cure = f"if a recipe of Resonance fails: pip install {versions.pin(name)}"
            found.append(Finding("warn", name, f"{text}\n{newer}", cure, details))
        elif version or name in versions.OPTIONAL:
            found.append(Finding("ok", name, text, details=details))
        else:
            found.append(Finding("fail", name, text, f"pip install {versions.pin(name)}", details))
    for distribution in ("llamafactory-resonance", "llamafactory"):
        found += examine_requirements(distribution)
    found += [Finding("warn", "torch family", text, SAME_RELEASE) for text in versions.mismatched_torch_family()]
    return found + examine_flash_attention()


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
        cure = (
            "pip install . in the checkout"
            if distribution != "llamafactory"
            else f"pip install {versions.pin('llamafactory')}"
        )
        return [Finding("warn", "requirements", f"{distribution} is not installed as a package", cure)]
    found = []
    for name, requirement, installed in versions.unmet_requirements(distribution):
        needed = name == "llamafactory" or installed is None or versions.stops_llamafactory(name)
        text = f"{distribution} {version} asks for {requirement}, found {installed or 'none'}"
        found.append(Finding("fail" if needed else "warn", "requirements", text, f"pip install '{requirement}'"))
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


def examine_imports(results: dict[str, Result]) -> list[Finding]:
    found = []
    for name, cure in IMPORT_CURES.items():
        result = results.get(name)
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


def examine_patches(patches: Result, switched_off: bool = False) -> list[Finding]:
    """The state of each patch, and why it exists. Recipes run without an optional one."""
    supported = "unset RESONANCE_DISABLE" if switched_off else f"pip install 'llamafactory{SUPPORTED_LLAMAFACTORY}'"
    if "error" in patches:
        return [Finding("fail", "patches", patches["error"], supported)]
    found = []
    for row in patches["value"]:
        good = row["state"] in ("applied", "ready")
        mark: Literal["ok", "warn", "fail"] = "ok" if good else "warn" if row["optional"] else "fail"
        lines = [row["state"], f"why: {row['why']}", f"until: {row['remove_when']}", row["error"] or ""]
        text = "\n".join(line for line in lines if line)
        found.append(Finding(mark, row["target"], text, "" if good else supported, row))
    return found
