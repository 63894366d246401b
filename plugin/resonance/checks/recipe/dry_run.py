# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Two steps of a recipe on its longest rows, by the command that trains it: what they need of memory and time.

The rows are copied into a temporary folder, where the run writes, too. Imports no LlamaFactory.
"""

from __future__ import annotations

import heapq
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...arguments.places import DATASET_INFO, names
from ...arguments.reader import read_recipe
from ...datafiles.find import find
from ...datafiles.read import read_rows
from ..data.entry import Entry, find_entries
from ..data.judge import Judge, Options

STEPS = 2
GIB = 2**30
SET = "longest"  # what the copied rows are called
PIXELS_A_TOKEN = 28 * 28  # of Qwen's towers; by it the pictures of rows are compared with their text
CHARACTERS_A_TOKEN = 4
LAST = 25  # lines shown of a run that failed
# Keys that would let rows out, evaluate, save, report, or go on from something.
_LEFT_OUT = (
    "dataset", "eval_dataset", "val_size", "image_root", "do_eval", "do_predict", "eval_on_start", "tokenized_path",
    "data_ratio", "score_margin", "max_samples", "streaming", "load_best_model_at_end", "metric_for_best_model",
    "early_stopping_steps", "resume_from_checkpoint", "push_to_hub", "predict_with_generate", "run_name", "eval_steps",
    "save_steps", "use_swanlab", "project_name", "group_name", "interleave_probs", "mix_strategy",
)  # fmt: skip
_ALWAYS = {
    "max_steps": STEPS, "logging_steps": 1, "save_strategy": "no", "eval_strategy": "no", "report_to": "none",
    "plot_loss": False, "skip_memory_metrics": False, "include_num_input_tokens_seen": "all",
}  # fmt: skip


def dry_run(path: str, overrides: Sequence[str], processes: int) -> str:
    """Train two steps, and tell what they took.

    Args:
        path: of a recipe without errors.
        overrides: KEY=VALUEs behind it.
        processes: on this machine.

    Raises:
        ValueError: it cannot be tried, or the run failed; with its last lines.
    """
    given = read_recipe(path, overrides)
    with tempfile.TemporaryDirectory(prefix="resonance-dry-run-") as folder:
        recipe = prepare(given, processes, Path(folder))
        env = dict(os.environ)
        if processes > 1 or given.get("deepspeed"):
            env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(processes)}
        elif "CUDA_VISIBLE_DEVICES" not in env:
            env["CUDA_VISIBLE_DEVICES"] = "0"
        # -P: as for llamafactory-cli, a datasets.py in the working folder is no module
        command = [sys.executable, "-P", "-m", "llamafactory.cli", "train", str(recipe)]
        code, output, most = ended(command, env)
        if code:
            last = "\n".join(output.strip().splitlines()[-LAST:])
            raise ValueError(f"dry run: ended with {code}; its last lines:\n{last}")
        return told(Path(folder, "out"), most)


def ended(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, int]:
    """Run a command; its exit code, what it printed, and the bytes that the largest of its processes had."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            output = process.stdout.read()  # type: ignore[union-attr]  # a pipe
        except BaseException:
            process.kill()
            raise
        # not of all children of this process, one of which may have trained another recipe
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, output, used.ru_maxrss * 1024


