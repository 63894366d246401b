# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance estimate` as a user meets it: recipes, lengths, options, advice and what it says of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from conftest import DATA, MODEL, SIDES, base_recipe
from forward.tiny import FAMILIES
from resonance.checks.estimate.gpus import GPUS, gpu_gibibytes
from resonance.checks.estimate.known import KNOWN, known_config
from resonance.checks.estimate.lengths import MARKUP, image_counter, image_tokens, spread
from resonance.checks.estimate.model import model_class
from resonance.checks.estimate.shapes import Vision
from resonance.cli.main import main

# The published configuration of Qwen2-VL-2B, whose sizes are public; no weight comes with it.
QWEN2_VL_2B = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "dtype": "bfloat16",
    "tie_word_embeddings": True,
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4},
}
BIG = {"bf16": True, "finetuning_type": "lora", "freeze_vision_tower": True, "freeze_multi_modal_projector": True}


@pytest.fixture
def big_model(tmp_path: Path) -> Path:
    folder = tmp_path / "qwen2_vl_2b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN2_VL_2B))
    return folder


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """`ask(changes, *options)`: exit code, output and error output of the command on a recipe."""

    def run(changes: dict[str, Any], *options: str) -> tuple[int, str, str]:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(base_recipe(tmp_path / "out", **changes)))
        code = main(["estimate", str(path), *options])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def numbers(ask: Any) -> Any:
    def run(changes: dict[str, Any], *options: str) -> dict[str, Any]:
        code, out, err = ask(changes, "--json", *options)
        assert code == 0, err
        return json.loads(out)

    return run


GIVEN = ("--image-tokens", "576", "--text-tokens", "100", "--response-tokens", "200", "--batch", "1")


@pytest.mark.parametrize(
    ("changes", "theirs", "ours"), [({}, 47.2, 16.3), ({"finetuning_type": "full"}, 42.2, 19.2)], ids=["lora", "full"]
)
def test_a_2b_model(numbers, big_model, changes, theirs, ours):
    """TFLOP a pair by an independent derivation: tower 32 x 1280, decoder 28 x 1536, 576 + 100 + 200 tokens."""
    found = numbers({**BIG, **changes, "model_name_or_path": str(big_model), "cutoff_len": 2048}, *GIVEN)
    assert found["parameters"]["all"] == pytest.approx(2.21e9, rel=0.01)
    totals = [path["flops"]["total"] / 1e12 for path in found["paths"]]
    assert totals == pytest.approx([theirs, ours], rel=0.02)
    assert [path["path"] for path in found["paths"]] == ["LlamaFactory", "Resonance"]


def test_the_text_says_what_was_assumed_and_not_measured(ask, big_model):
    changes = {**BIG, "model_name_or_path": str(big_model), "dataset": None}
    code, out, err = ask(changes, "--gpu", "H200")
    assert code == 0 and err == ""
    assert "defaults where no option was given, because the recipe names no dataset" in out
    assert "within 10 % of peaks measured on 2026-11-26 on one H100" in " ".join(out.split())
    assert "largest micro-batch, 140.4 GiB" in out
    assert "pref_engine: resonance runs this recipe" in out  # base recipe: sigmoid, which LlamaFactory trains
    assert "disable_gradient_checkpointing: true" in out


def test_advice_tells_the_peak_of_larger_steps(numbers, big_model):
    """As measured on a GPU: a LoRA step of one pair leaves most of it free, and eight pairs take little more."""
    changes = {**BIG, "model_name_or_path": str(big_model), "pref_loss": "uni_dpo", "gradient_accumulation_steps": 8}
    found = numbers({**changes, "cutoff_len": 2048}, *GIVEN, "--gpu", "H100")
    larger, without = found["advice"]
    assert larger.startswith("per_device_train_batch_size: 8 with gradient_accumulation_steps: 1 is the same")
    one, eight = found["paths"][1]["bytes"]["peak"], float(larger.split(": ")[-1].split()[0])
    assert f"instead of {one / 2**30:.1f}" in larger and eight < 2 * one / 2**30
    assert (
        "disable_gradient_checkpointing: true fits up to a micro-batch of" in without and "GiB at the peak" in without
    )


