# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaBoard in a browser: a training with `uni_dpo` to its end, the page in Chinese, and a chat afterwards."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from browser import opened
from conftest import DATA, MODEL, SCRIPTS

EXTRA = {
    "use_cpu": True, "logging_steps": 1, "cutoff_len": 512, "preprocessing_num_workers": 1, "media_dir": str(DATA),
}  # fmt: skip
SETTLES = 500  # milliseconds in which the page takes over a choice
STARTS, ENDS = 120, 180  # seconds, on a busy machine


@pytest.fixture
def address(tmp_path: Path, cli_env: dict[str, str]) -> Iterator[str]:
    """Of `llamafactory-cli webui`, run in `tmp_path`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = cli_env | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    env |= {"GRADIO_ANALYTICS_ENABLED": "False", "BROWSER": "true", "no_proxy": "127.0.0.1"}
    log = tmp_path / "server.log"
    for _ in range(3):  # Gradio gives up where its own page takes over three seconds, as on a busy machine
        with log.open("w") as stream:
            command = [str(SCRIPTS / "llamafactory-cli"), "webui"]
            server = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=stream, stderr=stream)
        try:
            if is_up(server, log):
                yield f"http://127.0.0.1:{port}/"
                return
        finally:
            server.terminate()
            server.wait(30)
        if "localhost is not accessible" not in log.read_text():
            break
    pytest.fail(log.read_text())


def is_up(server: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait for the last line of the start; a request would only make it slower."""
    end = time.monotonic() + STARTS
    while time.monotonic() < end and server.poll() is None:
        if "To create a public link" in log.read_text():
            return True
        time.sleep(0.2)
    return False


class Form:
    """The page as someone uses it who knows the labels."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def field(self, label: str) -> Any:
        return self.page.get_by_label(re.compile(rf"^\s*{re.escape(label)}")).first

    def choose(self, label: str, text: str) -> None:
        self.field(label).click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(SETTLES)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def open(self, fold: str) -> None:
        self.page.get_by_text(fold).click()


def fill_in(form: Form) -> None:
    """All that a training with `uni_dpo` needs; the data set last, because another stage clears it."""
    form.page.get_by_text("Ready.").first.wait_for()
    form.choose("Model name", "Custom")
    form.field("Model path").fill(str(MODEL))
    form.choose("Chat template", "qwen2_vl")
    form.choose("Stage", "DPO")
    form.field("Data dir").fill(str(DATA))
    form.page.keyboard.press("Tab")
    form.choose("Compute type", "fp32")
    form.field("Epochs").fill("1")
    form.open("RLHF configurations")
    form.open("Resonance: keys")
    form.choose("Loss type", "uni_dpo")
    form.field("uni_dpo_tau_good").fill("3.5")  # which appears for this loss
    form.open("Extra configurations")
    form.field("Extra arguments").fill(json.dumps(EXTRA))
    form.choose("Output dir", "mine")
    form.choose("Dataset", "pairs")
    form.page.keyboard.press("Escape")


def test_a_training_with_uni_dpo_and_what_comes_after_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(address, height=1400) as page:
        form = Form(page)
        assert page.get_by_text("uni_dpo_tau_good").count() == 0
        fill_in(form)
        form.page.wait_for_timeout(SETTLES)
        form.press("Preview command")
        preview = page.locator("code", has_text="llamafactory-cli train").inner_text(timeout=30_000)
        flags = dict(re.findall(r"--(\w+) (\S+)", preview))
        assert (flags["stage"], flags["pref_loss"], flags["uni_dpo_tau_good"]) == ("dpo", "uni_dpo", "3.5")
        assert flags["cutoff_len"] == "512" and flags["logging_steps"] == "1", "extra arguments win over the sliders"

        form.press("Start")
        page.get_by_text(re.compile(r"^(Finished\.|Failed\.)")).first.wait_for(timeout=ENDS * 1000)
        page.get_by_text(re.compile(r"'loss': 0\.")).first.wait_for()
        assert page.get_by_text(re.compile(r"^Failed\.")).count() == 0
        out = tmp_path / "saves" / "Custom" / "lora" / "mine"
        recipe = yaml.safe_load((out / "resonance_recipe.yaml").read_text())
        assert (recipe["pref_loss"], recipe["uni_dpo_tau_good"]) == ("uni_dpo", 3.5)
        given = yaml.safe_load((out / "training_args.yaml").read_text())
        assert {key for key in given if key.startswith("uni_dpo")} == {"uni_dpo_tau_good"}
        history = json.loads((out / "trainer_state.json").read_text())["log_history"]
        assert "w_qual" in history[0] and (out / "curves.png").is_file()

        form.choose("Language", "zh")
        page.get_by_text("优质阈值 τ_good (uni_dpo_tau_good)").wait_for()
        assert form.field("优质阈值 τ_good").input_value() == "3.5"
        assert page.get_by_text("Resonance：当前训练阶段与损失的参数").count() == 1  # noqa: RUF001

    from llamafactory.chat import ChatModel
    from llamafactory.webui.control import list_checkpoints

    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in list_checkpoints("Custom", "lora").choices] == ["mine"]
    trained = {"model_name_or_path": str(MODEL), "adapter_name_or_path": str(out), "template": "qwen2_vl"}
    assert ChatModel({**trained, "infer_dtype": "float32"}).engine.model is not None
