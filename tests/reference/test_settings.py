# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Whatever changes what a reference computes is one named difference in the settings, and nothing else is."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from resonance.reference import settings
from resonance.reference.settings import ReferenceModel, reference_settings


def part(**values):
    """A part of a processor, as Transformers' parts tell what they are."""
    return SimpleNamespace(to_dict=lambda: values)


def folder(path, file, content, weights):
    path.mkdir(parents=True, exist_ok=True)
    (path / file).write_text(json.dumps(content))
    save_file({"w": torch.full((4,), weights)}, str(path / "model.safetensors"))
    return path


class Case:
    """Everything that `reference_settings` reads, on disk and in memory."""

    def __init__(self, root):
        self.root = root
        folder(root / "model", "config.json", {"hidden_size": 8}, 1.0)
        folder(root / "one", "adapter_config.json", {"r": 4}, 2.0)
        folder(root / "two", "adapter_config.json", {"r": 4}, 3.0)
        names = dict.fromkeys((*settings._LIMITS, *settings._LOADING))
        quantization = dict(quantization_method="bnb", quantization_type="nf4", double_quantization=True)
        hub = dict(model_revision="main", cache_dir=None, hf_hub_token=None, adapter_folder=None)
        self.model_args = SimpleNamespace(**names, **quantization, **hub)
        self.data_args = SimpleNamespace(template="qwen2_vl", cutoff_len=512, overlong="error")
        self.training_args = SimpleNamespace(bf16=False, fp16=False, learning_rate=1e-5)
        self.config = SimpleNamespace(_attn_implementation="sdpa", vocab_size=256)
        self.image, self.video, self.audio = {"patch_size": 14}, {"fps": 2.0}, {"rate": 16000}
        self.bits, self.adapters, self.shared, self.dtype = 4, ("one",), True, torch.float32

    def settings(self):
        adapters = tuple(str(self.root / name) for name in self.adapters)
        reference = ReferenceModel(str(self.root / "model"), adapters, self.bits, self.shared)
        args = self.model_args, self.data_args, self.training_args
        processor = SimpleNamespace(
            image_processor=part(**self.image),
            video_processor=part(**self.video),
            feature_extractor=part(**self.audio),
        )
        return reference_settings(reference, args, self.config, processor, self.dtype)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def sets(holder, name, value):
    return lambda case: setattr(getattr(case, holder) if holder else case, name, value)


DIFFERENT = {
    "template": [sets("data_args", "template", "qwen3_vl")],
    "model_config": [lambda case: folder(case.root / "model", "config.json", {"hidden_size": 9}, 1.0)],
    "model_weights": [lambda case: folder(case.root / "model", "config.json", {"hidden_size": 8}, 1.5)],
    "adapters": [
        sets(None, "adapters", ()),
        sets(None, "adapters", ("two",)),
        sets(None, "adapters", ("one", "two")),
        lambda case: folder(case.root / "one", "adapter_config.json", {"r": 4}, 2.5),
        lambda case: folder(case.root / "one", "adapter_config.json", {"r": 5}, 2.0),
    ],
    "quantization": [
        sets(None, "bits", None),
        sets(None, "bits", 8),
        sets("model_args", "quantization_method", "hqq"),
        sets("model_args", "quantization_type", "fp4"),
        sets("model_args", "double_quantization", False),
    ],
    "dtype": [
        sets(None, "dtype", torch.bfloat16),
        sets("training_args", "bf16", True),
        sets("training_args", "fp16", True),
    ],
    "attention": [sets("config", "_attn_implementation", "eager")],
    "processor": [
        lambda case: case.image.update(patch_size=16),
        lambda case: case.video.update(fps=1.0),
        lambda case: case.audio.update(rate=8000),
    ],
    **{name: [sets("model_args", name, 3)] for name in (*settings._LIMITS, *settings._LOADING)},
}
SAME = {
    "how rows are made": sets("data_args", "cutoff_len", 1024),
    "how it trains": sets("training_args", "learning_rate", 1.0),
    "another attribute of the configuration": sets("config", "vocab_size", 512),
    "where it came from": lambda case: folder(
        case.root / "model", "config.json", {"hidden_size": 8, "_name_or_path": "x"}, 1.0
    ),
    "whose model object it is": sets(None, "shared", False),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, changes in DIFFERENT.items() for change in changes],
    ids=[f"{name}-{i}" for name, changes in DIFFERENT.items() for i in range(len(changes))],
)
def test_one_change_is_one_named_difference(case, name, change):
    before = case.settings()
    change(case)
    now = case.settings()
    assert [key for key in {**before, **now} if before.get(key) != now.get(key)] == [name]


def test_every_setting_is_in_the_table(case):
    assert set(case.settings()) == set(DIFFERENT)
    assert json.loads(json.dumps(case.settings())) == case.settings(), "it reads back as it was written"


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_it_does_not_depend_on(case, change):
    before = case.settings()
    change(case)
    assert case.settings() == before


def test_values_are_those_of_the_run(case):
    found = case.settings()
    assert (found["attention"], found["dtype"], found["template"]) == ("sdpa", "float32", "qwen2_vl")
    assert found["quantization"] == (
        "4 bits, quantization_method bnb, quantization_type nf4, double_quantization True"
    )
    case.training_args.bf16, case.bits = True, None
    assert case.settings()["dtype"] == "float32, autocast bfloat16" and case.settings()["quantization"] is None


# -- which model it is ------------------------------------------------------------------------------------------------

MODEL_ARGS = SimpleNamespace(
    model_name_or_path="policy", adapter_name_or_path=["a", "b"], quantization_bit=None, use_unsloth=False
)
FINETUNING_ARGS = SimpleNamespace(
    ref_model=None,
    ref_model_adapters=None,
    ref_model_quantization_bit=None,
    finetuning_type="lora",
    create_new_adapter=False,
)
MODELS = {
    # the last adapter trains on, so it is off in the reference; the others are merged
    "lora": ({}, {}, ReferenceModel("policy", ("a",), None, True)),
    "a new adapter": ({}, {"create_new_adapter": True}, ReferenceModel("policy", ("a", "b"), None, True)),
    "a new adapter on bits": (
        {"quantization_bit": 4},
        {"create_new_adapter": True},
        ReferenceModel("policy", ("a",), 4, True),
    ),
    "a new adapter under unsloth": (
        {"use_unsloth": True},
        {"create_new_adapter": True},
        ReferenceModel("policy", ("a",), None, True),
    ),
    "full": ({}, {"finetuning_type": "full"}, ReferenceModel("policy", ("a", "b"), None, False)),
    "none": ({"adapter_name_or_path": None}, {}, ReferenceModel("policy", (), None, True)),
    "another": (
        {},
        {"ref_model": "other", "ref_model_adapters": "c, d", "ref_model_quantization_bit": 8},
        ReferenceModel("other", ("c", "d"), 8, False),
    ),
}


@pytest.mark.parametrize(("model", "finetuning", "expected"), MODELS.values(), ids=MODELS)
def test_which_model_the_reference_is(model, finetuning, expected):
    model_args, finetuning_args = copy.copy(MODEL_ARGS), copy.copy(FINETUNING_ARGS)
    vars(model_args).update(model)
    vars(finetuning_args).update(finetuning)
    assert ReferenceModel.of(model_args, finetuning_args) == expected
