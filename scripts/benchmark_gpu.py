# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO steps of LlamaFactory and of Resonance at the real size of Qwen2-VL-2B, with random weights, on one GPU.

    python scripts/benchmark_gpu.py --json gpu.json          # under 8 minutes on an H200, no downloads
    python scripts/benchmark_gpu.py --shrink --json cpu.json  # the same protocol on a CPU in a minute, a tiny model

Cells are workload x micro-batch x variant. A cell that runs out of memory is a result and is recorded as one; a cell
for which no time was left is recorded, too. Beside the time of each cell stand the FLOPs and the peak memory that
`resonance estimate` gives for it, so that a run on a GPU checks the estimate. The optimizer step is not timed.

Before the cells, `parity` compares loss and gradient of both trainers in float32, and in bfloat16 the error of each
against the float32 run: batching sums in another order, so that bfloat16 results differ by rounding in any case.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12}  # dense bfloat16
TEXT = 100
LADDER = ("frozen_tower", "response_head", "vision_once", "shared_prefix")


@dataclass(frozen=True)
class Protocol:
    """What is run. `workloads`: height and width of a picture in visual tokens, and the tokens of a response."""

    text: dict[str, Any]
    vision: dict[str, Any]
    workloads: tuple[tuple[int, int, int], ...]
    batches: tuple[int, ...]
    warm_up: int
    steps: int
    most: int  # where the search for the largest micro-batch ends


REAL = Protocol(
    text=dict(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    ),
    vision=dict(depth=32, embed_dim=1280, hidden_size=1536, num_heads=16, mlp_ratio=4),
    workloads=((15, 22, 100), (24, 24, 200), (36, 36, 50)),  # the first is LlamaFactory's own example
    batches=(1, 4, 8),
    warm_up=3,
    steps=8,
    most=256,
)
SHRUNKEN = Protocol(
    text=dict(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
    ),
    vision=dict(depth=2, embed_dim=64, hidden_size=64, num_heads=4, mlp_ratio=2),
    workloads=((3, 5, 10), (4, 4, 20)),
    batches=(1, 2),
    warm_up=1,
    steps=2,
    most=4,
)


@dataclass
class Cell:
    """One cell. `outcome`: ok, out of memory, or no time left. Bytes and FLOPs of `estimate_*` are arithmetic."""

    mode: str
    visual: int
    response: int
    batch: int
    variant: str
    outcome: str
    ms: float | None = None
    host_ms: float | None = None  # until the last kernel was launched
    pairs_per_second: float | None = None
    peak_gib: float | None = None
    kernels: int | None = None
    estimate_tflop: float | None = None
    estimate_peak_gib: float | None = None
    flops_of_peak: float | None = None  # estimated FLOPs over time, as a share of the GPU's dense bfloat16