def prepare(given: Mapping[str, Any], processes: int, folder: Path) -> Path:
    """Write a recipe of two steps and the rows that it trains on.

    Args:
        given: the recipe.
        processes: that share a step.
        folder: for all of it.

    Raises:
        ValueError: rows are not here, or not of a kind that can be copied.
    """
    if given.get("stage") == "ppo":
        raise ValueError("--dry-run: not for stage: ppo, whose memory depends on the completions that it samples")
    step = given.get("per_device_train_batch_size", 8) * given.get("gradient_accumulation_steps", 1) * processes
    folder_of_sets = given.get("dataset_dir", "data")
    media = str(given.get("image_root") or given.get("media_dir") or folder_of_sets)
    entry, rows = longest(given, STEPS * step, media)
    rows = (rows * (STEPS * step // len(rows) + 1))[: STEPS * step]
    try:
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    except TypeError as error:
        raise ValueError(f"--dry-run: copies rows of text and paths, and these hold more: {error}") from error
    (folder / DATASET_INFO).write_text(json.dumps({SET: entry | {"file_name": "rows.json"}}), encoding="utf-8")
    recipe = {key: value for key, value in given.items() if key not in _LEFT_OUT} | _ALWAYS
    recipe |= {"dataset": SET, "dataset_dir": str(folder), "media_dir": os.path.abspath(media)}
    recipe |= {"output_dir": str(folder / "out"), "do_train": True}
    if given.get("precompute_ref_log_probs"):
        recipe["ref_log_probs_dir"] = str(folder / "reference")
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def longest(given: Mapping[str, Any], count: int, media: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The longest rows of a recipe's training sets, by characters and pixels, and the entry that they are read by.

    Args:
        given: the recipe.
        count: how many at most.
        media: where paths of pictures start.

    Raises:
        ValueError: a set is not on this machine, or sets are laid out differently.
    """
    folder, found = given.get("dataset_dir", "data"), []
    raws = []
    for name in names(given.get("dataset")):
        data = find(name, Path(folder, DATASET_INFO))  # tells what is not here
        raws.append({key: value for key, value in (data.raw or {}).items() if key not in ("file_name", "num_samples")})
        (entry,) = find_entries(name, folder, media)
        found.append(_sized(entry, int(given.get("image_max_pixels", 768 * 768))))
    if any(raw != raws[0] for raw in raws):
        raise ValueError("--dry-run: copies rows of sets of one layout; give one set, dataset=NAME")
    best = heapq.nlargest(count, (pair for rows in found for pair in rows), key=lambda pair: pair[0])
    if not best:
        raise ValueError("--dry-run: no row can be read; `resonance data check` tells why")
    return raws[0], [row for _, row in best]


def _sized(entry: Entry, most: int) -> Iterator[tuple[float, dict[str, Any]]]:
    """Each row of a set with its length in tokens, about; a picture has at most `most` pixels."""
    judge = Judge(entry, Options())
    for path in entry.files:
        for _, row in read_rows(path):
            aligned, _ = judge.aligned(row)
            if aligned is None:
                continue
            messages = [*aligned["_prompt"], *aligned["_response"]]
            length = sum(len(message["content"] or "") for message in messages) / CHARACTERS_A_TOKEN
            pixels = (min(_pixels(image, entry.media_dir), most) for image in aligned["_images"] or ())
            yield length + sum(pixels) / PIXELS_A_TOKEN, row


def _pixels(image: Any, media: str) -> int:
    """Of a picture, from its header; 0 for one that cannot be read, which the run tells of."""
    from ...rows.vision.header import image_size

    try:
        width, height = image_size(os.path.join(media, image) if isinstance(image, str) else image)
    except (OSError, AttributeError, TypeError, KeyError):
        return 0
    return width * height


def told(out: Path, most: int) -> str:
    """One line about a run that has ended.

    Args:
        out: its output folder.
        most: bytes that its largest process had.
    """
    results = json.loads((out / "train_results.json").read_text(encoding="utf-8"))
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    # all that the model took before the Trainer was made, kept since, and at the peak
    parts = (
        "before_init_mem_gpu",
        "init_mem_gpu_alloc_delta",
        "train_mem_gpu_alloc_delta",
        "train_mem_gpu_peaked_delta",
    )
    where, peak = "a process", most
    if all(part in results for part in parts):
        where, peak = "the first GPU", sum(results[part] for part in parts)
    return (
        f"dry run: {STEPS} steps of the longest rows, {state['num_input_tokens_seen'] // STEPS:,} tokens a step with "
        f"padding: {peak / GIB:.1f} GiB on {where} at the peak, {results['train_runtime'] / STEPS:.1f} s a step, the "
        "first included"
    )
