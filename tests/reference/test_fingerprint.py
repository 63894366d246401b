# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Models on disk are known by their content."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from resonance.reference.fingerprint import config_fingerprint, short, weights_fingerprint


def test_weights_are_known_by_content_not_by_name_or_date(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    weights = {"head": torch.ones(2000, 2), "norm": torch.ones(3)}
    save_file(weights, str(base / "model.safetensors"))
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    os.utime(copy / "model.safetensors", (1, 1))
    assert weights_fingerprint(copy) == weights_fingerprint(base)
    trained = {**weights, "norm": torch.tensor([1.0, 1.0, 1.1])}
    save_file(trained, str(copy / "model.safetensors"))  # same names, shapes and size
    assert weights_fingerprint(copy) != weights_fingerprint(base)


def test_other_weight_files(tmp_path):
    with pytest.raises(ValueError, match="no \\*.safetensors nor \\*.bin"):
        weights_fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(3 << 20))
    before = weights_fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(2 << 20) + b"\1" + bytes((1 << 20) - 1))
    assert weights_fingerprint(tmp_path) != before


def test_configs(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        config_fingerprint(tmp_path)
    found = []
    for content in ({"a": 1, "_name_or_path": "x"}, {"_name_or_path": "y", "a": 1}, {"a": 2}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        found.append(config_fingerprint(tmp_path))
    assert found[0] == found[1] != found[2] == short({"a": 2})