def test_lengths_come_from_the_data_set(numbers):
    found = numbers({"model_name_or_path": str(MODEL)})
    rows = json.loads((DATA / "pairs.json").read_text())
    assert f"the first {len(rows)} rows of pairs" in found["lengths"]["mean"]["source"]
    mean, longest = (found["lengths"][which] for which in ("mean", "longest"))
    assert mean["images"] == 1 and mean["image_tokens"] > 0
    assert longest["response"] + longest["text"] > mean["response"] + mean["text"]


def test_a_folder_with_nothing_but_a_configuration_counts_text_by_characters(numbers, big_model):
    """Transformers 5 makes a tokenizer without a vocabulary for it, to which every text is empty."""
    longest = numbers({"model_name_or_path": str(big_model)})["lengths"]["longest"]
    rows = json.loads((DATA / "pairs.json").read_text())
    assert longest["response"] == max(len(row[side]) for row in rows for side in SIDES) // 4 + MARKUP
    assert longest["text"] > MARKUP


def test_a_recipe_that_only_evaluates_is_told_apart(ask):
    assert "do_train: not true" in ask({"do_train": False, "do_eval": True})[1]
    assert "do_train" not in ask({})[1]


def test_rows_that_are_not_counted_are_told(ask):
    assert (
        "pref_loss: mdpo: the chosen response beside corrupted images, a third row a pair, is not counted"
        in " ".join(ask({"pref_loss": "mdpo"})[1].split())
    )
    assert "third row" not in ask({"pref_loss": "ddpo"})[1]


def test_options_replace_what_the_data_set_says(numbers):
    found = numbers({}, "--image-tokens", "9", "--response-tokens", "33")
    assert {found["lengths"][which]["image_tokens"] for which in ("mean", "longest")} == {9}
    assert {found["lengths"][which]["response"] for which in ("mean", "longest")} == {33}


def test_rows_are_cut_at_cutoff_len(numbers):
    found = numbers({"cutoff_len": 64}, "--text-tokens", "500", "--response-tokens", "20", "--image-tokens", "4")
    lengths = found["lengths"]["mean"]
    assert lengths["text"] + lengths["images"] * lengths["image_tokens"] + lengths["response"] == 64
    assert "cut to cutoff_len: 64" in lengths["source"]


def test_overrides_are_recipe_keys(numbers):
    found = numbers({}, "--set", "per_device_train_batch_size=7", "--set", "gradient_accumulation_steps=3")
    assert (found["setup"]["batch"], found["setup"]["accumulation"]) == (7, 3)


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({"finetuning_type": "lora"}, "adapter off"),
        ({"finetuning_type": "full"}, "copy"),
        ({"pref_loss": "simpo"}, "none"),
        ({"pref_loss": "uni_dpo"}, "copy"),
        ({"stage": "rm"}, "none"),
        ({"stage": "sft"}, "none"),
    ],
    ids=str,
)
def test_reference(numbers, changes, reference):
    found = numbers(changes)
    assert found["setup"]["reference"] == reference
    assert (found["paths"][0]["flops"]["reference"] > 0) == (reference != "none")
    assert len(found["paths"]) == (2 if changes.get("stage", "dpo") == "dpo" else 1)


def test_what_trains_is_what_llamafactory_trains(numbers):
    def trained(**changes: Any) -> dict[str, int]:
        parts = numbers(changes)["parameters"]["parts"]
        return {name: part["trained"] for name, part in parts.items()}

    frozen = trained(freeze_vision_tower=True, freeze_multi_modal_projector=True)
    assert frozen["vision tower"] == frozen["projector"] == 0 < frozen["decoder"]
    open_ = trained()
    assert open_["vision tower"] > 0 and open_["projector"] > 0
    lora = trained(finetuning_type="lora", lora_rank=4)
    assert 0 < lora["decoder"] < open_["decoder"] and lora["output head"] == lora["embeddings"] == 0
    assert trained(finetuning_type="lora", lora_rank=8)["decoder"] == 2 * lora["decoder"]


