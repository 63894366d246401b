# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Arithmetic, not measurement: how GPUs divide between training and rollout servers, and what moves between them.

    python scripts/rl_layout.py                                       # 8 nodes of 8 GPUs, a 7B model
    python scripts/rl_layout.py --gpus 16 --mode full --tokens-per-second 1500

Every assumption is an option, with a default that is a guess until it is measured on the machines at hand. `generate`
and `update` are seconds of a rollout, `sync` those in which the first trainer writes weights and servers read them;
`share` is that of generating when one waits for the other. Bytes are what a GPU sends in an optimizer step: a
reduction or a gathering of B bytes in a ring of N GPUs sends B (N - 1) / N.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Given:
    """What is assumed; the defaults are of a 7B vision-language model on H100s.

    Attributes:
        gpus: of trainers and servers together.
        mode: lora or full.
        parameters: of the model, in billions.
        adapters: parameters of the adapters, in billions.
        completions: of a rollout.
        group: completions a prompt; the update reads a prompt once for its group.
        prompt, response: tokens of each, a picture's among those of the prompt.
        micro: micro-batches of an optimizer step on a GPU.
        tokens_per_second: that a server's GPU generates.
        teraflops: that a trainer's GPU reaches.
        disk: GB/s that one reader of the shared disk gets.
    """

    gpus: int = 64
    mode: str = "lora"
    parameters: float = 8.3
    adapters: float = 0.04
    completions: int = 1024
    group: int = 8
    prompt: int = 1024
    response: int = 1024
    micro: int = 4
    tokens_per_second: float = 2500.0
    teraflops: float = 350.0
    disk: float = 2.0


def flops(given: Given) -> float:
    """Of the update of a rollout: forward 2 a parameter and token, again under gradient checkpointing, backward 2 for
    activations and 2 for weights that train; 2 each for reference and old log-probabilities."""
    tokens = given.completions * (given.response + given.prompt / given.group)
    return (2 + 2 + 2 + 2 * (given.mode == "full") + 2 + 2) * given.parameters * 1e9 * tokens


def weights(given: Given) -> float:
    """GB that each server reads for new weights: bf16, or adapters in float32 as PEFT saves them."""
    return 2 * given.parameters if given.mode == "full" else 4 * given.adapters


def gradient_bytes(given: Given, trainers: int) -> dict[str, float]:
    """GB that a trainer sends in an optimizer step, by how its state is divided."""
    part = (trainers - 1) / trainers
    trained = 2 * given.parameters if given.mode == "full" else 4 * given.adapters
    model = 2 * given.parameters
    return {
        "DDP": 2 * trained * part,
        "ZeRO-2": (given.micro + 1) * trained * part,
        "ZeRO-3": given.micro * (2 * model + trained) * part,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in fields(Given):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=type(field.default), default=field.default)
    given = Given(**vars(parser.parse_args()))
    sync = 2 * weights(given) / given.disk
    print(f"Arithmetic of {given}; new weights are {weights(given):.2f} GB, sync {sync:.1f} s.")
    print("\n| trainers | servers | generate s | update s | share | in turn s | one ahead s |")
    print("|---|---|---|---|---|---|---|")
    for servers in (given.gpus // 4, given.gpus // 2, 3 * given.gpus // 4):
        trainers = given.gpus - servers
        generate = given.completions * given.response / (servers * given.tokens_per_second)
        update = flops(given) / (trainers * given.teraflops * 1e12)
        turn, ahead = generate + update + sync, max(generate, update) + sync
        shown = f"{generate:.1f} | {update:.1f} | {generate / turn:.0%} | {turn:.1f} | {ahead:.1f}"
        print(f"| {trainers} | {servers} | {shown} |")
    print(f"\n| trainers | {' | '.join(f'{name} GB' for name in gradient_bytes(given, 2))} |\n|---|---|---|---|")
    for trainers in sorted({8, 16, given.gpus // 2}):
        print(f"| {trainers} | {' | '.join(f'{size:.1f}' for size in gradient_bytes(given, trainers).values())} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
