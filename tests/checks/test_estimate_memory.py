# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The estimate's bytes against tensors counted on a CPU while LlamaFactory's real step, and ours, run."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as tf
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from checks.test_estimate_flops import ALL, SETUP, llamafactory_step, our_step, set_up
from forward import tiny
from resonance.checks.estimate.memory import (
    GIB,
    RESERVE,
    fixed_memory,
    gradient_memory,
    largest_batch,
    layer_saved,
    step_memory,
)
from resonance.checks.estimate.model import count
from resonance.checks.estimate.shapes import LLAMAFACTORY, Decoder, Model, Part, Speedups, Workload

RESPONSE, PATCHES = 100, 256
NOT_QUANTISED = SimpleNamespace(quantization_bit=None)


def text_config(vocabulary: int = 8192, **changes: Any) -> Any:
    shape = dict(hidden_size=64, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4)
    return tf.Qwen2Config(vocab_size=vocabulary, num_key_value_heads=2, pad_token_id=2, **{**shape, **changes})


def vision_config() -> Any:
    text = dict(vocab_size=1024, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4)
    rope = {"rope_type": "default", "mrope_section": [8, 4, 4], "rope_theta": 1e4}
    vision = dict(depth=4, embed_dim=128, hidden_size=128, num_heads=4, mlp_ratio=4)
    tokens = dict(image_token_id=10, video_token_id=11, vision_start_token_id=12, vision_end_token_id=13)
    text |= dict(num_key_value_heads=2, pad_token_id=2, rope_parameters=rope)
    return tf.Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operations make, until they are freed; `peak` is the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            self.add(value, made_here=False)
        output = func(*args, **(kwargs or {}))
        for value in tree_leaves(output):
            self.add(value, made_here=True)
        return output

    def add(self, value: Any, made_here: bool) -> None:
        if not isinstance(value, torch.Tensor):
            return
        storage = value.untyped_storage()
        if storage._cdata in self.sizes:
            return
        self.sizes[storage._cdata] = storage.nbytes() if made_here else 0
        self.now += self.sizes[storage._cdata]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.drop, storage._cdata)

    def drop(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


@pytest.mark.parametrize("path", [LLAMAFACTORY, ALL], ids=["llamafactory", "ours"])
@pytest.mark.parametrize("checkpointing", ["reentrant", "off"])
@pytest.mark.parametrize("mode", ["lora", "full", "frozen"])
@pytest.mark.parametrize("family", ["text", "vision"])
def test_peak_of_a_step(family, mode, checkpointing, path, monkeypatch):
    config = text_config() if family == "text" else vision_config()
    monkeypatch.setitem(tiny.FAMILIES, "sized", lambda: config)
    model, reference, setup = set_up("sized", mode, checkpointing)
    pictures = []
    if family == "vision":
        side = int(PATCHES**0.5)
        inputs = {"pixel_values": torch.randn(PATCHES, 1176), "image_grid_thw": torch.tensor([[1, side, side]])}
        pictures = [tiny.Picture(inputs, PATCHES // 4)]
    batch = tiny.pairs(model, [pictures], [RESPONSE], [RESPONSE])
    visual = sum(one.tokens for one in pictures)
    lengths = Workload(int((batch["labels"][0] != -100).int().argmax()) - visual, len(pictures), visual, RESPONSE)
    backward, forward_peak = torch.Tensor.backward, []
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: (forward_peak.append(live.peak), backward(loss)))
    with LiveBytes() as live:
        if path == LLAMAFACTORY:
            llamafactory_step(model, reference, batch)
        else:
            our_step(model, reference, batch, path)
    # log_softmax makes LlamaFactory's cut logits contiguous inside its kernel in the forward, which no operation shows
    hidden = 4 * batch["input_ids"].numel() * config.get_text_config().vocab_size if path == LLAMAFACTORY else 0
    found = step_memory(count(model, config, NOT_QUANTISED), setup, lengths, path)
    estimated = found.peak - sum(found.fixed.values())
    # above is on the safe side: the largest parts of a moment need not meet
    assert 0.9 < estimated / max(forward_peak[0] + hidden, live.peak) < 1.3


CHILD = """
import os, sys
import llamafactory.extras.packages
import torch
from checks.test_estimate_memory import text_config
from checks.test_estimate_flops import set_up, llamafactory_step
from forward import tiny

def status(name):
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

tiny.FAMILIES["sized"] = lambda: text_config(32768, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
model, reference, _ = set_up("sized", sys.argv[1])
batch = tiny.pairs(model, [[]], [150], [150])
class Stop(Exception): pass
def forward_only(*args):
    raise Stop
torch.Tensor.backward = forward_only
for _ in range(2):
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    try:
        llamafactory_step(model, reference, batch)
    except Stop:
        pass
    peak = status("VmHWM") - before
print("bytes", peak / (batch["input_ids"].numel() * 32768))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak memory is read from Linux's /proc")
def test_logits_take_twenty_bytes_a_token_and_entry():
    env = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", CHILD, "full"], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = float(done.stdout.split("bytes")[-1])
    assert measured == pytest.approx(20, abs=1)


KINDS = {  # how the model computes: what the recipe says -> autocast, adapters, bytes of its weights, of activations
    "lora, bf16": (True, True, torch.bfloat16, 2),
    "full, bf16": (True, False, torch.float32, 2),
    "full, pure_bf16": (False, False, torch.bfloat16, 2),
    "full, float32": (False, False, torch.float32, 4),
    "lora, float32": (False, True, torch.float32, 4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_decoder_layer_saves(kind):
    from peft import LoraConfig, get_peft_model

    autocast, adapters, dtype, size = KINDS[kind]
    saved, tokens = [], 192
    for layers in (1, 2):
        config = text_config(64, hidden_size=256, intermediate_size=1024, num_hidden_layers=layers)
        model = tf.Qwen2ForCausalLM._from_config(config, attn_implementation="sdpa", dtype=dtype)
        if adapters:
            model.enable_input_require_grads()
            model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
        parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        kept: dict[int, torch.Tensor] = {}

        def pack(tensor: torch.Tensor, kept=kept, parameters=parameters) -> torch.Tensor:
            key = tensor.untyped_storage().data_ptr()
            # half-precision copies of weights do not grow with the tokens; they are counted with the weights
            weight = tensor.ndim == 2 and tokens not in tensor.shape
            if key not in parameters and not weight:
                kept[key] = tensor
            return tensor

        base = model.get_base_model() if adapters else model
        ids = torch.randint(0, 64, (2, tokens // 2))
        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            base.model(input_ids=ids, attention_mask=torch.ones_like(ids).index_fill_(1, torch.tensor([95]), 0))
        saved.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
        shape = count(model, config, NOT_QUANTISED)
    setup = replace(SETUP, adapters=adapters, autocast=autocast, compute_bytes=size)
    assert layer_saved(shape, setup) == pytest.approx((saved[1] - saved[0]) / tokens, rel=0.05)


# A model of 100 parameters, 80 of which train, stored by LlamaFactory in float32, the others in half precision.
DECODER = Decoder(layers=2, width=4, attention=4, inner=8, vocab=16, spans=(None, None))
HAND = Model("hand", DECODER, Part(), Part(100, 80, 80 * 4 + 20 * 2, 100, 80), Part(), plain=200)
HALF = replace(SETUP, autocast=True, compute_bytes=2, reference="none")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # float32 weights and gradients, two states
        (dict(), [360, 320, 640, 0]),
        (dict(reference="copy"), [360, 320, 640, 200]),
        (dict(world_size=2), [360, 640, 640, 0]),  # DDP's buckets
        (dict(autocast=False), [360, 160, 320, 0]),  # pure_bf16: states in the type of the weights
        (dict(optimizer_bytes=2), [360, 320, 160, 0]),
        # ZeRO: half-precision weights; master weights and states, 12 bytes, over 4 GPUs
        (dict(zero=0, autocast=False, world_size=4), [200, 160, 960, 0]),
        (dict(zero=1, autocast=False, world_size=4), [200, 160, 240, 0]),
        (dict(zero=2, autocast=False, world_size=4, reference="copy"), [200, 40, 240, 200]),
        (dict(zero=3, autocast=False, world_size=4, reference="copy"), [50, 40, 240, 50]),
        (dict(zero=3, autocast=False, world_size=4, offload_optimizer=True, offload_weights=True), [0, 40, 0, 0]),
    ],
    ids=str,
)
def test_weights_gradients_optimizer_and_reference(changes, expected):
    fixed = fixed_memory(HAND, replace(HALF, **changes))
    assert [fixed["weights"], gradient_memory(HAND, replace(HALF, **changes)), *list(fixed.values())[1:]] == expected


@pytest.mark.parametrize(
    ("changes", "copies", "kept", "held"),
    [
        (dict(checkpointing=True), 160, 0, 0),  # autocast's, in the forward; those of recomputed layers go with them
        (dict(checkpointing=False), 160, 160, 0),
        (dict(accumulation=2), 160, 0, 320),
        (dict(world_size=2), 160, 0, 640),
        (dict(autocast=False, zero=2, world_size=4), 0, 0, 40),
    ],
    ids=str,
)
def test_what_is_there_beside_the_activations(changes, copies, kept, held):
    passing = step_memory(HAND, replace(HALF, **changes), Workload(6, 0, 0, 2), LLAMAFACTORY).passing
    names = ("half-precision copies", "copies in the graph", "held gradients")
    assert [passing[name] for name in names] == [copies, kept, held]


# GiB at the peak of forward and backward without an optimizer, LlamaFactory's and ours, on 2026-11-26 on one H100 80GB
# with torch 2.11: Qwen2-VL with random weights, bfloat16 autocast, LlamaFactory's default upcast of what trains.
MEASURED = [
    ("REAL", "lora", 1, 1, 11.05, 4.56),
    ("REAL", "lora", 1, 4, 32.7, 5.17),
    ("REAL", "lora", 1, 8, 61.0, 5.94),
    ("REAL", "lora", 0, 1, 15.87, 4.75),
    ("REAL", "lora", 0, 4, 52.9, 5.86),
    ("REAL", "lora", 0, 8, None, 7.31),
    ("REAL", "lora", 2, 1, 27.2, 4.66),
    ("REAL", "lora", 2, 4, None, 6.03),
    ("REAL", "full", 1, 1, 17.82, 17.82),
    ("SEVEN", "lora", 0, 1, 27.5, 16.29),
]


@pytest.fixture(scope="module")
def published():
    """`published(protocol, mode)`: the counted model of the GPU benchmark, and the benchmark's own functions."""
    from llamafactory.hparams import FinetuningArguments, ModelArguments
    from llamafactory.model.adapter import init_adapter

    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    from benchmarks import gpu_step

    @cache
    def counted(protocol: str, mode: str) -> Model:
        config = gpu_step.make_config(getattr(gpu_step, protocol))
        with torch.device("meta"):
            model = tf.Qwen2VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
            plain = 2.0 * sum(p.numel() for p in model.parameters())
            args = FinetuningArguments(stage="dpo", finetuning_type=mode, lora_rank=8)
            model = init_adapter(config, model, ModelArguments(model_name_or_path="random"), args, is_trainable=True)
        return count(model, config, NOT_QUANTISED, plain)

    yield gpu_step, counted
    sys.path.pop(0)


@pytest.mark.parametrize(("protocol", "mode", "workload", "pairs", "theirs", "ours"), MEASURED)
def test_peaks_measured_on_a_gpu(published, protocol, mode, workload, pairs, theirs, ours):
    gpu_step, counted = published
    height, width, _ = work = getattr(gpu_step, protocol).workloads[workload]
    answers, prompt = gpu_step.responses(work, pairs), gpu_step.TEXT + 2 + height * width
    mean = sum(answers) / pairs
    spread = (prompt + 2 * max(answers)) / (prompt + 2 * mean)
    lengths = Workload(gpu_step.TEXT + 2, 1, height * width, round(mean), spread=spread)
    lora = mode == "lora"
    setup = replace(HALF, adapters=lora, reference="adapter off" if lora else "copy", tower_graph=lora, batch=pairs)
    setup = replace(setup, optimizer_bytes=0)
    for on, measured in ((LLAMAFACTORY, theirs), (replace(ALL, padding_free=pairs > 1), ours)):
        if measured is not None:
            found = step_memory(counted(protocol, mode), setup, lengths, on).peak / GIB
            assert found == pytest.approx(measured, rel=0.1)


def test_the_largest_batch_is_the_last_that_fits():
    lengths = Workload(600, 0, 0, 200)
    for path in (LLAMAFACTORY, ALL):
        for extra in (10**6, 10**7, 3 * 10**7):
            gpu = RESERVE + extra
            found = largest_batch(HAND, HALF, lengths, path, gpu)

            def need(batch: int, path: Speedups = path) -> float:
                return step_memory(HAND, replace(HALF, batch=batch), lengths, path).peak + RESERVE

            assert need(found) <= gpu < need(found + 1)
    assert largest_batch(HAND, HALF, lengths, LLAMAFACTORY, GIB) == 0
