# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Versions: what is installed, what was tested, and which declared requirements do not hold.

Reads metadata only; imports none of the packages.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from .. import TESTED_LLAMAFACTORY
from ..arguments.environment import is_env_enabled

# The tested sets, the newest first: constraints.txt pins the first version of each; docs/versions.md has the reasons.
TESTED = {
    "torch": ("2.11.0",),
    "torchvision": ("0.26.0",),
    "torchaudio": ("2.11.0",),
    "transformers": ("5.5.4", "4.57.1"),
    "trl": ("0.24.0",),
    "peft": ("0.18.1", "0.17.1"),
    "accelerate": ("1.11.0",),
    "datasets": ("4.0.0",),
    "deepspeed": ("0.18.4",),
    "llamafactory": TESTED_LLAMAFACTORY[::-1],
}
OPTIONAL = ("deepspeed",)
# LlamaFactory itself refuses to train when one of these is out of its range.
CHECKED_BY_LLAMAFACTORY = ("transformers", "datasets", "accelerate", "peft", "trl")


def pin(name: str) -> str:
    """The requirement that installs the tested version of a package."""
    return f"{name}=={TESTED[name][0]}"


def installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_pair(name: str) -> tuple[int, int] | None:
    """Returns (major, minor) of an installed distribution, or None."""
    found = installed_version(name)
    parts = (found or "").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None


def can_compare() -> bool:
    """Whether `packaging`, which compares versions, is here; LlamaFactory and torch's tools bring it."""
    return find_spec("packaging") is not None


def unmet_requirements(name: str) -> list[tuple[str, str, str | None]]:
    """Returns (package, requirement, installed version or None) for each requirement of a distribution not met."""
    from packaging.requirements import Requirement

    unmet = []
    for text in requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed_version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            unmet.append((requirement.name, f"{requirement.name}{requirement.specifier}", found))
    return unmet


def stops_llamafactory(name: str) -> bool:
    """True if LlamaFactory refuses to train with a wrong version of this package."""
    return name in CHECKED_BY_LLAMAFACTORY and not is_env_enabled("DISABLE_VERSION_CHECK")


def mismatched_torch_family() -> list[str]:
    """Returns a sentence for torchvision and for torchaudio if its release is not the one made for this torch.

    torchaudio carries torch's number; torchvision's minor number is 15 ahead (torch 2.11 and torchvision 0.26).
    """
    torch = version_pair("torch")
    if torch is None:
        return []
    expected = {"torchvision": (0, torch[1] + 15), "torchaudio": torch}
    return [
        f"{name} {installed_version(name)} is not the release for torch {installed_version('torch')}, "
        f"which is {wanted[0]}.{wanted[1]}"
        for name, wanted in expected.items()
        if version_pair(name) not in (None, wanted)
    ]
