# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A recipe made over for another model, data set or number of GPUs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import settings
from .templates import Fit, template_of

ZERO = "examples/deepspeed/ds_z2_config.json"  # for full tuning on several GPUs, where a recipe names no other
IMAGE_KEYS = re.compile(r"^((?:image|video)_\w+|freeze_vision_tower|freeze_multi_modal_projector):", re.MULTILINE)
_TORCHRUN = re.compile(r"(?:[A-Z_]+=\S+ )*llamafactory-cli train \S+")


@dataclass(frozen=True)
class Wish:
    """What a copy is to be for; None leaves the recipe's own.

    Attributes:
        file: where the copy will be.
        model, template, dataset, dataset_dir, output_dir: values of these keys.
        gpus: how many GPUs of one machine train.
        sets: (key, value as YAML writes it) of any other keys.
    """

    file: Path
    model: str | None = None
    template: str | None = None
    dataset: str | None = None
    dataset_dir: str | None = None
    output_dir: str | None = None
    gpus: int | None = None
    sets: Sequence[tuple[str, str]] = ()


@dataclass
class Tailored:
    """A recipe made over.

    Attributes:
        text: of the file.
        command: that trains it.
        rows: that the original sees in a step.
        notes: what was decided, and why.
        copies: files that it names and that go beside it, by their paths below the shipped `examples/`.
    """

    text: str
    command: str
    rows: int
    notes: list[str] = field(default_factory=list)
    copies: dict[str, Path] = field(default_factory=dict)


def tailor(text: str, command: str, processes: int, wish: Wish) -> Tailored:
    """Make a recipe over.

    Args:
        text: the recipe.
        command: that its header gives.
        processes: how many GPUs that command starts.
        wish: what to change.

    Raises:
        ValueError: it cannot be; all reasons in one message.
    """
    made = Tailored(text, command, number(text, "per_device_train_batch_size", 8) * processes)
    made.rows *= number(text, "gradient_accumulation_steps", 1)
    problems: list[str] = []
    for step in (_sets, _model, _data, _gpus):
        try:
            step(made, wish)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    _deepspeed(made, wish)
    if wish.gpus is None:
        made.command = re.sub(r"\S+\.ya?ml", lambda _: shlex.quote(str(wish.file)), made.command)
    made.text = settings.edit_header(made.text, lambda topic, lines: _topic(topic, lines, made.command, wish))
    return made


def number(text: str, key: str, default: int) -> int:
    """A count of the recipe.

    Raises:
        ValueError: it is none.
    """
    value = settings.get(text, key)
    if value is not None and not (value.isdigit() and int(value)):
        raise ValueError(f"{key}: {value} is no count")
    return default if value is None else int(value)


def _sets(made: Tailored, wish: Wish) -> None:
    named = {
        "model_name_or_path": wish.model,
        "template": wish.template,
        "dataset": wish.dataset,
        "dataset_dir": wish.dataset_dir,
        "output_dir": wish.output_dir,
    }
    for key, value in wish.sets:
        if named.get(key) is not None:
            raise ValueError(f"--set {key}={value}: --{key.partition('_name')[0].replace('_', '-')} sets it too")
        if wish.gpus is not None and key == "gradient_accumulation_steps":
            raise ValueError(
                f"--set {key}={value}: --gpus sets it, so that the batch of a step stays; give one of them"
            )
        made.text = settings.put(made.text, key, value)


def _model(made: Tailored, wish: Wish) -> None:
    old = settings.get(made.text, "model_name_or_path")
    if wish.template is not None:
        made.text = settings.put(made.text, "template", settings.word(wish.template), "dataset")
    if wish.model is None:
        return
    fit = Fit(wish.template, True, "") if wish.template is not None else template_of(wish.model)
    adapter = settings.get(made.text, "adapter_name_or_path")
    if adapter not in (None, "null") and "adapter_name_or_path" not in dict(wish.sets):
        raise ValueError(f"--model: the recipe's adapter {adapter} is of {old}; add --set adapter_name_or_path=null")
    model = settings.word(wish.model)
    for key in ("model_name_or_path", "ref_model"):
        if settings.get(made.text, key) == old:
            made.text = settings.put(made.text, key, model)
    if fit.source:
        made.text = settings.put(made.text, "template", fit.template, "dataset")
        made.notes.append(f"template {fit.template}, from {fit.source}")
    if not fit.images:
        gone = [found[1] for found in IMAGE_KEYS.finditer(made.text)]
        for key in gone:
            made.text = settings.drop(made.text, key)
        if gone:
            made.notes.append(f"{', '.join(gone)} left out: the model reads text only")


