# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A model and a suite of benchmarks -> a configuration for VLMEvalKit, and the commands. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .suites import FAMILIES, Family, Suite
from .trained import Trained

QUESTION = "What is shown? Answer with one word."
# Why the system message of a training is not handed to lmms-eval: there is none, or --model_args cuts it.
UNSENT = ("the training has none", "--model_args takes none with a comma, a quote or =")


def probe(image: bool = True) -> dict[str, Any]:
    """A pair whose prompt is written both ways to compare them."""
    from PIL import Image

    shown = [Image.new("RGB", (112, 112), "white")] if image else []
    message = {"role": "user", "content": "<image>" * len(shown) + QUESTION}
    return {"messages": [message], "tools": "", "chosen": "Nothing", "rejected": "Red", "images": shown}


def family_of(model_type: str) -> Family:
    """How other programs load models of a `model_type`; ValueError with those that are known."""
    if model_type not in FAMILIES:
        raise ValueError(
            f"model_type {model_type}: it is not known how VLMEvalKit and lmms-eval load it; known: "
            f"{', '.join(FAMILIES)}. Write the model's entry by hand, after VLMEvalKit's vlmeval/config.py"
        )
    return FAMILIES[model_type]


def config_of(trained: Trained, folder: str, model_type: str, suite: Suite, system: str) -> dict[str, Any] | None:
    """What `run.py --config` of VLMEvalKit reads; None if it has no class for the model.

    Args:
        trained: of the run.
        folder: with the whole model.
        model_type: of its config.json.
        suite: of benchmarks.
        system: message that the training's template begins with; empty for none.
    """
    family = family_of(model_type)
    if family.vlmeval is None:
        return None
    entry = {"class": family.vlmeval, "model_path": folder}
    if family.takes_system and system:
        entry["system_prompt"] = system
    return {
        "model": {Path(trained.name).name: entry},
        "data": {of.vlmeval: {"class": of.dataset, "dataset": of.vlmeval} for of in suite.benchmarks},
    }


def commands(folder: str, model_type: str, suite: Suite, system: str, config: Path) -> Iterator[tuple[str, list[str]]]:
    """The program and its command, of those that load such a model."""
    family = family_of(model_type)
    if family.vlmeval is not None:
        words = ["python", "run.py", "--config", str(config.absolute()), "--work-dir", f"{folder}-vlmevalkit"]
        yield "VLMEvalKit, in its checkout", words
    if family.lmms is not None:
        title, args = "lmms-eval", f"pretrained={folder}"
        if family.takes_system and system and not set(system) & set(",='\""):
            args += f",system_prompt={system}"
        elif family.takes_system:
            title += f", which sends its own system message, as {UNSENT[bool(system)]}"
        words = ["python", "-m", "lmms_eval", "--model", family.lmms, "--model_args", args]
        words += ["--tasks", ",".join(of.lmms for of in suite.benchmarks), "--batch_size", "1"]
        yield title, [*words, "--log_samples", "--output_path", f"{folder}-lmms-eval"]


def export_command(trained: Trained, folder: str) -> list[str]:
    """LlamaFactory's, which merges an adapter into its base."""
    settings = trained.arguments()
    words = ["llamafactory-cli", "export"]
    for name in (
        "model_name_or_path",
        "adapter_name_or_path",
        "template",
        "resize_vocab",
        "add_tokens",
        "add_special_tokens",
    ):
        if settings.get(name):
            value = settings[name]
            words += [f"--{name}", ",".join(value) if isinstance(value, list) else str(value)]
    return [*words, "--export_dir", folder]
