# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is logged about a batch, by hand."""

from __future__ import annotations

import torch

from resonance.losses import LossOutput
from resonance.losses.metrics import pair_metrics


def test_rewards_and_statistics():
    chosen, rejected = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 3.0, 0.5])
    stats = {"w_perf": torch.tensor([0.1, 0.2, 0.3])}
    metrics = pair_metrics(LossOutput(torch.ones(3), chosen, rejected, stats))
    assert list(metrics) == ["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "w_perf"]
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.0, 0.0], "a tie is no success, as in LlamaFactory"
    assert metrics["rewards/margins"].tolist() == [1.0, -5.0, 0.0]