def test_deepspeed_is_read_from_its_file(numbers, ask, tmp_path, big_model):
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}))
    changes = {**BIG, "finetuning_type": "full", "model_name_or_path": str(big_model), "deepspeed": str(path)}
    found = numbers(changes, "--world-size", "4", *GIVEN)
    fixed = found["paths"][0]["bytes"]["fixed"]
    everything = found["parameters"]["all"]
    assert fixed["weights"] == pytest.approx(2 * everything / 4) == pytest.approx(fixed["reference"])
    assert fixed["optimizer"] == 0
    path.write_text("{")
    code, _, err = ask(changes)
    assert code == 2 and "is not JSON" in err


def test_quantised_weights(numbers, big_model):
    changes = {**BIG, "model_name_or_path": str(big_model)}
    whole, quarter = (
        numbers({**changes, **more}, *GIVEN)["paths"][0]["bytes"]["fixed"]["weights"]
        for more in ({}, {"quantization_bit": 4})
    )
    assert 0.3 * whole < quarter < 0.5 * whole  # embeddings stay in 16 bits


@pytest.mark.parametrize(
    ("changes", "off"),
    [
        (
            {"pref_speedups": "off", "pref_loss": "uni_dpo"},
            {"response_head", "shared_prefix", "vision_once", "padding_free"},
        ),
        ({"flash_attn": "disabled"}, {"padding_free"}),
        (
            {"pref_speedups": ["response_head"], "pref_loss": "uni_dpo"},
            {"shared_prefix", "vision_once", "padding_free"},
        ),
    ],
    ids=["off", "eager attention", "one asked for"],
)
def test_only_speedups_that_can_be_used_count(numbers, changes, off):
    found = numbers(changes)
    assert not off & set(found["paths"][-1]["speedups"])


def test_dropout_takes_nothing_away_because_the_trainer_sets_it_to_zero(numbers):
    asked = {"finetuning_type": "lora", "lora_dropout": 0.1}
    assert {"shared_prefix", "vision_once", "padding_free"} <= set(numbers(asked)["paths"][-1]["speedups"])


def test_flash_attention_shares_prompts_and_packs_rows(numbers):
    assert {"shared_prefix", "padding_free"} <= set(numbers({"flash_attn": "fa2"})["paths"][-1]["speedups"])


