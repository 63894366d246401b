# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Against trl 0.24 itself, where it is installed: its `dpo_loss` on random batches, and its running moments."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from resonance.losses import RunningMean, preference_loss
from resonance.losses.baseline import mean_reward
from resonance.losses.spec import Pairs

# First, as in training: trl 0.24 beside transformers 5 believes that mergekit is installed, and this sets that right.
pytest.importorskip("llamafactory.extras.packages", reason="LlamaFactory is not installed")
trl = pytest.importorskip("trl", reason="trl, the reference these losses are compared with, is not installed")
CASES = {  # our name -> trl's name, label smoothing
    "sigmoid": ("sigmoid", 0.2),
    "robust": ("robust", 0.2),
    "exo_pair": ("exo_pair", 0.2),
    "hinge": ("hinge", None),
    "ipo": ("ipo", None),
    "nca_pair": ("nca_pair", None),
    "bco_pair": ("bco_pair", None),
    "sppo_hard": ("sppo_hard", None),
    "aot": ("aot", 0.2),
    "aot_unpaired": ("aot_pair", 0.2),
    "apo_zero": ("apo_zero", None),
    "apo_down": ("apo_down", None),
    "discopop": ("discopop", None),
}


@pytest.fixture(scope="module")
def dpo_loss():
    """trl 0.24's `DPOTrainer.dpo_loss` as a plain function."""
    if trl.__version__.split(".")[:2] != ["0", "24"]:
        pytest.skip(f"written for trl 0.24, found {trl.__version__}")
    try:
        from trl import DPOTrainer
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"trl {trl.__version__} does not load here: {error}")
    return DPOTrainer.dpo_loss


def stand_in(*, beta: float, label_smoothing: float, delta: float) -> SimpleNamespace:
    """What the method reads of its trainer, and nothing else."""
    from trl.trainer.dpo_config import FDivergenceType

    return SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"),
        args=SimpleNamespace(discopop_tau=0.05),
        beta=beta,
        f_divergence_params=None,
        f_divergence_type=FDivergenceType.REVERSE_KL,
        label_smoothing=label_smoothing,
        reference_free=False,
        running=SimpleNamespace(mean=delta, update=lambda rewards: None),
    )


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("beta", [0.1, 1.3])
@pytest.mark.parametrize("name", sorted(CASES))
def test_losses_rewards_and_gradients_equal_trl(name, size, beta, pairs_of, dpo_loss):
    theirs, smoothing = CASES[name]
    ours, other = pairs_of(size, seed=size), pairs_of(size, seed=size)
    params = {"delta": -0.4} if name == "bco_pair" else {}
    params |= {} if smoothing is None else {"label_smoothing": smoothing}

    output = preference_loss(name, **ours, beta=beta, **params)
    trainer = stand_in(beta=beta, label_smoothing=smoothing or 0.0, delta=-0.4)
    expected = dpo_loss(trainer, *list(other.values())[:4], loss_type=theirs)
    output.losses.mean().backward()
    expected[0].mean().backward()

    near = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close((output.losses, output.chosen_rewards, output.rejected_rewards), expected, **near)
    for key in ("policy_chosen_logps", "policy_rejected_logps"):
        torch.testing.assert_close(ours[key].grad, other[key].grad, **near)


def test_running_mean_equals_trls_running_moments(pairs_of, dpo_loss):
    from trl.trainer.utils import RunningMoments

    moments, running = RunningMoments(SimpleNamespace(use_distributed=False)), RunningMean()
    for seed in range(6):
        batch = pairs_of(4, seed=seed)
        reward = mean_reward(Pairs(*list(batch.values())[:4]), beta=0.5)
        moments.update(reward)
        running.update(reward)
        assert float(running.mean) == pytest.approx(float(moments.mean), abs=1e-7)  # trl adds float32 values
