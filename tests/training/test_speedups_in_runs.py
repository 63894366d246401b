# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`pref_speedups: auto` through whole runs gives LlamaFactory's numbers, in every way it can be told to train.

The rows have no picture, one or two, and answers of different lengths.
"""

from __future__ import annotations

import json
import shutil

import pytest

from conftest import MODEL
from resonance.forward.names import SPEEDUPS
from training.mixed import on_off, same_numbers, write_mixed

COMMON = {
    "pref_loss": "sigmoid",
    "max_steps": 3,
    "num_train_epochs": None,
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 3,
}
LORA = {"finetuning_type": "lora", "lora_rank": 4}
FROZEN = {"freeze_vision_tower": True, "freeze_multi_modal_projector": True}
ALL = set(SPEEDUPS)
WAYS = {
    "full, frozen tower": FROZEN,
    "lora": {**LORA, **FROZEN},
    "lora in the tower": {**LORA, "lora_target": "all"},
    # LlamaFactory's trainer sets dropout to 0, so it is no reason to leave anything off
    "lora on the head": {**LORA, **FROZEN, "lora_target": "lm_head,q_proj", "lora_dropout": 0.2},
    "modules to save": {**LORA, **FROZEN, "additional_target": "lm_head,embed_tokens"},
    "dora": {**LORA, **FROZEN, "use_dora": True},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1, **FROZEN},
    "eager attention": {**LORA, **FROZEN, "flash_attn": "disabled"},
    "upcast, checkpointing not reentrant": {"upcast_layernorm": True, "use_reentrant_gc": False},
    "one pair, no checkpointing": {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 3,
        "disable_gradient_checkpointing": True,
    },
    "bf16": {**LORA, **FROZEN, "bf16": True},
    "processes that load data": {**LORA, **FROZEN, "dataloader_num_workers": 2},
}
NOT_PACKED = ("eager attention",)
ROUNDED = ("bf16",)  # `pure_bf16` LlamaFactory refuses without a GPU
EVALUATED = {"eval_dataset": "mixed", "eval_strategy": "steps", "eval_steps": 3, "per_device_eval_batch_size": 5}
EVALUATED |= {"max_steps": None, "num_train_epochs": 1}  # the last of 6 batches is one pair, as is that of evaluation
# LlamaFactory has no such loss, or trains another one under its name: our own plain path is what to compare with
OURS = {"ipo": {"pref_loss": "ipo"}, "uni_dpo with bco": {"pref_loss": "uni_dpo", "pref_bco_weight": 0.3}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory):
    """The tiny model with dropout in its attention, which LlamaFactory leaves on; that of layers it sets to 0."""
    folder = tmp_path_factory.mktemp("model") / "dropout"
    shutil.copytree(MODEL, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_dropout"] = 0.2
    (folder / "config.json").write_text(json.dumps(config))
    return {"model_name_or_path": str(folder)}


@pytest.fixture(scope="module")
def runs(train_many, data, with_dropout):
    jobs = {}
    for name, way in {**WAYS, "evaluated": EVALUATED}.items():
        jobs |= {f"{name} stock": {**COMMON, **way}, f"{name} fast": {**COMMON, **way, "pref_engine": "resonance"}}
    for name, way in OURS.items():
        jobs |= {f"{name} stock": {**COMMON, **way, "pref_speedups": "off"}, f"{name} fast": {**COMMON, **way}}
    noise = {**COMMON, **LORA, "pref_engine": "resonance", "neftune_noise_alpha": 5.0}
    dropout = {**noise, **with_dropout, "neftune_noise_alpha": None}
    jobs |= {"noise": noise, "dropout": dropout}
    jobs |= {f"{name} off": {**jobs[name], "pref_speedups": "off"} for name in ("noise", "dropout")}
    found = train_many({name: {**data, **job} for name, job in jobs.items()})
    for name, run in found.items():
        assert run.returncode == 0, (name, run.output[-4000:])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WAYS if name not in ROUNDED] + [*OURS])
def test_the_same_numbers(runs, name):
    fast, stock = runs[f"{name} fast"], runs[f"{name} stock"]
    assert on_off(fast)[0] == (ALL - {"padding_free"} if name in NOT_PACKED else ALL)
    assert on_off(stock)[0] == set()
    same_numbers(fast, stock)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUNDED)
def test_half_precision_stays_near(runs, name):
    """Rounding of the updates, not of one pass: the two runs part by what bfloat16 can hold."""
    assert on_off(runs[f"{name} fast"])[0] == ALL
    same_numbers(runs[f"{name} fast"], runs[f"{name} stock"], loss=5e-4, rel=5e-3)


@pytest.mark.slow
def test_evaluation_on_the_way_with_another_batch_size(runs):
    fast, stock = runs["evaluated fast"], runs["evaluated stock"]
    assert len(fast.logged("loss")) == 6 and len(fast.logged("eval_loss")) == 2
    same_numbers(fast, stock, but=("eval_",))  # LlamaFactory's means over batches weigh the short one like the others
    for ours, theirs in zip(fast.logged("eval_loss"), stock.logged("eval_loss"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.slow
def test_noisy_embeddings_keep_the_rows_apart(runs):
    """NEFTune draws noise for every row: what would give both responses one prompt is off, and nothing else."""
    on, off = on_off(runs["noise"])
    assert on == {"vision_once", "response_head", "frozen_tower"}
    assert off == dict.fromkeys(("padding_free", "shared_prefix"), "embeddings are noisy (neftune_noise_alpha)")
    assert "please report it" not in runs["noise"].output
    same_numbers(runs["noise"], runs["noise off"])  # the same random numbers, drawn in the same order


@pytest.mark.slow
def test_dropout_keeps_the_rows_apart(runs):
    on, off = on_off(runs["dropout"])
    assert on == {"response_head", "frozen_tower"} and all("dropout is on" in why for why in off.values())
    assert "please report it" not in runs["dropout"].output
    same_numbers(runs["dropout"], runs["dropout off"])


@pytest.mark.slow
def test_resumed_in_the_middle_it_is_bit_equal(train_many, data):
    """The comparison on the first batch leaves no trace in the numbers that follow."""
    saved = {**data, **COMMON, "pref_loss": "uni_dpo", "save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    whole = train_many({"whole": saved})["whole"]
    assert whole.returncode == 0, whole.output[-4000:]
    resumed = train_many({"r": {**saved, "resume_from_checkpoint": str(whole.output_dir / "checkpoint-2")}})["r"]
    assert resumed.returncode == 0, resumed.output[-4000:]
    names = ("loss", "grad_norm", "logps/chosen", "logps/rejected", "w_perf")
    assert len(whole.logged(*names)) == 4 and resumed.logged(*names) == whole.logged(*names)
    assert on_off(resumed)[0] == ALL


@pytest.mark.slow
def test_gradients_are_compared_also_if_an_evaluation_came_first(train_many, data):
    asked = {**data, **COMMON, "pref_loss": "uni_dpo", "max_steps": 1, "eval_dataset": "mixed"}
    run = train_many({"r": {**asked, "eval_strategy": "steps", "eval_on_start": True}})["r"]
    assert run.returncode == 0, run.output[-4000:]
    first, second = [line for line in run.output.splitlines() if "pref_speedups: on:" in line]
    assert "gradients not compared" in first and "its gradient by" in second


@pytest.mark.slow
def test_evaluation_alone(train_many, data):
    """No gradients to compare; the log-probabilities are, and the numbers are those of the plain path."""
    alone = {**data, "pref_loss": "simpo", "pref_engine": "resonance", "do_train": None, "do_eval": True}
    alone |= {"dataset": None, "eval_dataset": "mixed", "per_device_eval_batch_size": 3, "disable_shuffling": None}
    runs = train_many({"fast": alone, "off": {**alone, "pref_speedups": "off"}})
    results = {}
    for name, run in runs.items():
        assert run.returncode == 0, run.output[-4000:]
        results[name] = json.loads((run.output_dir / "all_results.json").read_text())
    assert on_off(runs["fast"])[0] == ALL and "gradients not compared" in runs["fast"].output
    for key, value in results["off"].items():
        if not key.endswith(("time", "per_second", "accuracies")):
            assert results["fast"][key] == pytest.approx(value, rel=1e-5, abs=1e-5), key
