# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a reward model's folder has to hold, and what is given in the place of what it does not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from loaded import loaded
from resonance.reward_model.settings import FILE, Settings, read_settings, settings_of, write_settings


@pytest.fixture
def folder(tmp_path):
    """An adapter as LlamaFactory leaves it, without settings."""
    (tmp_path / "value_head.safetensors").touch()
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    return str(tmp_path)


def test_no_torch_is_needed():
    assert loaded("import resonance.reward_model.settings, resonance.rewards.model", "torch", "llamafactory") == []


def test_what_a_run_writes_is_read(folder):
    model = SimpleNamespace(model_name_or_path="org/other", adapter_name_or_path=["a", "b"], image_max_pixels=50176)
    data = SimpleNamespace(
        template="qwen2_vl", cutoff_len=256, default_system=None, tool_format=None, enable_thinking=True
    )
    write_settings(settings_of(model, data, adapters=True, new_adapter=False), folder)
    found = read_settings(folder, {})
    assert (found.base, found.merged) == ("org/other", ["a"]), "training went on with the last one"
    arguments = found.arguments(folder)
    assert arguments["adapter_name_or_path"] == f"a,{folder}" and arguments["model_name_or_path"] == "org/other"
    assert (arguments["template"], arguments["cutoff_len"], arguments["image_max_pixels"]) == ("qwen2_vl", 256, 50176)
    assert settings_of(model, data, adapters=True, new_adapter=True).merged == ["a", "b"]
    assert settings_of(model, data, adapters=False, new_adapter=False).base is None


def test_nothing_else_of_the_file_reaches_the_parser(folder):
    saved = {"base": "org/base", "data": {"template": "qwen2_vl"}, "model": {"trust_remote_code": True}}
    with open(f"{folder}/{FILE}", "w") as file:
        json.dump(saved, file)
    assert "trust_remote_code" not in read_settings(folder, {}).arguments(folder)


def test_a_model_of_llamafactorys_own_trainer_needs_a_template(folder):
    with pytest.raises(ValueError, match=f"has no {FILE}, .* give `template: NAME`"):
        read_settings(folder, {})
    assert read_settings(folder, {"template": "qwen2_vl"}) == Settings("org/base", [], {"template": "qwen2_vl"})
    assert read_settings(folder, {"template": "qwen2_vl", "base": "my/base"}).base == "my/base"


def test_all_that_is_missing(tmp_path):
    with pytest.raises(ValueError, match="there is no folder 'saves/none'"):
        read_settings("saves/none", {})
    with pytest.raises(ValueError) as error:
        read_settings(str(tmp_path), {})
    for part in ("has no value_head.safetensors", "neither adapter_config.json nor config.json", "template: NAME"):
        assert part in str(error.value)


def test_a_whole_model_has_no_base(tmp_path, folder):
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a whole model, which has no base: leave `base` out"):
        read_settings(folder, {"template": "qwen2_vl", "base": "my/base"})


def test_an_adapter_whose_base_is_gone(tmp_path, folder):
    gone = tmp_path / "gone"
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(gone)}))
    with pytest.raises(ValueError, match="where no folder is now; give `base: MODEL`"):
        read_settings(folder, {"template": "qwen2_vl"})
