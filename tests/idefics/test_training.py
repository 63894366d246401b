# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""DPO trains them: what is frozen, where adapters go, and whole runs on both engines."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from llamafactory.model.model_utils.misc import find_all_linear_modules
from llamafactory.model.model_utils.visual import COMPOSITE_MODELS, get_forbidden_modules, patch_target_modules
from safetensors.torch import load_file

from idefics.models import KINDS, TEMPLATE, make_model, make_processor, write_model


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param, make_processor(request.param))


def settings(*trained: str) -> Any:
    names = ("vision_tower", "multi_modal_projector", "language_model")
    return SimpleNamespace(**{f"freeze_{name}": name not in trained for name in names})


def part_of(name: str) -> str:
    """Tower, projector or language model."""
    tower = "vision_tower" if name.startswith("model.vision_model.") else "language_model"
    return "multi_modal_projector" if name.startswith("model.connector.") else tower


@pytest.mark.parametrize("trained", ["vision_tower", "multi_modal_projector", "language_model"])
def test_each_part_is_frozen_by_its_name(model: Any, trained: str) -> None:
    forbidden = get_forbidden_modules(model.config, settings(trained))
    left = [name for name, _ in model.named_parameters() if not any(part in name for part in forbidden)]
    assert left == [name for name, _ in model.named_parameters() if part_of(name) == trained] != []
    assert len(COMPOSITE_MODELS[model.config.model_type].get_projectors(model)) == 1


@pytest.mark.parametrize("tower", [False, True])
def test_adapters_go_into_the_language_model_and_into_a_tower_that_trains(model: Any, tower: bool) -> None:
    trained = ("language_model", *(["vision_tower"] if tower else []))
    layers = find_all_linear_modules(model, freeze_vision_tower=not tower)
    names = patch_target_modules(model, settings(*trained), layers)
    assert {part_of(name) for name in names} == set(trained)
    inside = [name for name, module in model.named_modules() if type(module).__name__ == "Linear"]
    assert set(names) == {name for name in inside if part_of(name) in trained and name != "lm_head"}


@pytest.fixture(scope="module")
def runs(train_many: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    recipes = {}
    for kind in ("idefics2", "smolvlm"):
        folder = write_model(kind, tmp_path_factory.mktemp(kind))
        common = {"model_name_or_path": str(folder), "template": TEMPLATE[kind], "max_steps": 3, "cutoff_len": 1024}
        common |= {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 4, "num_train_epochs": None}
        common |= {"freeze_vision_tower": None, "freeze_multi_modal_projector": None}
        recipes[f"{kind} stock"] = common
        recipes[f"{kind} ours"] = common | {"pref_engine": "resonance"}
    return train_many(recipes)


@pytest.mark.parametrize("kind", ["idefics2", "smolvlm"])
def test_dpo_trains_and_equals_llamafactorys_own(runs: dict[str, Any], kind: str) -> None:
    ours, stock = runs[f"{kind} ours"], runs[f"{kind} stock"]
    assert ours.returncode == 0, ours.output[-3000:]
    assert stock.returncode == 0, stock.output[-3000:]
    names = ("loss", "grad_norm", "rewards/margins", "logps/chosen", "logps/rejected")
    for mine, theirs in zip(ours.logged(*names), stock.logged(*names), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=2e-4)
    assert len(ours.logged("loss")) == 3 and ours.logged("loss")[0] != ours.logged("loss")[2]
    on = next(line for line in ours.output.splitlines() if "pref_speedups: on:" in line)
    assert all(name in on for name in ("shared_prefix", "vision_once", "response_head", "frozen_tower"))
    assert "Image tokens of" not in ours.output, "they are counted from headers"
    adapters = load_file(ours.output_dir / "adapter_model.safetensors")
    assert adapters and all("text_model" in name for name in adapters)


def test_the_web_interface_offers_them() -> None:
    from llamafactory.data.template import TEMPLATES
    from llamafactory.extras.constants import DEFAULT_TEMPLATE, MULTIMODAL_SUPPORTED_MODELS, SUPPORTED_MODELS

    for name, template in (("idefics2-8b", "idefics2"), ("SmolVLM-Instruct", "smolvlm")):
        assert name in MULTIMODAL_SUPPORTED_MODELS and DEFAULT_TEMPLATE[name] == template in TEMPLATES
        assert next(iter(SUPPORTED_MODELS[name].values())).endswith(f"/{name}")


def test_export_writes_a_model_with_its_processor(runs: dict[str, Any], tmp_path: Any) -> None:
    from llamafactory.train.tuner import export_model
    from transformers import AutoModelForImageTextToText, AutoProcessor

    adapter = runs["smolvlm ours"].output_dir
    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    keys = {"model_name_or_path": base, "adapter_name_or_path": str(adapter), "template": "smolvlm"}
    export_model(keys | {"export_dir": str(tmp_path), "infer_dtype": "float32", "export_legacy_format": False})
    ours, before = (AutoModelForImageTextToText.from_pretrained(path).state_dict() for path in (tmp_path, base))
    changed = {name for name in ours if not ours[name].equal(before[name])}
    assert changed and all("text_model" in name for name in changed)
    assert AutoProcessor.from_pretrained(tmp_path).image_seq_len == 4
