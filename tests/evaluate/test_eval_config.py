# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Configurations for VLMEvalKit and commands for lmms-eval, by the names that these have."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from evaluate.conftest import CHAT_TEMPLATE
from evaluate.recorded import LMMS_MODELS, LMMS_TASKS, VLMEVAL_CLASSES, VLMEVAL_DATASETS
from loaded import loaded
from resonance.cli.main import main
from resonance.evaluate.handoff import commands, config_of, export_command, family_of
from resonance.evaluate.suites import FAMILIES, SUITES
from resonance.evaluate.trained import Trained, read_trained
from resonance.reward_model.settings import Settings

UNI_DPO = (
    "ChartQA_TEST MMBench_DEV_CN MMBench_DEV_EN MME OCRBench POPE ScienceQA_TEST SEEDBench_IMG TextVQA_VAL "
    "InfoVQA_VAL RealWorldQA"
)


def written(capsys, folder, *words):
    code = main(["eval-config", str(folder), *map(str, words)])
    return code, capsys.readouterr()


def test_the_names_are_those_of_the_programs():
    for suite in SUITES.values():
        for of in suite.benchmarks:
            assert of.dataset in VLMEVAL_DATASETS[of.vlmeval]
            assert of.lmms in LMMS_TASKS
    assert " ".join(of.vlmeval for of in SUITES["uni_dpo"].benchmarks) == UNI_DPO
    assert {of.vlmeval for of in FAMILIES.values()} - {None} <= VLMEVAL_CLASSES
    assert {of.lmms for of in FAMILIES.values()} - {None} <= LMMS_MODELS


def test_they_are_listed_without_torch():
    assert loaded("import resonance.evaluate.handoff, resonance.cli.eval_config", "torch", "llamafactory", "PIL") == []


def test_new_tokens_go_with_the_command_that_merges():
    model = {"resize_vocab": True, "add_special_tokens": "<a>,<b>", "image_max_pixels": 9}
    words = export_command(Trained("run", Settings("base", data={"template": "qwen2_vl"}, model=model)), "whole")
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given == {
        "--model_name_or_path": "base", "--adapter_name_or_path": "run", "--template": "qwen2_vl",
        "--resize_vocab": "True", "--add_special_tokens": "<a>,<b>", "--export_dir": "whole",
    }  # fmt: skip


def test_a_whole_model(runs, capsys):
    folder = runs["full"].output_dir
    code, printed = written(capsys, folder, "--suite", "uni_dpo")
    assert code == 0 and "WARNING" not in printed.out and "export" not in printed.out
    config = json.loads((folder / "vlmevalkit_uni_dpo.json").read_text())
    entry = {"class": "Qwen2VLChat", "model_path": str(folder), "system_prompt": "Be brief."}
    assert config["model"] == {"out": entry}, "with the system message of the training"
    assert list(config["data"]) == UNI_DPO.split()
    assert config["data"]["MME"] == {"class": "ImageYORNDataset", "dataset": "MME"}
    assert f"python run.py --config {folder}/vlmevalkit_uni_dpo.json" in printed.out
    assert f"'pretrained={folder},system_prompt=Be brief.' --tasks chartqa,mmbench_cn_dev," in printed.out


def test_an_adapter_is_to_be_merged_by_the_printed_command(runs, merged, capsys, tmp_path):
    folder = runs["lora"].output_dir
    code, printed = written(capsys, folder, "--output", tmp_path / "later.json", "--merged", tmp_path / "not_yet")
    assert code == 0 and f"--adapter_name_or_path {folder} " in printed.out
    assert f"--export_dir {tmp_path}/not_yet" in printed.out
    code, printed = written(capsys, folder, "--output", tmp_path / "now.json", "--merged", merged)
    assert code == 0 and "llamafactory-cli export" not in printed.out
    config = json.loads((tmp_path / "now.json").read_text())
    assert config["model"]["out"]["model_path"] == str(merged)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (CHAT_TEMPLATE.replace("<|im_start|>{{ message['role'] }}\n", ""), "from token 0 on"),
        (CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", ""), "from token "),
    ],
    ids=["without roles", "without images"],
)
def test_another_template_than_in_training_is_warned_of(runs, capsys, tmp_path, template, why):
    folder = shutil.copytree(runs["full"].output_dir, tmp_path / "other")
    (folder / "chat_template.jinja").write_text(template)
    code, printed = written(capsys, folder)
    assert code == 1 and "WARNING: prompts of the evaluation are not those of the training" in printed.out
    assert why in printed.out or "cannot write it" in printed.out
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    assert written(capsys, folder)[0] == 0, "the cure that is printed"


