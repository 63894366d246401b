# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Both paths of a recipe side by side, as text or JSON. `estimate()` is what the command calls."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .advice import advise
from .flops import step_flops
from .memory import GIB, RESERVE, Memory, largest_batch, step_memory
from .shapes import LLAMAFACTORY, Lengths, Model, Path, Setup

TYPICAL_GPUS = (24.0, 48.0, 80.0, 140.0)
CAVEAT = (
    "Arithmetic, not a measurement: FLOPs agree with torch's counter on small models on a CPU; no memory figure was "
    "compared with a GPU. Left out: CUDA context, kernels' workspaces, communication, fragmentation "
    f"({RESERVE // GIB} GiB are set aside for them)."
)


@dataclass(frozen=True)
class Column:
    """One path and the setup it runs under: its FLOPs a micro-batch, its memory, and the largest micro-batches.

    `largest`: for each size of a GPU in GiB.
    """

    title: str
    path: Path
    setup: Setup
    flops: dict[str, float]
    memory: Memory
    largest: dict[float, int]


@dataclass(frozen=True)
class Estimate:
    """Everything the report says. `mean` gives FLOPs, `longest` gives memory."""

    model: Model
    setup: Setup
    mean: Lengths
    longest: Lengths
    columns: list[Column]
    notes: list[str]
    advice: list[str]

    def as_dict(self) -> dict[str, Any]:
        parts = {name: {"params": part.params, "trained": part.trained} for name, part in self.model.parts.items()}
        return {
            "model": self.model.name,
            "parameters": {"all": self.model.params, "trained": self.model.trained, "parts": parts},
            "setup": asdict(self.setup),
            "lengths": {"mean": asdict(self.mean), "longest": asdict(self.longest)},
            "paths": [
                {
                    "path": column.title,
                    "reference": column.setup.reference,
                    "speedups": [name for name, on in asdict(column.path).items() if on],
                    "flops": {**column.flops, "total": sum(column.flops.values())},
                    "bytes": {**asdict(column.memory), "peak": column.memory.peak},
                    "largest_micro_batch": {f"{size:g}": batch for size, batch in column.largest.items()},
                }
                for column in self.columns
            ],
            "notes": [*self.notes, CAVEAT],
            "advice": self.advice,
        }

    def as_text(self) -> str:
        return "\n\n".join(
            ["\n".join(self._head()), "\n".join(self._flops()), "\n".join(self._memory()), "\n".join(self._tail())]
        )

    def _head(self) -> list[str]:
        model, setup = self.model, self.setup
        how = "LoRA or OFT" if setup.adapters else "full or partial"
        zero = "no DeepSpeed" if setup.zero is None else f"ZeRO-{setup.zero}"
        count = f"{model.params / 1e9:.2f} B" if model.params > 1e8 else f"{model.params / 1e6:.1f} M"
        lines = [
            f"{model.name}: {count} parameters, {model.trained / 1e6:,.1f} M of them train ({how})",
            f"stage {setup.stage}, micro-batch {setup.batch} x accumulation {setup.accumulation} x {setup.world_size} "
            f"GPU{'s' * (setup.world_size > 1)}, {zero}, checkpointing {'on' if setup.checkpointing else 'off'}, "
            f"reference: {setup.reference}{', on disk for Resonance' * setup.reference_on_disk}",
        ]
        both = (
            (("lengths", self.mean),)
            if self.mean == self.longest
            else (("FLOPs", self.mean), ("memory", self.longest))
        )
        for use, lengths in both:
            images = f"{lengths.images} x {lengths.image_tokens} image" if lengths.images else "no image"
            lines.append(
                f"{use + ':':<9}{images} + {lengths.text} text + {lengths.response} response tokens ({lengths.source})"
            )
        return lines

    def _flops(self) -> list[str]:
        totals = [sum(column.flops.values()) for column in self.columns]
        unit, size = ("TFLOP", 1e12) if max(totals) > 1e11 else ("GFLOP", 1e9)
        lines = [self._title(f"{unit} a micro-batch")]
        for part in self.columns[0].flops:
            lines.append(self._row(part, [f"{column.flops[part] / size:.2f}" for column in self.columns]))
        lines.append(self._row("total", [f"{total / size:.2f}" for total in totals]))
        if len(totals) > 1:
            lines.append(self._row("", ["", f"{totals[0] / totals[1]:.2f} times less"]))
        steps = [f"{total * self.setup.accumulation / size:.1f}" for total in totals]
        return [*lines, self._row("an optimizer step, a GPU", steps)]

    def _memory(self) -> list[str]:
        unit, scale = ("GiB", GIB) if max(column.memory.peak for column in self.columns) > GIB else ("MiB", 2**20)
        lines = [self._title(f"{unit} on a GPU")]
        for kind in ("fixed", "kept", "passing"):
            for part in getattr(self.columns[0].memory, kind):
                values = [getattr(column.memory, kind)[part] for column in self.columns]
                star = " *" if kind == "passing" else ""
                lines.append(self._row(part + star, [f"{value / scale:.2f}" for value in values]))
        lines.append(self._row("peak", [f"{column.memory.peak / scale:.2f}" for column in self.columns]))
        lines.append("  * not at the same time: the larger one counts")
        for size in self.columns[0].largest:
            values = [str(column.largest[size] or "none fits") for column in self.columns]
            lines.append(self._row(f"largest micro-batch, {size:g} GiB", values))
        return lines

    def _tail(self) -> list[str]:
        lines = [*(f"note: {note}" for note in self.notes), *(f"-> {text}" for text in self.advice), CAVEAT]
        return lines

    def _title(self, text: str) -> str:
        return self._row(text, [column.title for column in self.columns], indent="")

    @staticmethod
    def _row(name: str, values: list[str], indent: str = "  ") -> str:
        return (f"{indent + name:<32}" + "".join(f"{value:>18}" for value in values)).rstrip()


def estimate(
    counted: tuple[Model, Setup],
    lengths: tuple[Lengths, Lengths],
    ours: Path,
    gpu: float | None,
    notes: list[str],
    runs_here: bool,
) -> Estimate:
    """Computes both columns.

    Args:
        counted: model and setup.
        lengths: of the mean and of the longest row.
        ours: the speed-ups Resonance's trainer may use; without any, and without a reference on disk, there is only
            LlamaFactory's column.
        gpu: GiB of the GPU; None for a table of usual sizes.
        notes: what the numbers leave out.
        runs_here: whether Resonance's trainer runs the recipe as it stands.
    """
    model, setup = counted
    mean, longest = lengths
    paths: dict[str, tuple[Path, Setup]] = {"LlamaFactory": (LLAMAFACTORY, setup)}
    differs = ours.any or setup.reference_on_disk
    if differs:
        paths["Resonance"] = ours, setup.on_resonance
    sizes = TYPICAL_GPUS if gpu is None else (gpu,)
    columns = [
        Column(
            title,
            path,
            how,
            step_flops(model, how, mean, path),
            step_memory(model, how, longest, path),
            {size: largest_batch(model, how, longest, path, size * GIB) for size in sizes},
        )
        for title, (path, how) in paths.items()
    ]
    advice = advise(model, columns[-1].setup, longest, columns[-1].path, gpu)
    if differs and not runs_here:
        advice.insert(0, "pref_engine: resonance runs this recipe on the right column's path; LlamaFactory's does now")
    return Estimate(model, setup, mean, longest, columns, notes, advice)