def test_advice_when_it_does_not_fit(ask, big_model):
    changes = {**BIG, "finetuning_type": "full", "model_name_or_path": str(big_model)}
    code, out, _ = ask(changes, "--gpu-memory", "24", "--batch", "1")
    assert code == 0 and "none fits" in out
    assert "finetuning_type: lora" in out and "ZeRO-" in out


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"pref_los": 1}, (), "pref_los: no such key"),
        ({"stage": "kto"}, (), "'kto' is not modelled; allowed: dpo, rm, sft"),
        ({"model_name_or_path": "/nowhere/at/all"}, (), "model_name_or_path: no configuration of '/nowhere/at/all'"),
        ({"model_name_or_path": "saves/made/later"}, (), "an earlier recipe may have to make it"),
        ({"deepspeed": "nowhere.json"}, (), "deepspeed: cannot read nowhere.json"),
        ({"pref_loss": "uni_dp"}, (), "uni_dp"),
        ({"dataset": "pears"}, (), "pears"),
        ({}, ("--batch", "0", "--text-tokens", "0"), "--batch: 0; allowed: a whole number from 1; --text-tokens: 0"),
        ({}, ("--gpu", "H10"), "nearest: H100"),
        ({}, ("--gpu-memory", "-3"), "--gpu-memory: -3.0"),
        ({}, ("--set", "batch"), "behind a recipe file write key=value"),
        ({"per_device_train_batch_size": "many"}, (), "per_device_train_batch_size: 'many'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(ask, changes, options, said):
    code, out, err = ask(changes, *options)
    assert (code, out) == (2, "")
    assert err.startswith("resonance estimate: ") and said in err and "Next: " in err


def test_a_file_that_is_no_recipe(capsys, tmp_path):
    for text, said in (("- a\n- b\n", "this one holds a list"), ("a: [", "not YAML"), (None, "No such file")):
        path = tmp_path / "r.yaml"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        assert main(["estimate", str(path)]) == 2
        assert said in capsys.readouterr().err


def tiny(family: str, folder: Path) -> str:
    """A folder with the configuration of a tiny model."""
    config = FAMILIES[family]() if family in FAMILIES else getattr(transformers, family)()
    config.save_pretrained(folder / family)
    return str(folder / family)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_counted(numbers, tmp_path, family):
    options = ("--text-tokens", "30", "--response-tokens", "20", "--image-tokens", "4")
    found = numbers({"model_name_or_path": tiny(family, tmp_path), "finetuning_type": "lora"}, *options)
    theirs, ours = (path["flops"]["total"] for path in found["paths"])
    assert 0 < ours < theirs
    vision = found["paths"][0]["flops"]["vision"]
    assert (vision == 0) == (family == "qwen2")


@pytest.mark.parametrize("family", ["MllamaConfig", "Qwen2AudioConfig"])
def test_architectures_that_are_not_modelled_are_refused(ask, tmp_path, family):
    code, _, err = ask({"model_name_or_path": tiny(family, tmp_path)})
    assert code == 2 and "not modelled" in err


def test_a_state_that_runs_through_a_row_keeps_it_from_being_shared(ask, tmp_path):
    config = transformers.Qwen3_5Config(
        text_config=dict(hidden_size=32, num_hidden_layers=4, intermediate_size=64, vocab_size=64),
        vision_config=dict(depth=1, hidden_size=16, intermediate_size=32, num_heads=2, out_hidden_size=32),
    )
    config.save_pretrained(tmp_path / "model")
    code, out, _ = ask({"model_name_or_path": str(tmp_path / "model")})
    assert code == 0 and "shared_prefix: off, because linear attention" in out


def test_images_longer_than_cutoff_len_are_told(ask):
    _, out, _ = ask({"cutoff_len": 64}, "--image-tokens", "100", "--text-tokens", "9", "--response-tokens", "9")
    assert "which cuts into the images: a run would fail" in out


def test_image_tokens_are_those_of_llamafactory():
    """Against the collator's own image processing; sizes below, within and beyond the pixel limits."""
    from types import SimpleNamespace

    from llamafactory.data.mm_plugin import get_mm_plugin
    from PIL import Image
    from transformers import AutoProcessor

    limits = SimpleNamespace(image_max_pixels=50176, image_min_pixels=784)
    processor = AutoProcessor.from_pretrained(MODEL)
    for name, value in vars(limits).items():
        setattr(processor, name, value)
    plugin = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>")
    vision = Vision(2, 16, 4, None, 2, 0, 0, 0, token_pixels=28 * 28)
    for size in ((28, 28), (56, 84), (100, 37), (640, 480), (1024, 300), (8, 8)):
        grid = plugin._get_mm_inputs([Image.new("RGB", size)], [], [], processor)["image_grid_thw"]
        assert abs(image_tokens(size, vision, limits) - int(grid.prod()) // 4) <= 1, size


def test_gpus_by_name():
    assert gpu_gibibytes("h200") == GPUS["H200"] and gpu_gibibytes("A100 40GB".replace(" ", "-")) == 40


def test_a_reference_on_disk_costs_nothing_on_the_right(numbers, ask):
    full = {"precompute_ref_log_probs": True, "pref_loss": "uni_dpo"}
    found = numbers(full, *GIVEN)
    theirs, ours = found["paths"]
    assert (theirs["reference"], ours["reference"]) == ("copy", "none")
    assert theirs["flops"]["reference"] > 0 == ours["flops"]["reference"]
    assert theirs["bytes"]["fixed"]["reference"] > 0 == ours["bytes"]["fixed"]["reference"]
    _, out, _ = ask(full, *GIVEN)
    assert "reference: copy, on disk for Resonance" in out and "once before the training" in out
    off = numbers({**full, "pref_speedups": "off"}, *GIVEN)["paths"]
    assert len(off) == 2 and off[1]["speedups"] == [] and off[1]["flops"]["reference"] == 0


def test_a_cache_of_features_is_told(ask):
    """By hand: 576 tokens x width 64 x 4 bytes are 147,456 of 1,000,000 bytes: 6 pictures."""
    frozen = {"pref_loss": "uni_dpo", "freeze_vision_tower": True, "freeze_multi_modal_projector": True}
    _, out, _ = ask({**frozen, "image_feature_cache": "1MB"}, *GIVEN)
    width = json.loads((MODEL / "config.json").read_text())["text_config"]["hidden_size"]
    assert f"so that about {1_000_000 // (576 * width * 4)} fit" in out
    _, out, _ = ask({"pref_loss": "uni_dpo", "image_feature_cache": "1MB"}, *GIVEN)
    assert "image_feature_cache: no effect, the vision tower or its projector trains" in out


def test_rows_of_a_micro_batch_are_padded_to_the_longest():
    """By hand: of two rows drawn from 10 and 30 the longest is 10 once in four times: 25, and the mean is 20."""
    assert spread([30, 10], 2) == 1.25
    assert spread([30, 10], 1) == 1.0 == spread([7], 5)


def test_padding_free_saves_what_uneven_rows_are_padded_by(numbers):
    whole = numbers({"pref_loss": "uni_dpo"}, "--batch", "4")["paths"][1]["flops"]["decoder"]
    padded = numbers({"pref_loss": "uni_dpo", "pref_speedups": ["shared_prefix", "response_head"]}, "--batch", "4")[
        "paths"
    ][1]["flops"]["decoder"]
    assert whole < padded


@pytest.mark.parametrize("family", ["llava_next", "intern_vl"])
def test_tiles_are_counted_by_the_processor(family, tmp_path, monkeypatch):
    """A small picture becomes fewer tiles than the most; the numbers are the counter's, which the rows use, too."""
    from types import SimpleNamespace

    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "scripts")
    from benchmark_image_tokens import FAMILIES as PROCESSORS
    from benchmark_image_tokens import make_processor
    from llamafactory.data.template import TEMPLATES
    from llamafactory.model import loader

    from resonance.rows.vision.counter import make_counter

    processor = make_processor(family)
    template = TEMPLATES[PROCESSORS[family].template]
    monkeypatch.setattr(loader, "load_tokenizer", lambda model_args: {"processor": processor})
    vision = Vision(2, 16, 1, 576, 2, 0, 0, 0, tiles=5)
    count = image_counter(vision, SimpleNamespace(), SimpleNamespace(template=PROCESSORS[family].template))
    assert count((300, 200)) == make_counter(template, processor).image_tokens((300, 200)) != 5 * 576
    assert count(None) == 5 * 576


@pytest.mark.parametrize("name", KNOWN)
def test_usual_models_have_their_published_size(name):
    config, billions = known_config(name), KNOWN[name][1]
    made = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = model_class(made).from_config(made)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.004)


