# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A saved model that is not the trained one for other programs is found, by name."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from conftest import DATA
from evaluate.conftest import CHAT_TEMPLATE
from resonance.cli.main import main
from rollout.fake_vllm import FakeVllm
from training.vllm_server import VllmProcess, environment

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def checked(capsys):
    """The exit code, lines and error output of the command."""

    def check(folder, *words):
        code = main(["export-check", str(folder), "--rows", "3", *map(str, words)])
        printed = capsys.readouterr()
        return code, [line for line in printed.out.splitlines() if line.startswith(("PASS", "FAIL"))], printed

    return check


def failed(lines):
    return [line for line in lines if line.startswith("FAIL")]


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoint-*"))


def changed(file, change):
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_good_run_passes(runs, checked, name):
    code, lines, _ = checked(runs[name].output_dir)
    assert code == 0 and len(lines) == 4 and not failed(lines)
    assert [line.split(": ")[1] for line in lines] == ["files", "names of weights", "prompts", "log-probabilities"]


def test_a_checkpoint_and_a_merged_model_pass(runs, merged, checked):
    assert checked(runs["lora"].output_dir / "checkpoint-2")[0] == 0
    code, lines, _ = checked(runs["lora"].output_dir, "--merged", merged)
    assert code == 0 and len(lines) == 8, lines


def test_a_merged_model_of_another_checkpoint(runs, merged, checked):
    code, lines, _ = checked(runs["lora"].output_dir / "checkpoint-2", "--merged", merged)
    (line,) = failed(lines)
    assert code == 1 and line.startswith(f"FAIL  {merged}: log-probabilities: at most")
    assert "pairs.json row 0 (" in line


def test_renamed_weights_of_a_whole_model(runs, checked, tmp_path):
    folder = copied(runs["full"].output_dir, tmp_path)

    def rename(state):
        return {name.replace("model.layers.0.", "base_model.layers.0."): value for name, value in state.items()}

    changed(folder / "model.safetensors", rename)
    code, lines, _ = checked(folder)
    (line,) = [line for line in failed(lines) if "names of weights" in line]
    assert code == 1 and "12 weights are missing" in line and "layers.0.mlp.up_proj.weight" in line
    assert "12 belong to no part of the model: base_model" in line


def test_renamed_weights_of_an_adapter(runs, checked, tmp_path):
    folder = copied(runs["lora"].output_dir, tmp_path)
    changed(
        folder / "adapter_model.safetensors",
        lambda state: {name.replace("base_model.model.", "base_model.", 1): value for name, value in state.items()},
    )
    code, lines, _ = checked(folder)
    line = failed(lines)[0]
    assert code == 1 and "28 weights are missing" in line and "28 belong to no part of the model" in line
    assert "base_model.model.language_model.layers.0.mlp.down_proj.lora_A.weight" in line


def test_a_changed_tensor(runs, merged, checked, tmp_path):
    folder = copied(merged, tmp_path)

    def change(state):
        name = next(name for name in state if name.endswith("layers.1.self_attn.q_proj.weight"))
        return {**state, name: state[name] * 1.5}

    changed(folder / "model.safetensors", change)
    code, lines, _ = checked(runs["lora"].output_dir, "--merged", folder)
    (line,) = failed(lines)
    assert code == 1 and line.startswith(f"FAIL  {folder}: log-probabilities") and "beyond that 3" in line


@pytest.mark.parametrize("file", ["preprocessor_config.json", "generation_config.json", "chat_template.jinja"])
def test_a_missing_file(runs, merged, checked, tmp_path, file):
    folder = copied(merged, tmp_path)
    for name in (file, "processor_config.json") if file.startswith("pre") else (file,):
        (folder / name).unlink(missing_ok=True)
    code, lines, _ = checked(runs["lora"].output_dir, "--merged", folder)
    assert code == 1
    assert any(line.startswith(f"FAIL  {folder}: files: missing: {file}") for line in lines), lines


def test_another_chat_template(runs, merged, checked, tmp_path):
    folder = copied(merged, tmp_path)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<|im_end|>\n", "<|im_end|>"))
    code, lines, printed = checked(runs["lora"].output_dir, "--merged", folder)
    (line,) = failed(lines)
    assert code == 1 and line.startswith(f"FAIL  {folder}: prompts: ") and "not as in training, from token" in line
    assert "  training '" in printed.out and "  folder   '" in printed.out


