# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Training with the reference on disk is training with the reference in memory, through LlamaFactory's own command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from conftest import MODEL, SCRIPTS, base_recipe
from resonance.reference.store import ReferenceStore

ROOT = Path(__file__).parents[2]
CPU_RANKS = str(Path(__file__).parents[1] / "cpu_ranks")
PATHS = os.pathsep.join(filter(None, (CPU_RANKS, os.environ.get("PYTHONPATH"))))
TWO_RANKS = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "PYTHONPATH": PATHS}

CACHED = {"precompute_ref_log_probs": True}
# Without its NLL term: that is for pairs whose chosen response the policy likes less than the reference does, which is
# decided by rounding while the two are the same model.
UNI_DPO = {"pref_loss": "uni_dpo", "pref_beta": 2.0, "uni_dpo_nll_lambda": 0.0}
LORA = {"finetuning_type": "lora", "lora_rank": 4}
EVALUATED = {"eval_dataset": "pairs", "eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 3}
NOT_COMPARED = ("runtime", "per_second", "total_flos")
COMPUTED, FOUND = "rows computed in", "the reference model is not needed"


def stored(folder):
    """Log-probabilities by key, read without regard to the settings."""
    settings = json.loads((folder / "manifest.json").read_text())["settings"]
    settings.pop("schema_version")
    store = ReferenceStore(folder, settings, {}, responses=2)
    return {key: store.lookup([key], means=False)[0] for key in store._places}


def same(one, other, loss=1e-6, rel=1e-5):
    ours, theirs = one.state["log_history"], other.state["log_history"]
    assert len(ours) == len(theirs) and any("loss" in line for line in ours)
    for cached, live in zip(ours, theirs, strict=True):
        assert set(cached) == set(live)
        for key in live:
            margin = f"{key.partition('rewards/')[0].partition('accuracies/')[0]}rewards/margins"
            undecided = key.endswith("accuracies") and abs(live[margin]) < 1e-5
            # before the first update policy and reference are the same, up to rounding
            undecided |= key.endswith("accuracies/reference") and (live["step"] == 1 or abs(live[margin]) < 1e-5)
            if not key.endswith(NOT_COMPARED) and not undecided:  # before the first update every margin is rounding
                # ipo's loss is about 25, of which the last bit of a float32 is 2e-6
                close = {"abs": loss, "rel": 2e-7} if key in ("loss", "eval_loss") else {"abs": 1e-5, "rel": rel}
                assert cached[key] == pytest.approx(live[key], **close), (live["step"], key)


def fails(run, *texts):
    assert run.returncode != 0
    for text in texts:
        assert text in run.output, run.output[-3000:]


ACCUMULATED = {**EVALUATED, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2, "max_samples": 12}
RECIPES = {"full": {**UNI_DPO, **ACCUMULATED}, "lora": {**UNI_DPO, **ACCUMULATED, **LORA}}
MORE_RECIPES = {
    "sums": {
        "pref_loss": "sigmoid",
        "pref_engine": "resonance",
        "ld_alpha": 0.5,
        "pref_ftx": 0.1,
        "max_samples": 12,
        "dataloader_num_workers": 2,
    },
    "bco": {"pref_loss": "bco_pair", **LORA, "pref_speedups": "off", "max_samples": 12},
    "frozen": {"pref_loss": "ipo", "finetuning_type": "freeze", "freeze_trainable_layers": 1, "max_samples": 12},
}


def in_three_ways(recipes, train_many, caches):
    """Each recipe with a live reference, with a cache that it fills, and with that cache, in this order."""
    jobs = {}
    for name, recipe in recipes.items():
        with_cache = {**recipe, **CACHED, "ref_log_probs_dir": str(caches / name)}
        jobs |= {name: recipe, f"{name} filling": with_cache, f"{name} filled": with_cache}
    found = train_many(jobs)
    for name, run in found.items():
        assert run.returncode == 0, (name, run.output[-4000:])
    for name in recipes:
        same(found[f"{name} filling"], found[name])
        same(found[f"{name} filled"], found[name])
        assert COMPUTED in found[f"{name} filling"].output
        assert FOUND in found[f"{name} filled"].output and COMPUTED not in found[f"{name} filled"].output
    return found


def test_cached_equals_live(train_many, tmp_path):
    """With accumulation and an evaluation on the way; the reference model is loaded only to fill."""
    found = in_three_ways(RECIPES, train_many, tmp_path)
    loaded = "Created reference model from the model itself"
    assert [loaded in found[name].output for name in ("full", "full filling", "full filled")] == [True, True, False]


@pytest.mark.slow
def test_cached_equals_live_for_other_losses(train_many, tmp_path):
    in_three_ways(MORE_RECIPES, train_many, tmp_path)


@pytest.mark.slow
def test_cached_equals_llamafactory(train_many):
    """The key alone brings a loss of LlamaFactory's to our trainer; its own trainer gives the same numbers."""
    recipe = {"pref_loss": "sigmoid", "max_samples": 12}
    found = train_many({"stock": recipe, "cached": {**recipe, **CACHED}})
    cached, stock = found["cached"], found["stock"]
    assert cached.returncode == stock.returncode == 0, cached.output[-3000:]
    assert (cached.output_dir / "ref_log_probs" / "manifest.json").is_file()
    for name in ("loss", "rewards/margins", "logps/chosen"):
        for ours, theirs in zip(cached.logged(name), stock.logged(name), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6, rel=1e-6), name


@pytest.mark.slow
def test_one_cache_for_losses_and_ways_to_train(train_many, tmp_path):
    """What a reference says does not depend on the loss: full and LoRA, sums and means, share a folder."""
    shared = {**CACHED, "ref_log_probs_dir": str(tmp_path), "max_samples": 12}
    found = train_many(
        {
            "first": {**UNI_DPO, **LORA, **shared},
            "second": {"pref_loss": "hinge", **shared, "per_device_train_batch_size": 3},
            "more rows": {**UNI_DPO, **shared, "max_samples": 20},
        }
    )
    assert [run.returncode for run in found.values()] == [0, 0, 0], found["second"].output[-3000:]
    assert FOUND in found["second"].output
    assert "8 distinct ones are to be computed" in found["more rows"].output


@pytest.mark.slow
def test_what_is_refused(train_many, tmp_path):
    """The folder names what differs; recipes that cannot be cached say why before anything is loaded."""
    cache = str(tmp_path / "cache")
    trained = tmp_path / "model"
    shutil.copytree(MODEL, trained)
    from safetensors.torch import load_file, save_file

    weights = load_file(str(trained / "model.safetensors"))
    name = sorted(weights)[0]
    save_file({**weights, name: weights[name] + 1e-3}, str(trained / "model.safetensors"), {"format": "pt"})
    base = {**UNI_DPO, **CACHED, "ref_log_probs_dir": cache, "max_samples": 4}
    found = train_many(
        {
            "fill": {**base, **LORA},
            "pixels": {**base, "image_max_pixels": 4096},
            "model": {**base, "model_name_or_path": str(trained)},
            "attention": {**base, "flash_attn": "disabled"},
            "dtype": {**base, "bf16": True},
            "simpo": {**base, "pref_loss": "simpo"},
            "stream": {**base, "streaming": True, "max_steps": 2},
            "only": {**UNI_DPO, "precompute_only": True, "ref_log_probs_dir": cache},
            "word": {**base, "precompute_ref_log_probs": "yes please"},
            "padding": {**base, "ignore_pad_token_for_loss": False},
        }
    )
    assert found.pop("fill").returncode == 0
    stale = {"pixels": "image_max_pixels", "model": "model_weights", "attention": "attention", "dtype": "dtype"}
    for name, key in stale.items():
        fails(found[name], "made with other settings", f"  - {key}: ")
        assert found[name].output.count("\n  - ") == 1, found[name].output[-3000:]
    fails(found["simpo"], "precompute_ref_log_probs: pref_loss: simpo has no reference model")
    fails(found["stream"], "precompute_ref_log_probs: the rows of a stream")
    fails(found["only"], "precompute_only: needs `precompute_ref_log_probs: true`", "ref_log_probs_dir: needs")
    fails(found["word"], "precompute_ref_log_probs: 'yes please' is not true or false")
    fails(found["padding"], "ignore_pad_token_for_loss")


def test_dropout_does_not_reach_what_is_stored(train_many, tmp_path):
    """Of a model with dropout in its attention, LlamaFactory's live LoRA reference is a random number."""
    noisy = tmp_path / "model"
    shutil.copytree(MODEL, noisy)
    config = json.loads((noisy / "config.json").read_text())
    for part in (config, config.get("text_config") or {}):
        part["attention_dropout"] = 0.5
    (noisy / "config.json").write_text(json.dumps(config))
    base = {**UNI_DPO, **LORA, **CACHED, "max_samples": 8}
    found = train_many(
        {
            "quiet": {**base, "ref_log_probs_dir": str(tmp_path / "quiet"), "precompute_only": True},
            "noisy": {**base, "ref_log_probs_dir": str(tmp_path / "noisy"), "model_name_or_path": str(noisy)},
        }
    )
    assert [run.returncode for run in found.values()] == [0, 0], found["noisy"].output[-3000:]
    quiet, with_dropout = stored(tmp_path / "quiet"), stored(tmp_path / "noisy")
    assert quiet.keys() == with_dropout.keys() and len(quiet) == 8
    for key in quiet:
        torch.testing.assert_close(with_dropout[key], quiet[key], rtol=1e-6, atol=1e-6)


def test_an_adapter_that_is_trained_further_is_off_in_what_is_stored(train_many, tmp_path):
    """A fresh adapter's B is zero, so only one that has been trained tells on from off."""
    lora = {**UNI_DPO, **LORA, "max_samples": 8}
    trained = train_many({"trained": {**lora, "learning_rate": 2e-2, "num_train_epochs": 2}})["trained"]
    assert trained.returncode == 0, trained.output[-3000:]
    further = {**lora, "adapter_name_or_path": str(trained.output_dir)}
    only = {**CACHED, "ref_log_probs_dir": str(tmp_path / "only"), "precompute_only": True}
    found = train_many(
        {
            "live": further,
            "cached": {**further, **CACHED, "ref_log_probs_dir": str(tmp_path / "cached")},
            "only": {**further, **only},
        }
    )
    assert [run.returncode for run in found.values()] == [0, 0, 0], found["cached"].output[-3000:]
    same(found["cached"], found["live"])
    ((margin, chosen), *_) = found["live"].logged("rewards/margins", "rewards/chosen")
    assert max(abs(margin), abs(chosen)) / UNI_DPO["pref_beta"] > 0.1, "on and off differ"
    one, other = stored(tmp_path / "cached"), stored(tmp_path / "only")
    assert one.keys() == other.keys() and len(one) == 8
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-6, atol=1e-6)