def test_what_cannot_be_written(runs, capsys, merged):
    code, printed = written(capsys, runs["full"].output_dir, "--suite", "unidpo")
    assert code == 2 and "there are: uni_dpo (Uni-DPO, multimodal" in printed.err
    code, printed = written(capsys, runs["full"].output_dir, "--merged", merged)
    assert code == 2 and "is a whole model, which needs no merging" in printed.err
    with pytest.raises(ValueError, match="model_type gpt2: .*known: qwen2_vl, "):
        family_of("gpt2")


def test_models_that_one_of_the_programs_cannot_load(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    trained, suite = read_trained(str(tmp_path), {"template": "llava"}), SUITES["uni_dpo"]
    assert config_of(trained, "m", "llava", suite, "") is None
    assert [title for title, _ in commands("m", "llava", suite, "", Path("c.json"))] == ["lmms-eval"]
    assert [title for title, _ in commands("m", "smolvlm", suite, "", Path("c.json"))] == [
        "VLMEvalKit, in its checkout"
    ]
    for system, why in {"Yes, sir.": "takes none with a comma", "": "the training has none"}.items():
        _, (title, words) = commands("m", "qwen2_vl", suite, system, Path("c"))
        assert "pretrained=m" in words, "a comma would end the argument"
        assert title.startswith("lmms-eval, which sends its own system message") and why in title
    _, (title, words) = commands("m", "qwen2_vl", suite, "Yes.", Path("c"))
    assert title == "lmms-eval" and "pretrained=m,system_prompt=Yes." in words


REAL = os.environ.get("RESONANCE_VLMEVAL_ENV", "")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="RESONANCE_VLMEVAL_ENV names no environment with vlmeval and lmms_eval")
class TestReal:
    """Against the packages themselves."""

    def python(self, code, *words):
        env = {name: value for name, value in os.environ.items() if not name.startswith("RESONANCE_")}
        command = [f"{REAL}/bin/python", *(["-c", code] if code else []), *words]
        return subprocess.run(command, env=env | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)

    def test_vlmevalkit_reads_the_configuration(self, runs, capsys):
        """Classes and names are there; the model itself needs a GPU, which the class asserts."""
        folder = runs["full"].output_dir
        for suite in SUITES:
            written(capsys, folder, "--suite", suite, "--output", folder / f"{suite}.json")
            done = self.python(LOADS, str(folder / f"{suite}.json"))
            assert done.returncode == 0, done.stderr[-3000:]
            assert f"read {len(SUITES[suite].benchmarks)}\n" in done.stdout, done.stdout
            assert "loaded" in done.stdout or "stopped at assert max_gpu_mem > 0" in done.stdout, done.stdout

    def test_lmms_eval_starts(self, runs, capsys, tmp_path):
        """Tasks, model and its arguments are accepted; it goes on to the GPU, or without one stops there."""
        _, printed = written(capsys, runs["full"].output_dir)
        words = shlex.split(next(line for line in printed.out.splitlines() if line.startswith("python -m lmms_eval")))
        words[words.index("--output_path") + 1] = str(tmp_path)
        done = self.python("", *words[1:], "--limit", "1")
        output = done.stdout + done.stderr
        assert "qwen2_vl.py" in output or done.returncode == 0, output[-3000:]
        for refused in ("invalid choice", "Unexpected kwargs", "unrecognized arguments"):
            assert refused not in output, output[-3000:]


LOADS = """
import contextlib, json, os, sys, traceback
import vlmeval
sys.path.insert(0, os.path.dirname(os.path.dirname(vlmeval.__file__)))
import vlmeval.vlm, run
from vlmeval.dataset import DATASET_CLASSES
config = json.load(open(sys.argv[1]))
for name, entry in config["data"].items():
    classes = {each.__name__: each for each in DATASET_CLASSES}
    assert name in classes[entry["class"]].supported_datasets(), name
    asked = []
    classes[entry["class"]].prepare_tsv = lambda self, *a, **k: asked.append(a) or sys.exit("hub")
    with contextlib.suppress(SystemExit):  # up to where it downloads the rows
        run.build_dataset_from_config(config["data"], name)
    assert asked, name
print("read", len(config["data"]))
(model,) = config["model"]
try:
    run.build_model_from_config(config["model"], model)
    print("loaded")
except AssertionError as error:
    trace = traceback.extract_tb(error.__traceback__)[-1]
    print("stopped at", trace.line)
"""
