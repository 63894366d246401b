# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whether a saved model is, for other programs, the one that was trained: files, names, prompts, log-probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from transformers.utils import cached_file

from ..rows.collate import describe_rows
from .accuracy import PairLogps
from .outside import Outside, prompt_difference
from .policy import SIDES, Pair, Policy
from .trained import Trained

# Largest difference of an answer's log-probability, a token. In 16 bits merged weights are rounded once more.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 3e-2}
SHOWN = 10  # names, or rows, in a message
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",), ("spiece.model",))
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


class Result(NamedTuple):
    """Of one check: whether it passed, of which folder or server, what was checked, and what was found."""

    passed: bool
    where: str
    what: str
    found: str


def check_files(folder: str, policy: Policy, *, whole: bool) -> Iterator[Result]:
    """What other programs need beside weights."""
    path, missing = Path(folder), list[str]()
    if not any(all((path / name).is_file() for name in names) for names in _TOKENIZERS):
        missing.append("tokenizer.json (or the files that a slow tokenizer has in its place)")
    settings = _json(path / "tokenizer_config.json")
    if not settings:
        missing.append("tokenizer_config.json")
    own = [name for name in ("eos_token", "pad_token") if settings and settings.get(name) is None]
    missing += [f"{name} in tokenizer_config.json" for name in own]
    if policy.writer.processor is not None and not any((path / name).is_file() for name in _PROCESSORS):
        missing.append(f"{_PROCESSORS[0]} (or {_PROCESSORS[1]}), with how images are read")
    if not any((path / name).is_file() for name in _TEMPLATES) and not settings.get("chat_template"):
        missing.append(f"{_TEMPLATES[0]}, with how conversations are written")
    if whole and not (path / "generation_config.json").is_file():
        missing.append("generation_config.json, with the tokens that end an answer")
    found = f"missing: {'; '.join(missing)}. Copy them from the base model" if missing else "all are there"
    yield Result(not missing, folder, "files", found)


def check_names(outside: Outside, trained: Trained) -> Iterator[Result]:
    """Whether Transformers finds every weight in the files, and nothing else.

    Names that the base's files do not have are no error, because Transformers knows both, but programs that look for
    the names themselves may not.
    """
    problems, notes = [], []
    if outside.missing:
        problems.append(f"{len(outside.missing)} weights are missing or of another shape: {_few(outside.missing)}")
    if outside.unexpected:
        problems.append(f"{len(outside.unexpected)} belong to no part of the model: {_few(outside.unexpected)}")
    if problems:
        found = f"{'; '.join(problems)}. Save it again with the Transformers of the training"
        yield Result(False, outside.folder, "names of weights", found)
        return
    base = None if outside.folder == trained.name and trained.is_adapter else _base_of(trained)
    ours, theirs = _names(Path(outside.folder)), _names(base) if base else set()
    if theirs and (renamed := sorted(ours - theirs - set(outside.tied))):
        known = f"as {renamed[0]} for {_few(sorted(theirs - ours)[:1])}"
        notes.append(f"{len(renamed)} are called otherwise than in {base}, {known}")
    if lacking := sorted(set(outside.tied) - ours):
        notes.append(f"not in the files, because they are other weights (tied): {_few(lacking)}")
    yield Result(True, outside.folder, "names of weights", "; ".join(["all are found", *notes]))


def check_prompts(outside: Outside, policy: Policy, pairs: Sequence[Pair]) -> Iterator[Result]:
    """Whether the folder's chat template writes prompts as the training's template does."""
    for pair in pairs:
        if difference := prompt_difference(outside.processor, policy.writer, pair):
            where = describe_rows([dict(pair)])
            yield Result(False, outside.folder, "prompts", f"{where}: not as in training, {difference}")
            return
    yield Result(True, outside.folder, "prompts", f"{len(pairs)} are those of template {policy.trained.template}")


def check_logps(
    outside: Outside, policy: Policy, pairs: Sequence[Pair], trained: Sequence[PairLogps]
) -> Iterator[Result]:
    """Whether answers have the log-probabilities that they have in the trainer.

    Args:
        outside: the saved model.
        policy: the trained one.
        pairs: rows.
        trained: what the policy makes of them.
    """
    allowed = max(TOLERANCE[outside.dtype], TOLERANCE[policy.model.dtype])
    apart = []
    for pair, of in zip(pairs, trained, strict=True):
        found = outside.logps(policy.writer, pair)
        lengths = of.chosen_tokens, of.rejected_tokens
        sides = zip(SIDES, (of.chosen, of.rejected), lengths, strict=True)
        apart.append(max(abs(sum(found[side]) - logp) / count for side, logp, count in sides))
    yield judged(apart, pairs, allowed, outside.folder)


def judged(apart: Sequence[float], pairs: Sequence[Pair], allowed: float, where: str) -> Result:
    """Of the differences of rows, a token each."""
    wrong = [(value, pair) for value, pair in zip(apart, pairs, strict=True) if not value <= allowed]
    most = f"at most {max(apart):.1e} a token apart in {len(pairs)} rows, {allowed:g} is allowed"
    if not wrong:
        return Result(True, where, "log-probabilities", most)
    rows = ", ".join(f"{describe_rows([dict(pair)])} ({value:.1e})" for value, pair in wrong[:SHOWN])
    return Result(False, where, "log-probabilities", f"{most}; beyond that {len(wrong)}: {rows}")


def _base_of(trained: Trained) -> Path | None:
    """The folder of the model that the training began with, if its files are here."""
    name = trained.settings.base or trained.recipe.get("model_name_or_path")
    if not name:
        return None
    if Path(str(name)).is_dir():
        return Path(str(name))
    try:
        found = cached_file(str(name), "config.json", local_files_only=True)
    except OSError:
        return None
    return Path(found).parent if found else None


def _names(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= set(file.keys())
    return found


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
