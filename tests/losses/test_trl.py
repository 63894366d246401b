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


def stand_in(
    *, beta: float, label_smoothing: float, delta: float = 0.0, divergence: str = "reverse_kl", alpha: float = 1.0
) -> SimpleNamespace:
    """What the method reads of its trainer, and nothing else."""
    from trl.trainer.dpo_config import FDivergenceType

    return SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"),
        args=SimpleNamespace(discopop_tau=0.05),
        beta=beta,
        f_divergence_params={"alpha_divergence_coef": alpha},
        f_divergence_type=FDivergenceType(divergence),
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


# our name, its parameters -> trl's divergence and alpha
F_DPO = [("f_dpo_js", {}, "js_divergence", 1.0)]
F_DPO += [("f_dpo_alpha", {"f_alpha": alpha}, "alpha_divergence", alpha) for alpha in (0.3, 0.7, 1.0)]


@pytest.mark.parametrize(("name", "params", "divergence", "alpha"), F_DPO)
def test_f_divergences_equal_trl(name, params, divergence, alpha, pairs_of, dpo_loss):
    ours, other = pairs_of(5, seed=2), pairs_of(5, seed=2)
    output = preference_loss(name, **ours, beta=0.4, label_smoothing=0.2, **params)
    trainer = stand_in(beta=0.4, label_smoothing=0.2, divergence=divergence, alpha=alpha)
    expected, *_ = dpo_loss(trainer, *list(other.values())[:4])
    equal_with_gradients(output.losses, ours, expected, other)


def equal_with_gradients(found, ours, expected, theirs):
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for key in ("policy_chosen_logps", "policy_rejected_logps"):
        torch.testing.assert_close(ours[key].grad, theirs[key].grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "mean"), [("rpo", False), ("rpo", True), ("sigmoid_norm", True)])
def test_dpo_with_more_equals_trl(name, mean, pairs_of, dpo_loss):
    """`rpo_alpha` of a single pair, whose NLL is the mean over its tokens; both loss and NLL of sums and of means."""
    ours, other = pairs_of(1, seed=3), pairs_of(1, seed=3)
    params = {"rpo_alpha": 0.7} if name == "rpo" else {}
    output = preference_loss(name, **ours, beta=0.4, label_smoothing=0.2, logps="mean" if mean else "sum", **params)
    chosen = other["policy_chosen_logps"]
    expected, *_ = dpo_loss(stand_in(beta=0.4, label_smoothing=0.2), *list(other.values())[:4])
    expected = expected + params.get("rpo_alpha", 0) * -(chosen if mean else chosen / other["chosen_lengths"])
    equal_with_gradients(output.losses, ours, expected, other)


def test_losses_without_a_reference_equal_trl(pairs_of, dpo_loss):
    from trl import CPOTrainer, ORPOTrainer

    trainer = SimpleNamespace(
        **{"alpha": 0.0, "beta": 0.4, "label_smoothing": 0.2, "loss_type": "sigmoid"},
        accelerator=SimpleNamespace(device="cpu"),
    )
    ours, other = pairs_of(1, seed=4), pairs_of(1, seed=4)
    chosen, rejected = other["policy_chosen_logps"], other["policy_rejected_logps"]
    expected = CPOTrainer.cpo_loss(trainer, chosen, rejected)[0] + 0.7 * -chosen / other["chosen_lengths"]
    output = preference_loss("cpo", **ours, beta=0.4, label_smoothing=0.2, cpo_alpha=0.7)
    equal_with_gradients(output.losses, ours, expected, other)

    ours, other = pairs_of(5, seed=4), pairs_of(5, seed=4)
    ratio = ORPOTrainer.odds_ratio_loss(trainer, other["policy_chosen_logps"], other["policy_rejected_logps"])[0]
    equal_with_gradients(preference_loss("odds_ratio", **ours, beta=0.4).losses, ours, -ratio, other)


def test_running_mean_equals_trls_running_moments(pairs_of, dpo_loss):
    from trl.trainer.utils import RunningMoments

    moments, running = RunningMoments(SimpleNamespace(use_distributed=False)), RunningMean()
    for seed in range(6):
        batch = pairs_of(4, seed=seed)
        reward = mean_reward(Pairs(*list(batch.values())[:4]), beta=0.5)
        moments.update(reward)
        running.update(reward)
        assert float(running.mean) == pytest.approx(float(moments.mean), abs=1e-7)  # trl adds float32 values