def test_computing_needs_no_training(train_many, tmp_path):
    """Nor `do_train`: LlamaFactory makes no adapter then, and the reference of LoRA is the policy without it."""
    base = {**UNI_DPO, **LORA, **CACHED, "max_samples": 4, "precompute_only": True}
    named = {"training": {}, "not": {"do_train": None}}
    runs = {name: {**base, **changes, "ref_log_probs_dir": str(tmp_path / name)} for name, changes in named.items()}
    found = train_many(runs)
    assert [run.returncode for run in found.values()] == [0, 0], found["not"].output[-3000:]
    one, other = stored(tmp_path / "training"), stored(tmp_path / "not")
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_command(cli_env, tmp_path):
    """`resonance precompute` computes, says what to put into the recipe, and trains nothing."""
    (tmp_path / "datasets.py").write_text("raise SystemExit('a file of the working folder was executed')\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(base_recipe(tmp_path / "out", **UNI_DPO, max_samples=6)))

    def command(*words):
        done = subprocess.run(
            [str(SCRIPTS / "resonance"), *words],
            env=cli_env,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout

    code, output = command("precompute", str(path))
    folder = tmp_path / "out" / "ref_log_probs"
    assert code == 0, output[-3000:]
    assert f"precompute_ref_log_probs: true\nref_log_probs_dir: {folder}" in output and "rows/s" in output
    assert len(stored(folder)) == 6 and sorted(file.name for file in (tmp_path / "out").iterdir()) == ["ref_log_probs"]
    assert command("precompute", "nowhere.yaml")[0] == command("precompute", str(path), "what")[0] == 2
    code, output = command("precompute", str(path), "pref_loss=simpo")
    assert code == 1 and "simpo has no reference model" in output
    assert f"Next: correct that, then resonance precompute {path} pref_loss=simpo (rows" in output


# -- ranks ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_rank(train_many):
    """Runs of one rank, and a cache in which two of their 16 rows are."""
    recipe = {**UNI_DPO, **CACHED, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    begun = {**recipe, "max_samples": 2, "precompute_only": True}
    recipe = {**recipe, "max_samples": 16}
    found = train_many({"full": recipe, "lora": {**recipe, **LORA}, "begun": begun})
    assert [run.returncode for run in found.values()] == [0, 0, 0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("stage", ["ddp", "z3"])
def test_two_ranks(stage, tuning, one_rank, recipe, train):
    """Seven batches are left for two ranks, so that one of them has a call less than the other."""
    engine = {"deepspeed": str(ROOT / "examples" / "deepspeed" / "ds_z3_config.json"), "use_cpu": None}
    changes = {**UNI_DPO, **CACHED, "per_device_train_batch_size": 2, "max_samples": 16}
    changed = recipe(**changes, **(LORA if tuning == "lora" else {}), **(engine if stage == "z3" else {}))
    folder = Path(changed["output_dir"]) / "ref_log_probs"
    shutil.copytree(one_rank["begun"].output_dir / "ref_log_probs", folder)
    together, alone = train(changed, **TWO_RANKS), one_rank[tuning]
    ours, theirs = stored(folder), stored(alone.output_dir / "ref_log_probs")
    assert f"{len(theirs) - 2} distinct ones are to be computed" in together.output, together.output[-3000:]
    assert ours.keys() == theirs.keys() and len(list(folder.glob("shard-*"))) == 3
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-6, atol=1e-6)
    same(together, alone, loss=1e-5, rel=1e-4)
