# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The tiny Qwen2-VL: every weight survives saving, the seed decides the weights, the tokenizer loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def make(out: Path, *options: str) -> Path:
    script = ROOT / "scripts" / "make_tiny_model.py"
    command = [sys.executable, str(script), str(out), "--size", "tiny", *options]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)


def test_every_weight_is_in_the_file_and_the_head_is_its_own(folder: Path) -> None:
    from safetensors.torch import load_file

    saved = load_file(folder / "model.safetensors")
    model, info = load(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(model.lm_head.weight, saved["lm_head.weight"])
    assert not torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    assert not model.config.tie_word_embeddings and not model.config.text_config.tie_word_embeddings


@pytest.mark.slow
def test_same_seed_same_files_other_seed_other_weights(folder: Path, tmp_path: Path) -> None:
    again, other = make(tmp_path / "again"), make(tmp_path / "other", "--seed", "1")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert {name for name in names if (folder / name).read_bytes() != (other / name).read_bytes()} == {
        "model.safetensors"
    }


def test_tokenizer_keeps_any_text_and_its_special_tokens_whole(processor: Any) -> None:
    tokenizer = processor.tokenizer
    for text in ("The digit is 7.", "naïve 数字 \N{GRINNING FACE}\n\t  x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    for token in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|endoftext|>"):
        assert tokenizer.encode(token) == [tokenizer.convert_tokens_to_ids(token)]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_a_digit_becomes_four_image_tokens_and_changes_the_answer(folder: Path, processor: Any) -> None:
    model, _ = load(folder)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What digit is this?"}]}
    prompt = processor.apply_chat_template([turn], add_generation_prompt=True)
    pictures = sorted((ROOT / "data" / "digits" / "pref").iterdir())[:2]
    logits = []
    for path in pictures:
        with Image.open(path) as picture:
            batch = processor(text=[prompt], images=[picture.convert("RGB")], return_tensors="pt")
        assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 4
        with torch.no_grad():
            logits.append(model(**batch).logits[0, -1])
    assert torch.isfinite(logits[0]).all()
    assert not torch.allclose(logits[0], logits[1], atol=1e-6)
