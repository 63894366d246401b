# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One DPO step of LlamaFactory's trainer and of ours on a small random Qwen2-VL: time, FLOPs, memory, difference.

    python scripts/benchmark_dpo_step.py --ratio 2b --mode lora --json rows.json

The model is small, but its parts cost relative to each other what those of a 2B or a 7B model cost: output head to
language model, vision tower to language model a visual token, prompt to response. One thread, process time, the
variants in turn. A row without a small `dloss` and `dgrad_rel` would mean nothing; the script fails if either is above
1e-5. What this does not show is in docs/performance.md.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMIT = 1e-5
STOP_LADDER = 24.0  # seconds of wall time after which no further row is begun
TEXT, RESPONSE = 64, 64
GRID = (1, 32, 32)  # patches of a picture; four make a visual token
SHAPES = {
    "2b": dict(hidden=384, layers=6, heads=6, mlp=1536, vocabulary=6144, tower=256, blocks=8),
    "7b": dict(hidden=512, layers=6, heads=8, mlp=2048, vocabulary=3840, tower=192, blocks=4),
}


@dataclass
class Row:
    """One variant. Process seconds (the best of its steps), billions of FLOPs, MB above the resting process."""

    variant: str
    seconds: float
    gflops: float
    peak_mb: float | None
    dloss: float
    dgrad_rel: float


def build(ratio: str, mode: str) -> tuple[Any, Any]:
    """Policy and reference as LlamaFactory makes them; the policy is a little away from the reference."""
    from types import SimpleNamespace

    import torch
    from llamafactory.model.model_utils.checkpointing import prepare_model_for_training
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    shape = SHAPES[ratio]
    half = shape["hidden"] // shape["heads"] // 2
    sections = [half // 4, (half - half // 4) // 2, half - half // 4 - (half - half // 4) // 2]
    text = dict(vocab_size=shape["vocabulary"], hidden_size=shape["hidden"], intermediate_size=shape["mlp"])
    text |= dict(num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=2)
    text |= dict(rope_parameters={"rope_type": "default", "mrope_section": sections, "rope_theta": 1e6})
    text |= dict(bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=False)
    vision = dict(depth=shape["blocks"], embed_dim=shape["tower"], hidden_size=shape["hidden"], num_heads=4)
    tokens = dict(image_token_id=10, video_token_id=11, vision_start_token_id=12, vision_end_token_id=13)
    torch.manual_seed(0)
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **tokens)
    model = Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    options = dict(upcast_layernorm=False, disable_gradient_checkpointing=False, use_unsloth_gc=False)
    prepare_model_for_training(model, SimpleNamespace(**options, use_reentrant_gc=True, upcast_lmhead_output=False))
    generator = torch.Generator().manual_seed(1)
    if mode == "lora":
        names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" in n]
        model = get_peft_model(model, LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.02, generator=generator)
        return model.train(), None
    reference = copy.deepcopy(model).requires_grad_(False).eval()
    for name, parameter in model.named_parameters():
        if "visual." in name:
            parameter.requires_grad_(False)  # LlamaFactory's default, freeze_vision_tower: true
        else:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.002)
    return model.train(), reference


def make_batch(model: Any, vocabulary: int) -> dict[str, Any]:
    """One pair as LlamaFactory's collator makes it: a picture, a question, two answers."""
    import torch

    generator = torch.Generator().manual_seed(7)
    visual = GRID[1] * GRID[2] // 4

    def text(count: int) -> torch.Tensor:
        return torch.randint(100, vocabulary, (count,), generator=generator)

    prompt = torch.cat([text(4), torch.tensor([12]), torch.full((visual,), 10), torch.tensor([13]), text(TEXT)])
    ids = torch.stack([torch.cat([prompt, text(RESPONSE)]) for _ in range(2)])
    ids = torch.nn.functional.pad(ids, (0, -ids.shape[1] % 8), value=2)
    mask = (torch.arange(ids.shape[1]) < len(prompt) + RESPONSE).long().expand(2, -1).contiguous()
    labels = torch.where((mask == 1) & (torch.arange(ids.shape[1]) >= len(prompt)), ids, -100)
    grid = torch.tensor([GRID] * 2)
    base = model.base_model.model if hasattr(model, "peft_config") else model
    positions, _ = base.model.get_rope_index(
        ids, image_grid_thw=grid, mm_token_type_ids=(ids == 10).int(), attention_mask=mask
    )
    pixels = torch.randn(GRID[1] * GRID[2], 1176, generator=generator).repeat(2, 1)
    return dict(
        input_ids=ids,
        attention_mask=mask,
        labels=labels,
        position_ids=torch.cat([positions[:1], positions]),
        pixel_values=pixels,
        image_grid_thw=grid,
    )


def make_trainers(model: Any, reference: Any, folder: str) -> tuple[Any, Any]:
    """LlamaFactory's DPO trainer and ours, built by their own constructors."""
    from llamafactory.hparams import FinetuningArguments, TrainingArguments
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    from resonance.training.preference import PreferenceTrainer

    args = TrainingArguments(output_dir=folder, use_cpu=True, report_to="none", remove_unused_columns=False)
    recipes = FinetuningArguments(stage="dpo"), FinetuningArguments(stage="dpo", pref_engine="resonance")
    shared = dict(args=args, tokenizer=None, data_collator=lambda rows: rows, train_dataset=[{}])
    return tuple(
        make(model=model, ref_model=reference, finetuning_args=recipe, processor=None, **shared)
        for make, recipe in zip((CustomDPOTrainer, PreferenceTrainer), recipes, strict=True)
    )


