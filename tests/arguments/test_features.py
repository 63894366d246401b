# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The recipe key `image_feature_cache`: sizes in all the forms that people write, and what is refused."""

from __future__ import annotations

import pytest

from resonance.arguments import parameters
from resonance.arguments.features import feature_cache_bytes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("off", 0),
        (False, 0),  # what YAML makes of `off`
        ("8GB", 8_000_000_000),
        ("512MiB", 512 * 2**20),
        (" 1.5 gb ", 1_500_000_000),
        ("3kib", 3072),
        ("2TB", 2 * 10**12),
    ],
)
def test_what_is_understood(given, expected):
    assert feature_cache_bytes(given) == expected
    assert parameters.problems({"stage": "dpo", "pref_loss": "uni_dpo", "image_feature_cache": given}) == []


@pytest.mark.parametrize("given", [True, None, 8, "8", 8e9, "8G", "0GB", "-1GB", "auto", "eight GB", "8GBs", ["8GB"]])
def test_what_is_refused(given):
    with pytest.raises(ValueError, match="is not understood; allowed: off, or a size of memory with its unit"):
        feature_cache_bytes(given)
    (found,) = parameters.problems({"stage": "dpo", "pref_loss": "uni_dpo", "image_feature_cache": given})
    assert found.startswith(f"image_feature_cache: {given!r}")