class Bench:
    """One way of training at one precision: a model, its reference and both trainers."""

    def __init__(self, protocol: Protocol, mode: str, device: str, half: bool = True) -> None:
        import torch
        from llamafactory.hparams import FinetuningArguments, ModelArguments
        from llamafactory.model.adapter import init_adapter
        from llamafactory.model.model_utils.checkpointing import prepare_model_for_training

        self.protocol, self.mode, self.device, self.half = protocol, mode, device, half
        self.config = make_config(protocol)
        model_args = ModelArguments(model_name_or_path="random")
        args = FinetuningArguments(stage="dpo", finetuning_type=mode, lora_rank=8)
        model = make_model(self.config, device)
        if not half:
            model.float()
        torch.manual_seed(1)
        reference = None if mode == "lora" else copy.deepcopy(model).requires_grad_(False).eval()
        prepare_model_for_training(model, model_args)
        self.base = model
        self.model = init_adapter(self.config, model, model_args, args, is_trainable=True).train()
        generator = torch.Generator(device).manual_seed(1)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and (mode == "full" or "lora_B" in name):
                parameter.data.add_(torch.randn(parameter.shape, device=device, generator=generator) * 0.002)
        self.theirs, self.ours = self._trainers(reference)
        self.model = self.theirs.accelerator.prepare_model(self.model)  # autocast, as in a run

    def _trainers(self, reference: Any) -> tuple[Any, Any]:
        from llamafactory.hparams import FinetuningArguments, TrainingArguments
        from llamafactory.train.dpo.trainer import CustomDPOTrainer

        from resonance.training.preference import PreferenceTrainer

        cpu = self.device == "cpu"
        common: dict[str, Any] = dict(stage="dpo", finetuning_type=self.mode)
        recipes = FinetuningArguments(**common), FinetuningArguments(**common, pref_engine="resonance")
        with tempfile.TemporaryDirectory() as folder:
            args = TrainingArguments(
                output_dir=folder, use_cpu=cpu, bf16=self.half, report_to="none", remove_unused_columns=False
            )
            shared = dict(args=args, tokenizer=None, data_collator=lambda rows: rows, train_dataset=[{}])
            theirs, ours = (
                make(model=self.model, ref_model=reference, finetuning_args=recipe, processor=None, **shared)
                for make, recipe in zip((CustomDPOTrainer, PreferenceTrainer), recipes, strict=True)
            )
        return theirs, ours

    def step(self, variant: str, batch: dict[str, Any]) -> Callable[[], Any]:
        """A function that does one forward and gives the loss. `variant`: llamafactory, or speed-ups joined by +."""
        from resonance.forward.call import Forward

        if variant == "llamafactory":
            return lambda: self.theirs.get_batch_loss_metrics(self.model, dict(batch))[0]
        forward = Forward(speedups_of(variant))

        def run() -> Any:
            self.ours.forward = forward
            return self.ours.get_batch_loss_metrics(self.model, dict(batch))[0]

        return run

    def chosen(self, batch: dict[str, Any]) -> list[str]:
        """What `pref_speedups: auto` decides on."""
        self.ours.forward = None
        self.ours.prepare_batch(self.model, batch)
        return sorted(self.ours.forward.on)

    @contextmanager
    def checkpointing(self, on: bool) -> Iterator[None]:
        if on:
            yield
            return
        self.base.gradient_checkpointing_disable()
        try:
            yield
        finally:
            self.base.gradient_checkpointing_enable({"use_reentrant": True})

    def estimate(self, work: tuple[int, int, int], batch: int, variant: str) -> tuple[float, float]:
        """(FLOPs, peak bytes) by `resonance estimate`'s arithmetic; the optimizer's states are not on the device."""
        from resonance.checks.estimate.flops import step_flops
        from resonance.checks.estimate.memory import step_memory
        from resonance.checks.estimate.model import count
        from resonance.checks.estimate.shapes import Lengths, Path, Setup

        height, width, response = work
        lora, checkpointing = self.mode == "lora", not variant.endswith(NO_CHECKPOINTING)
        setup = Setup(
            stage="dpo",
            adapters=lora,
            reference="adapter off" if lora else "copy",
            checkpointing=checkpointing,
            tower_graph=lora,
            autocast=True,
            compute_bytes=2,
            zero=None,
            offload_optimizer=False,
            offload_weights=False,
            optimizer_bytes=0,
            world_size=1,
            batch=batch,
            accumulation=1,
        )
        plain = 2.0 * sum(p.numel() for p in self.base.parameters() if self.mode == "full")
        model = count(self.model, self.config, SimpleNamespace(quantization_bit=None), plain)
        path = Path(**dict.fromkeys(speedups_of(variant), True))
        lengths = Lengths(TEXT + 2, 1, height * width, response)
        return sum(step_flops(model, setup, lengths, path).values()), step_memory(model, setup, lengths, path).peak


NO_CHECKPOINTING = ", no checkpointing"
ALL = "+".join(LADDER)
VARIANTS = {
    "lora": ("llamafactory", ALL, *("+".join(LADDER[:n]) for n in (1, 2, 3)), ALL + NO_CHECKPOINTING),
    "full": ("llamafactory", ALL),
}


def speedups_of(variant: str) -> tuple[str, ...]:
    names = variant.removesuffix(NO_CHECKPOINTING)
    return () if names == "llamafactory" else tuple(names.split("+"))


def make_config(protocol: Protocol) -> Any:
    from transformers import Qwen2VLConfig

    text = dict(protocol.text, bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=True)
    tokens = dict(image_token_id=10, video_token_id=11, vision_start_token_id=12, vision_end_token_id=13)
    return Qwen2VLConfig(text_config=text, vision_config=protocol.vision, tie_word_embeddings=True, **tokens)


