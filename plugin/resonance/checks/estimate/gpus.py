# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Memory of GPUs by name, in GiB, as their driver reports it. Standard library only."""

from difflib import get_close_matches

GPUS = {
    **{"T4": 15, "A10": 22.5, "L4": 22.5, "L40S": 45, "A6000": 48, "V100-32GB": 32},
    **{"RTX3090": 24, "RTX4090": 24, "RTX5090": 31.8},
    **{"A100-40GB": 40, "A100": 80, "A800": 80, "H100": 79.6, "H800": 79.6, "H20": 95.6, "H200": 140.4, "B200": 179},
}


def gpu_gibibytes(name: str) -> float:
    """Memory of a GPU in GiB.

    Raises:
        ValueError: unknown; names the nearest ones.
    """
    names = {known.lower(): known for known in GPUS}
    key = name.lower().replace(" ", "").replace("_", "-")
    if key in names:
        return GPUS[names[key]]
    near = [names[found] for found in get_close_matches(key, names, n=3, cutoff=0.3)] or GPUS
    raise ValueError(f"--gpu: {name!r} is not known; nearest: {', '.join(near)}. Any other: --gpu-memory GIBIBYTES")