def _data(made: Tailored, wish: Wish) -> None:
    for key, value in (
        ("dataset_dir", wish.dataset_dir),
        ("dataset", wish.dataset),
        ("output_dir", wish.output_dir),
    ):
        if value is not None:
            made.text = settings.put(made.text, key, settings.word(value), "template")
    held_out = settings.get(made.text, "eval_dataset")
    if wish.dataset is not None and held_out and "eval_dataset" not in dict(wish.sets):
        made.notes.append(f"eval_dataset is still the recipe's {held_out}: --set eval_dataset=NAME for yours")


def _gpus(made: Tailored, wish: Wish) -> None:
    """The accumulation by which a step sees as many rows as before, and the command."""
    if wish.gpus is None:
        return
    if wish.gpus < 1:
        raise ValueError(f"--gpus {wish.gpus}: is 1 or more")
    if not _TORCHRUN.fullmatch(made.command) or "USE_RAY" in made.command:
        raise ValueError(
            f"--gpus {wish.gpus}: this recipe is started by `{made.command}`, which says how many take part"
        )
    if settings.get(made.text, "use_cpu") == "true":
        raise ValueError(f"--gpus {wish.gpus}: this recipe trains on the CPU; add --set use_cpu=false --set bf16=true")
    rows = number(made.text, "per_device_train_batch_size", 8)
    if made.rows % (rows * wish.gpus):
        fitting = [str(n) for n in range(1, made.rows // rows + 1) if made.rows % (rows * n) == 0]
        raise ValueError(
            f"--gpus {wish.gpus}: {made.rows} rows a step, {rows} at a time, do not divide among {wish.gpus}; numbers "
            f"that do: {', '.join(fitting) or f'none with {rows} at a time'}"
        )
    new = made.rows // (rows * wish.gpus)
    made.text = settings.put(made.text, "gradient_accumulation_steps", str(new), "per_device_train_batch_size")
    made.notes.append(f"{made.rows} rows a step as in the recipe: {wish.gpus} GPUs x {rows} x {new} accumulated")


def _deepspeed(made: Tailored, wish: Wish) -> None:
    """ZeRO's file beside the recipe, and how it is started."""
    zero = settings.get(made.text, "deepspeed")
    several = (wish.gpus or 1) > 1
    if zero in (None, "null") and several and settings.get(made.text, "finetuning_type") == "full":
        zero = ZERO
        made.notes.append("deepspeed: ZeRO-2 splits gradients and optimizer among the GPUs")
    if zero and zero.startswith("examples/"):
        beside = wish.file.parent / Path(zero).name
        made.copies[zero] = beside
        made.text = settings.put(made.text, "deepspeed", settings.word(str(beside)), "finetuning_type")
    if wish.gpus is not None:
        torchrun = f"FORCE_TORCHRUN=1 NPROC_PER_NODE={wish.gpus} " * (several or zero not in (None, "null"))
        made.command = f"{torchrun}llamafactory-cli train {shlex.quote(str(wish.file))}"


def _topic(topic: str, lines: str, command: str, wish: Wish) -> str | None:
    """A topic of the header as it holds of the copy; None for what holds of the original alone."""
    if topic == "Command":
        return f"# Command: {command}\n"
    other = wish.model is not None or wish.gpus is not None
    gone = {"Launch": other, "GPUs": other, "Data": wish.dataset is not None}
    return None if gone.get(topic) else lines