def make_model(config: Any, device: str) -> Any:
    """Random bfloat16 weights, made on the device."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    torch.manual_seed(0)
    with torch.device(device):
        return Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16)


def make_batch(model: Any, work: tuple[int, int, int], pairs: int, device: str) -> dict[str, Any]:
    """Pairs as LlamaFactory's collator makes them, all of one length: a picture, a question, two answers."""
    import torch

    height, width, response = work
    generator = torch.Generator().manual_seed(7)
    vocabulary = model.config.get_text_config().vocab_size

    def text(count: int) -> Any:
        return torch.randint(100, vocabulary, (count,), generator=generator)

    picture = torch.full((height * width,), 10)
    prompts = [
        torch.cat([text(4), torch.tensor([12]), picture, torch.tensor([13]), text(TEXT - 4)]) for _ in range(pairs)
    ]
    ids = torch.stack([torch.cat([prompt, text(response)]) for _ in range(2) for prompt in prompts])
    length = ids.shape[1]
    ids = torch.nn.functional.pad(ids, (0, -length % 8), value=2)
    place = torch.arange(ids.shape[1])
    mask = (place < length).long().expand(len(ids), -1).contiguous()
    labels = torch.where((mask == 1) & (place >= length - response), ids, -100)
    grid = torch.tensor([[1, 2 * height, 2 * width]] * len(ids))
    positions, _ = model.model.get_rope_index(
        ids, image_grid_thw=grid, mm_token_type_ids=(ids == 10).int(), attention_mask=mask
    )
    pixels = torch.randn(pairs * 4 * height * width, 1176, generator=generator).repeat(2, 1)
    batch = dict(input_ids=ids, attention_mask=mask, labels=labels, pixel_values=pixels, image_grid_thw=grid)
    batch["position_ids"] = torch.cat([positions[:1], positions])
    return {name: value.to(device) for name, value in batch.items()}


def run_cell(bench: Bench, work: tuple[int, int, int], pairs: int, variant: str, profile: bool = False) -> Cell:
    """Times one cell; running out of memory is an outcome."""
    import torch

    free(bench)  # here and not after an error: while that is handled, its traceback holds on to tensors
    cell = Cell(bench.mode, work[0] * work[1], work[2], pairs, variant, "ok")
    flops, peak = bench.estimate(work, pairs, variant)
    cell.estimate_tflop, cell.estimate_peak_gib = flops / 1e12, peak / 2**30
    cuda = bench.device == "cuda"
    try:
        with bench.checkpointing(not variant.endswith(NO_CHECKPOINTING)):
            batch = make_batch(bench.base, work, pairs, bench.device)
            step = bench.step(variant, batch)
            timed = [one_step(bench, step) for _ in range(bench.protocol.warm_up + bench.protocol.steps)]
            if profile and cuda:
                cell.kernels = count_kernels(lambda: one_step(bench, step))
    except torch.cuda.OutOfMemoryError:
        cell.outcome = "out of memory"
        return cell
    times = timed[bench.protocol.warm_up :]
    cell.ms, cell.host_ms = (statistics.median(values) for values in zip(*[t[:2] for t in times], strict=True))
    cell.pairs_per_second = 1000 * pairs / cell.ms
    if cuda:
        cell.peak_gib = max(t[2] for t in times) / 2**30
        peak_flops = next((f for name, f in PEAK_FLOPS.items() if name in torch.cuda.get_device_name()), None)
        cell.flops_of_peak = flops / (cell.ms / 1000) / peak_flops if peak_flops else None
    return cell


def one_step(bench: Bench, step: Callable[[], Any]) -> tuple[float, float, int]:
    """Forward and backward: (ms in all, ms until everything was launched, peak bytes)."""
    import torch

    cuda = bench.device == "cuda"
    bench.model.zero_grad(set_to_none=True)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step().backward()
    launched = time.perf_counter()
    if cuda:
        torch.cuda.synchronize()
    done = time.perf_counter()
    return 1000 * (done - start), 1000 * (launched - start), torch.cuda.max_memory_allocated() if cuda else 0


def count_kernels(step: Callable[[], Any]) -> int:
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
    return sum(event.device_type == DeviceType.CUDA for event in found.events())


def free(bench: Bench) -> None:
    import torch

    bench.model.zero_grad(set_to_none=True)
    gc.collect()
    if bench.device == "cuda":
        torch.cuda.empty_cache()


def cells(bench: Bench, deadline: float) -> Iterator[Cell]:
    """Every cell of one way of training: both ends of the ladder for all sizes first, then what lies between."""
    order = VARIANTS[bench.mode]
    for variants in (order[:2], order[2:]):
        for work in bench.protocol.workloads:
            for pairs in bench.protocol.batches:
                for variant in variants:
                    if time.monotonic() > deadline:
                        yield Cell(bench.mode, work[0] * work[1], work[2], pairs, variant, "no time left")
                    else:
                        yield run_cell(bench, work, pairs, variant, profile=pairs == 1)