def test_a_usual_model_is_estimated_without_a_file_of_it(ask, numbers, big_model):
    options = (*GIVEN, "--gpu", "H100")
    by_name = numbers({**BIG, "model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct"}, *options)
    by_file = numbers({**BIG, "model_name_or_path": str(big_model)}, *options)
    assert by_name.pop("notes") != by_file.pop("notes") and by_name == by_file
    code, text, _ = ask({**BIG, "model_name_or_path": "qwen/qwen2.5-vl-7b"}, *options)
    assert code == 0 and "the shape that comes with Resonance; nothing of the model was read" in text
    code, _, error = ask({**BIG, "model_name_or_path": "Qwen/Qwen2.5-VL-8B-Instruct"}, *options)
    assert code == 2 and "comes with Resonance: Qwen/Qwen2.5-VL-" in error


def test_recipes_are_read_as_llamafactory_reads_them(capsys, tmp_path, big_model):
    recipe = base_recipe(tmp_path / "out", **{**BIG, "model_name_or_path": str(big_model)})
    (tmp_path / "r.json").write_text(
        json.dumps({key: str(v) if isinstance(v, Path) else v for key, v in recipe.items()})
    )
    words = ["pref_loss=simpo", "pref_engine=resonance", "learning_rate=1e-5", "--json"]
    assert main(["estimate", str(tmp_path / "r.json"), *words, *GIVEN]) == 0
    assert json.loads(capsys.readouterr().out)["setup"]["reference"] == "none"
