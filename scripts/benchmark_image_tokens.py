# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What counting an image's tokens costs: LlamaFactory's way (decode, resize, cut up) against image headers.

    python scripts/benchmark_image_tokens.py [--family qwen2_vl | all] [--images 16] [--json FILE]

Writes synthetic photographs as JPEG, makes each family's own processor on the spot (no model, no network) and runs
LlamaFactory's `process_messages` on every picture once, with and without header counting. Prints CPU time an image
(process time; the best of three passes, each over new files so that no size is remembered), the ratio, and whether
the messages are equal. Exit status 1 if they are not. Gemma3 has one number for every image: nothing to gain there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SIZES = ((640, 480), (1024, 768), (2048, 1536))
PASSES = 3


class Family(NamedTuple):
    """A model family: Transformers' classes, LlamaFactory's template, and the settings of its published models."""

    template: str
    processor: str
    image_processor: str
    options: dict[str, Any]
    settings: dict[str, Any] = {}
    names: dict[str, str] = {}  # what the processor asks its tokenizer for
    video_processor: str | None = None


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


QWEN_NAMES = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>"}
QWEN_NAMES |= {"vision_eos_token": "<|vision_end|>"}
# given and not left out: Transformers writes `min_pixels` of one Qwen2-VL processor into the default of the next
QWEN2 = {"size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}}
CLIP = {"size": {"shortest_edge": 336}, "crop_size": square(336)}
LLAVA = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
QWEN3 = {"patch_size": 16, "size": {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}}
INTERN_NAMES = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
GEMMA_NAMES = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}

FAMILIES = {
    "qwen2_vl": Family(
        "qwen2_vl", "Qwen2VLProcessor", "Qwen2VLImageProcessor", QWEN2, {}, QWEN_NAMES, "Qwen2VLVideoProcessor"
    ),
    "qwen2_5_vl": Family(
        "qwen2_vl", "Qwen2_5_VLProcessor", "Qwen2VLImageProcessor", QWEN2, {}, QWEN_NAMES, "Qwen2VLVideoProcessor"
    ),
    "qwen3_vl": Family(
        "qwen3_vl", "Qwen3VLProcessor", "Qwen2VLImageProcessor", QWEN3, {}, QWEN_NAMES, "Qwen3VLVideoProcessor"
    ),
    "llava": Family("llava", "LlavaProcessor", "CLIPImageProcessor", CLIP, LLAVA, {"image_token": "<image>"}),
    "llava_next": Family(
        "llava_next", "LlavaNextProcessor", "LlavaNextImageProcessor", CLIP, LLAVA, {"image_token": "<image>"}
    ),
    "intern_vl": Family(
        "intern_vl",
        "InternVLProcessor",
        "GotOcr2ImageProcessor",
        {"size": square(448), "crop_to_patches": True},
        {"image_seq_length": 256},
        INTERN_NAMES | {"video_token": "<video>"},
        "InternVLVideoProcessor",
    ),
    "gemma3": Family(
        "gemma3",
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        {"size": square(896)},
        {"image_seq_length": 256},
        GEMMA_NAMES,
    ),
}


def make_tokenizer(names: dict[str, str]) -> Any:
    """A tokenizer of bytes, whose special tokens have the names that a processor looks for."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Qwen2TokenizerFast(tokenizer_object=model)
    tokenizer.add_special_tokens({"additional_special_tokens": list(names.values())})
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    return tokenizer


def make_processor(name: str, backend: str | None = None, **options: Any) -> Any:
    """A family's processor as LlamaFactory loads it.

    Args:
        backend: suffix of another class of the image processor, as Pil or Fast.
        options: for the image processor, over the published ones.
    """
    import transformers
    from llamafactory.hparams import ModelArguments
    from llamafactory.model.patcher import patch_processor

    family = FAMILIES[name]
    tokenizer = make_tokenizer(family.names)
    parts = {
        "image_processor": getattr(transformers, family.image_processor + (backend or ""))(**family.options | options),
        "tokenizer": tokenizer,
    }
    if family.video_processor is not None:
        parts["video_processor"] = getattr(transformers, family.video_processor)()
    processor = getattr(transformers, family.processor)(**parts, **family.settings)
    patch_processor(processor, tokenizer, ModelArguments(model_name_or_path=name))
    return processor


def write_picture(path: Path, size: tuple[int, int], seed: int) -> None:
    """A JPEG with large shapes and some grain, about as hard to decode as a photograph."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 6, (size[1], size[0], 3))
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def seconds(expand: Callable[..., Any], paths: list[str], processor: Any) -> tuple[float, list[Any]]:
    """CPU seconds to expand one question about each picture, and the messages."""
    rows = [[{"role": "user", "content": "<image>What is this?"}] for _ in paths]
    start = time.process_time()
    messages = [expand(row, [path], [], [], processor) for row, path in zip(rows, paths, strict=True)]
    return time.process_time() - start, messages


def measure(name: str, size: tuple[int, int], images: int, folder: Path) -> dict[str, Any]:
    """Time both ways on the same new files; raises SystemExit if the family cannot be counted."""
    from llamafactory.data.template import TEMPLATES

    from resonance.rows.vision.counter import make_counter

    processor = make_processor(name)
    plugin = TEMPLATES[FAMILIES[name].template].mm_plugin
    counter = make_counter(plugin, processor)
    if counter is None:
        raise SystemExit(f"{name}: no counter for {type(plugin).__name__} with these versions; nothing to compare.")
    pictures = [folder / f"{size[0]}-{seed}.jpg" for seed in range(4)]
    for seed, picture in enumerate(pictures):
        if not picture.exists():
            write_picture(picture, size, seed)
    decoded, counted, equal = [], [], True
    for i in range(PASSES):
        paths = [str(folder / f"{name}-{size[0]}-{i}-{j}.jpg") for j in range(images)]
        for j, path in enumerate(paths):
            shutil.copy(pictures[j % len(pictures)], path)
        took, ours = seconds(counter.process_messages, paths, processor)
        counted.append(took)
        took, theirs = seconds(plugin.process_messages, paths, processor)
        decoded.append(took)
        equal &= ours == theirs
    before, after = (1000 * min(passes) / images for passes in (decoded, counted))
    return {
        "family": name,
        "size": list(size),
        "tokens": counter.image_tokens(size),
        "decoded_ms": round(before, 3),
        "headers_ms": round(after, 3),
        "ratio": round(before / after, 1),
        "equal": equal,
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=[*FAMILIES, "all"], default="qwen2_vl", help="default: qwen2_vl")
    parser.add_argument("--images", type=int, default=16, help="files of each size in a pass (default: 16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    arguments = parser.parse_args(argv)
    if arguments.images < 1:
        parser.error(f"--images is {arguments.images}, but at least 1 is needed.")
    if arguments.json is not None and not arguments.json.parent.is_dir():
        parser.error(f"--json {arguments.json}: there is no folder {arguments.json.parent}.")
    results = []
    print(f"{'family':<12}{'size':<12}{'tokens':>7}{'decoded':>11}{'headers':>11}{'ratio':>8}  equal")
    with tempfile.TemporaryDirectory() as folder:
        for name in FAMILIES if arguments.family == "all" else [arguments.family]:
            for size in SIZES:
                result = measure(name, size, arguments.images, Path(folder))
                results.append(result)
                times = f"{result['decoded_ms']:>8.2f} ms{result['headers_ms']:>8.3f} ms{result['ratio']:>7.0f}x"
                print(
                    f"{name:<12}{size[0]:>4} x {size[1]:<5}{result['tokens']:>7}{times}  {result['equal']}", flush=True
                )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(result["equal"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
