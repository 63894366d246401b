# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Both paths of a recipe side by side, as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...datafiles.text import count
from .memory import GIB, RESERVE, Memory
from .shapes import Model, Setup, Speedups, Workload

CAVEAT = (
    "Arithmetic. FLOPs agree with torch's counter on small models on a CPU. Memory is within 10 % of peaks measured "
    "on 2026-11-26 on one H100 80GB, torch 2.11: DPO steps, without an optimizer, of Qwen2-VL 2B (LoRA, full) "
    "and 7B (LoRA), random weights, bfloat16 autocast, 1 to 8 pairs. Left out: CUDA context, kernels' workspaces, "
    f"communication, fragmentation, the optimizer's own work ({RESERVE // GIB} GiB are set aside for them)."
)


@dataclass(frozen=True)
class Column:
    """One path and the setup it runs under: its FLOPs a micro-batch, its memory, and the largest micro-batches.

    `largest`: for each size of a GPU in GiB.
    """

    title: str
    on: Speedups
    setup: Setup
    flops: dict[str, float]
    memory: Memory
    largest: dict[float, int]

    @property
    def total(self) -> float:
        return sum(self.flops.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.title,
            "reference": self.setup.reference,
            "speedups": [name for name, on in asdict(self.on).items() if on],
            "flops": {**self.flops, "total": self.total},
            "bytes": {**asdict(self.memory), "peak": self.memory.peak},
            "largest_micro_batch": {f"{size:g}": batch for size, batch in self.largest.items()},
        }


@dataclass(frozen=True)
class Estimate:
    """All that is printed. FLOPs are those of the `mean` row, memory is that of the `longest`."""

    model: Model
    setup: Setup
    mean: Workload
    longest: Workload
    columns: list[Column]
    notes: list[str]
    advice: list[str]

    def as_dict(self) -> dict[str, Any]:
        parts = {name: {"params": part.params, "trained": part.trained} for name, part in self.model.parts.items()}
        totals = {"all": self.model.total("params"), "trained": self.model.total("trained")}
        return {
            "model": self.model.name,
            "parameters": {**totals, "parts": parts},
            "setup": asdict(self.setup),
            "lengths": {"mean": asdict(self.mean), "longest": asdict(self.longest)},
            "paths": [column.as_dict() for column in self.columns],
            "notes": [*self.notes, CAVEAT],
            "advice": self.advice,
        }

    def as_text(self) -> str:
        tail = [*(f"note: {note}" for note in self.notes), *(f"-> {text}" for text in self.advice), CAVEAT]
        return "\n\n".join("\n".join(lines) for lines in (self._head(), self._flops(), self._memory(), tail))

    def _head(self) -> Iterator[str]:
        setup, params, trained = self.setup, self.model.total("params"), self.model.total("trained")
        size = f"{params / 1e9:.2f} B" if params > 1e8 else f"{params / 1e6:.1f} M"
        how = "LoRA or OFT" if setup.adapters else "full or partial"
        yield f"{self.model.name}: {size} parameters, {trained / 1e6:,.1f} M of them train ({how})"
        yield (
            f"stage {setup.stage}, micro-batch {setup.batch} x accumulation {setup.accumulation} x "
            f"{count(setup.world_size, 'GPU')}, {'no DeepSpeed' if setup.zero is None else f'ZeRO-{setup.zero}'}, "
            f"checkpointing {'on' if setup.checkpointing else 'off'}, "
            f"reference: {setup.reference}{', on disk for Resonance' * setup.reference_on_disk}"
        )
        uses = {"FLOPs": self.mean, "memory": self.longest}
        for use, work in ({"lengths": self.mean} if self.mean == self.longest else uses).items():
            images = f"{work.images} x {work.image_tokens} image" if work.images else "no image"
            yield f"{use + ':':<9}{images} + {work.text} text + {work.response} response tokens ({work.source})"

    def _flops(self) -> Iterator[str]:
        totals = [column.total for column in self.columns]
        unit, size = ("TFLOP", 1e12) if max(totals) > 1e11 else ("GFLOP", 1e9)
        yield _row(f"{unit} a micro-batch", [column.title for column in self.columns])
        for part in self.columns[0].flops:
            yield _row(f"  {part}", [f"{column.flops[part] / size:.2f}" for column in self.columns])
        yield _row("  total", [f"{total / size:.2f}" for total in totals])
        if len(totals) > 1:
            yield _row("", ["", f"{totals[0] / totals[1]:.2f} times less"])
        yield _row("  an optimizer step, a GPU", [f"{total * self.setup.accumulation / size:.1f}" for total in totals])

    def _memory(self) -> Iterator[str]:
        memories = [column.memory for column in self.columns]
        unit, size = ("GiB", GIB) if max(memory.peak for memory in memories) > GIB else ("MiB", 2**20)
        yield _row(f"{unit} on a GPU", [column.title for column in self.columns])
        for part in memories[0].fixed:
            yield _row(f"  {part}", [f"{memory.fixed[part] / size:.2f}" for memory in memories])
        for part in memories[0].passing:
            if any(memory.passing[part] for memory in memories):
                yield _row(f"  {part} *", [f"{memory.passing[part] / size:.2f}" for memory in memories])
        yield _row("  peak", [f"{memory.peak / size:.2f}" for memory in memories])
        yield "  * not all at the same time"
        for gpu in self.columns[0].largest:
            largest = [str(column.largest[gpu] or "none fits") for column in self.columns]
            yield _row(f"  largest micro-batch, {gpu:g} GiB", largest)


def _row(name: str, values: list[str]) -> str:
    return (f"{name:<32}" + "".join(f"{value:>18}" for value in values)).rstrip()
