# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""CHiP's preference of images against the authors' code: values, rewards and gradients."""

from __future__ import annotations

import json

import pytest
import torch

from losses.conftest import FOLDER
from losses.test_mdpo import corrupted_of, equals_the_authors_code
from resonance.losses import preference_loss

GOLD = json.loads((FOLDER / "chip.json").read_text())


@pytest.mark.parametrize("case", GOLD["cases"], ids=lambda case: f"beta {case['beta']}")
def test_values_and_gradients_of_the_authors_code(case, gold):
    equals_the_authors_code("chip_visual", case, gold("sum"))


def test_margins_of_images_are_logged(gold):
    batch = gold("sum")
    _, corrupted = corrupted_of(batch)
    output = preference_loss("chip_visual", **batch, corrupted=corrupted, beta=0.3)
    torch.testing.assert_close(output.stats["chip_image_margins"], 0.3 * corrupted.logits.detach())
    assert output.stats["chip_image_accuracies"].tolist() == [float(m > 0) for m in corrupted.logits.tolist()]