def largest(bench: Bench, work: tuple[int, int, int], variant: str, deadline: float) -> dict[str, Any]:
    """The largest micro-batch by doubling: the last that ran. `ended_by`: what the next one met."""
    import torch

    found, pairs, ended = 0, 1, "end of the search"
    while pairs <= bench.protocol.most:
        if time.monotonic() > deadline:
            ended = "no time left"
            break
        free(bench)
        try:
            batch = make_batch(bench.base, work, pairs, bench.device)
            one_step(bench, bench.step(variant, batch))
        except torch.cuda.OutOfMemoryError:
            ended = "out of memory"
            break
        found, pairs = pairs, 2 * pairs
    return {"variant": variant, "visual": work[0] * work[1], "response": work[2], "pairs": found, "ended_by": ended}


def parity(protocol: Protocol, device: str) -> dict[str, float]:
    """Loss and gradient in float32, ours against LlamaFactory's; in bfloat16, each against LlamaFactory's float32."""
    import torch

    exact: dict[str, Any] = {}
    results: dict[str, float] = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    for half in (False, True):
        bench = Bench(protocol, "lora", device, half)
        batch = make_batch(bench.base, protocol.workloads[0], 1, device)
        for name, variant in (("llamafactory", "llamafactory"), ("ours", ALL)):
            bench.model.zero_grad(set_to_none=True)
            loss = bench.step(variant, batch)()
            loss.backward()
            gradients = {n: p.grad.float() for n, p in bench.model.named_parameters() if p.grad is not None}
            if not exact:
                exact = {"loss": loss.item(), "gradients": gradients}
                continue
            squares = [(gradients[n] - g).square().sum() for n, g in exact["gradients"].items()]
            norm = torch.stack([g.square().sum() for g in exact["gradients"].values()]).sum().sqrt()
            kind = "bfloat16" if half else "float32"
            results[f"{kind} {name} dloss"] = abs(loss.item() - exact["loss"])
            results[f"{kind} {name} dgrad_rel"] = float(torch.stack(squares).sum().sqrt() / norm)
        del bench
        gc.collect()
    return results


def show(cell: Cell) -> None:
    names = cell.variant.replace(ALL, "all")
    label = f"{cell.mode} {cell.visual:5d}/{cell.response:<4d} B={cell.batch:<2d} {names:42s}"
    if cell.outcome != "ok":
        print(label, cell.outcome, flush=True)
        return
    memory = "" if cell.peak_gib is None else f"  peak {cell.peak_gib:.1f} GiB (estimate {cell.estimate_peak_gib:.1f})"
    times = f"{cell.ms:8.1f} ms (host {cell.host_ms:.1f}) {cell.pairs_per_second:7.2f} pairs/s"
    print(label, times + memory, flush=True)


def run(protocol: Protocol, device: str, minutes: float) -> dict[str, Any]:
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    started = time.monotonic()
    deadline = started + 60 * minutes
    name = (
        torch.cuda.get_device_name() if device == "cuda" else "CPU, shrunken: proves the protocol, says nothing else"
    )
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "parity": parity(protocol, device)}
    for key, value in report["parity"].items():
        print(f"parity {key}: {value:.1e}", flush=True)
    found: list[Cell] = []
    report["largest"] = []
    for mode in VARIANTS:
        bench = Bench(protocol, mode, device)
        if mode == "lora":
            report["auto"] = bench.chosen(make_batch(bench.base, protocol.workloads[0], 1, device))
            print(f"pref_speedups: auto uses {', '.join(report['auto']) or 'nothing'}", flush=True)
        share = deadline - 60 * minutes * (0.3 if mode == "lora" else 0.12)
        for cell in cells(bench, share):
            found.append(cell)
            show(cell)
        for variant in VARIANTS[mode][:2]:
            most = largest(bench, protocol.workloads[0], variant, deadline - 60 * minutes * 0.05)
            report["largest"].append({"mode": mode, **most})
            print(f"{mode} largest micro-batch, {variant}: {most['pairs']} ({most['ended_by']})", flush=True)
        del bench
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    return report | {"cells": [asdict(cell) for cell in found], "seconds": time.monotonic() - started}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--shrink", action="store_true", help="a tiny model on the CPU, to see that the protocol runs")
    parser.add_argument("--minutes", type=float, default=7.5, help="no cell is begun after this time")
    args = parser.parse_args()
    import torch

    if not args.shrink and not torch.cuda.is_available():
        print("benchmark_gpu: no CUDA device here. Next: benchmark_gpu.py --shrink", file=sys.stderr)
        return 2
    if args.shrink:
        torch.set_num_threads(1)
    report = run(*((SHRUNKEN, "cpu") if args.shrink else (REAL, "cuda")), args.minutes)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [name for name, value in report["parity"].items() if name.startswith("float32") and not value <= 1e-4]
    if wrong:
        print(f"benchmark_gpu: not LlamaFactory's loss or gradient in float32: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