def test_called_wrongly(runs, checked, tmp_path):
    code, _, printed = checked(runs["full"].output_dir, "--merged", tmp_path, "--data", "none")
    assert code == 2 and "no config.json is there" in printed.err
    code, _, printed = checked(tmp_path, "--template", "qwen2_vl")
    assert code == 2 and "holds no model" in printed.err and "Next: resonance export-check --help" in printed.err


class Serving(FakeVllm):
    """Answers `prompt_logprobs` with those of a folder."""

    def __init__(self, folder, off=0.0):
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.off = off
        super().__init__()

    def v1_chat_completions(self, body):
        for message in body["messages"]:
            for part in message["content"] if isinstance(message["content"], list) else []:
                if part["type"] == "image_url":
                    content = base64.b64decode(part.pop("image_url")["url"].partition(",")[2])
                    part |= {"type": "image", "image": Image.open(io.BytesIO(content))}
        *before, answer = body["messages"]
        layout = [
            {
                **m,
                "content": m["content"]
                if isinstance(m["content"], list)
                else [{"type": "text", "text": m["content"]}],
            }
            for m in before
        ]
        ask = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
        inputs = dict(self.processor.apply_chat_template(layout, **ask))
        text = torch.tensor([self.processor.tokenizer(answer["content"])["input_ids"]])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], text], 1)
        for name in ("attention_mask", "mm_token_type_ids"):
            inputs[name] = torch.cat([inputs[name], torch.full_like(text, int(name[0] == "a"))], 1)
        with torch.no_grad():
            logps = self.model(**inputs).logits[0].log_softmax(-1)
        ids = inputs["input_ids"][0].tolist()
        found = [{str(token): {"logprob": float(logps[i, token]) + self.off}} for i, token in enumerate(ids[1:])]
        return 200, {"prompt_logprobs": [None, *found]}


@pytest.mark.parametrize(("off", "passes"), [(0.0, True), (0.01, False)])
def test_a_server(runs, merged, checked, off, passes):
    server = Serving(merged, off)
    try:
        code, lines, _ = checked(runs["lora"].output_dir, "--merged", merged, "--url", server.url)
    finally:
        server.kill()
    assert code == (0 if passes else 1)
    assert lines[-1].startswith(f"{'PASS' if passes else 'FAIL'}  {server.url} (policy): log-probabilities")
    asked = server.called("/v1/chat/completions")
    assert len(asked) == 6 and asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--served-model", "x"), "--served-model and --key-env belong to --url"),
        (("--url", "127.0.0.1:8000"), "is not the URL of a server"),
        (("--url", "http://127.0.0.1:8000", "--key-env", "NO_SUCH_KEY"), "variable NO_SUCH_KEY"),
    ],
)
def test_what_is_wrong_with_a_server_is_told_before_a_model_is_loaded(capsys, words, told):
    assert main(["export-check", "nowhere", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_server_that_is_not_there(runs, checked):
    server = FakeVllm()
    server.kill()
    code, lines, _ = checked(runs["full"].output_dir, "--url", server.url)
    assert code == 1 and "Connection refused" in failed(lines)[0]


@pytest.mark.slow
def test_a_real_vllm(checked, forty, tmp_path):
    """A whole model, of heads that vLLM's attention has on a CPU; another one is found."""
    folders = [tmp_path / name for name in ("model", "other")]
    for seed, folder in enumerate(folders):
        script = [sys.executable, CHECKOUT / "scripts" / "make_tiny_model.py", folder, "--size", "small"]
        subprocess.run([*script, "--seed", str(seed)], check=True)
    recipe = {
        "model_name_or_path": str(folders[0]),
        "finetuning_type": "full",
        "cutoff_len": 512,
        "max_new_tokens": 16,
    }
    server = VllmProcess(environment(tmp_path), recipe, tmp_path / "vllm.log")
    data = ("--template", "qwen2_vl", "--data", "pairs", "--dataset-dir", forty, "--media-dir", DATA)
    try:
        server.start()
        same, other = (checked(folder, *data, "--url", server.url) for folder in folders)
    finally:
        server.kill()
    assert same[0] == 0 and same[1][-1].startswith(f"PASS  {server.url} ({folders[0]}): log-probabilities"), same[1]
    assert other[0] == 1 and other[1][-1].startswith(f"FAIL  {server.url}"), other[1]


def test_json(runs, checked):
    _, _, printed = checked(runs["full"].output_dir, "--json")
    assert [each["passed"] for each in json.loads(printed.out)] == [True] * 4