class Bench:
    """Steps of several variants on one batch, all compared with the first variant's loss and gradient."""

    def __init__(self, model: Any, steps: dict[str, Callable[[], Any]]) -> None:
        self.model, self.steps = model, steps
        self.rows: dict[str, Row] = {}
        self.loss: float | None = None
        self.gradients: dict[str, Any] = {}

    def count(self, variant: str) -> None:
        """A first step, which warms up: its FLOPs, loss and gradient."""
        from torch.utils.flop_counter import FlopCounterMode

        self.model.zero_grad()
        with FlopCounterMode(display=False) as counter:
            loss = self.steps[variant]()
            loss.backward()
        gradients = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
        if self.loss is None:
            self.loss, self.gradients = loss.item(), gradients
        error = sum(float((gradients[n] - g).double().square().sum()) for n, g in self.gradients.items()) ** 0.5
        norm = sum(float(g.double().square().sum()) for g in self.gradients.values()) ** 0.5
        flops = counter.get_total_flops() / 1e9
        difference = abs(loss.item() - self.loss)
        self.rows[variant] = Row(variant, float("inf"), flops, None, difference, error / norm)

    def weigh(self, variant: str) -> None:
        """A step whose memory counts."""
        self.model.zero_grad()
        resting = reset_peak()
        self.steps[variant]().backward()
        if resting is not None:
            self.rows[variant].peak_mb = status("VmHWM") - resting

    def time(self, variant: str) -> None:
        self.model.zero_grad()
        start = time.process_time()
        self.steps[variant]().backward()
        self.rows[variant].seconds = min(self.rows[variant].seconds, time.process_time() - start)


def status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def return_memory_at_once(yes: bool) -> bool:
    """Whether glibc gives freed blocks back to the system: the peak is then what is in use, but all is slower.

    Useful from the start of a process only; blocks that were kept once are used again.
    """
    trim, threshold = -1, -3
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(threshold, 1 << 16 if yes else 1 << 25) and libc.mallopt(trim, 0 if yes else 1 << 30))
    except (OSError, AttributeError):
        return False


def reset_peak() -> float | None:
    """Forget the peak of this process's memory; what it holds now in MB, or None where the system does not say."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return status("VmRSS")


def measure(ratio: str, mode: str, repetitions: int, started: float) -> list[Row]:
    import llamafactory.train.dpo.trainer  # noqa: F401  (first, or trl believes that mergekit is installed)
    import torch

    from resonance.forward.call import Forward
    from resonance.forward.names import FROZEN_TOWER, RESPONSE_HEAD, VISION_ONCE

    torch.set_num_threads(1)
    returning = return_memory_at_once(True)
    model, reference = build(ratio, mode)
    batch = make_batch(model, SHAPES[ratio]["vocabulary"])
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = make_trainers(model, reference, folder)

    def theirs_step() -> Any:
        return theirs.get_batch_loss_metrics(model, dict(batch))[0]

    def ours_step(forward: Forward) -> Callable[[], Any]:
        def run() -> Any:
            ours.forward = forward
            return ours.get_batch_loss_metrics(model, dict(batch))[0]

        return run

    ours.prepare_batch(model, batch)  # `auto` decides which speed-ups it uses
    steps = {"llamafactory": theirs_step, "auto": ours_step(ours.forward)}
    ladder: tuple[str, ...] = ()
    for name in (FROZEN_TOWER, RESPONSE_HEAD, VISION_ONCE):
        steps[f"+ {name}" if ladder else name] = ours_step(Forward((*ladder, name)))
        ladder += (name,)
    bench = Bench(model, steps)
    for variant in steps:  # these two first
        if variant in ("llamafactory", "auto") or time.time() - started < STOP_LADDER:
            bench.count(variant)
            if returning:
                bench.weigh(variant)
    return_memory_at_once(False)
    for _ in range(repetitions):
        for variant in ("llamafactory", "auto"):
            bench.time(variant)
    for variant in list(bench.rows)[2:]:
        bench.time(variant)
    first, auto, *between = bench.rows.values()
    return [first, *between, auto]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ratio", choices=sorted(SHAPES), default="2b", help="cost of the parts to each other, as in")
    parser.add_argument("--mode", choices=("lora", "full"), default="lora")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--repetitions", type=int, default=2)
    args = parser.parse_args()
    rows = measure(args.ratio, args.mode, args.repetitions, time.time())
    print(f"{args.ratio} ratio, {args.mode}, one pair")
    for row in rows:
        speed, less = rows[0].seconds / row.seconds, rows[0].gflops / row.gflops
        peak = "      -" if row.peak_mb is None else f"{row.peak_mb:7.0f}"
        print(
            f"{row.variant:16s} {row.seconds:6.2f} s {speed:5.2f}x {row.gflops:8.1f} GFLOP {less:5.2f}x {peak} MB"
            f"  dloss {row.dloss:.0e}  dgrad {row.dgrad_rel:.0e}"
        )
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    wrong = [row.variant for row in rows if not (row.dloss <= LIMIT and row.dgrad_rel <= LIMIT)]
    if wrong:
        print(f"benchmark_dpo_step: not LlamaFactory's loss or gradient: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
    sys.exit(main())
