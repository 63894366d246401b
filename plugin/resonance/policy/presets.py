# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""GRPO, PPO and so on, each as a choice of pieces and their values, with where every value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..spec import nearest_first

Params = Mapping[str, float | bool | None]
TRL = "trl 1.16.0, GRPOConfig"
TRL_PPO = "trl 1.10.0, experimental PPOConfig"
VERL = "verl 0.9.1, ppo_trainer.yaml and actor.yaml"
# What most presets share. Where `sources` names no place, it is the method's own paper.
CLIP = {"clip_low": 0.2, "clip_high": 0.2}
CLIP_SOURCES = {"clip_low": "arXiv:1707.06347, section 6.1", "clip_high": "arXiv:1707.06347, section 6.1"}
GROUP_SOURCES = {"eps": VERL, "num_generations": TRL, "ppo_epochs": TRL}


@dataclass(frozen=True)
class Preset:
    """One `ppo_variant`; `dataclasses.replace` sets any field to another value.

    Attributes:
        paper: where the method comes from.
        advantage: one of ADVANTAGES.
        loss: one of POLICY_LOSSES.
        aggregation: one of AGGREGATIONS.
        advantage_params, loss_params: parameters of the two by name; others have their defaults.
        critic: `vf_coef` and `cliprange_value` where a critic is trained, else empty.
        kl: one of KLS.
        kl_in: where the KL divergence from the reference counts.
        kl_coef: its weight; 0 needs no reference.
        num_generations: completions a prompt.
        ppo_epochs: passes over a rollout.
        dynamic_sampling: True samples on until there are enough groups whose rewards differ.
        mask_truncated: True takes responses that were cut off out of the loss.
        sources: field or parameter -> where its value comes from, for those that `paper` does not set.
    """

    paper: str
    advantage: str
    loss: str
    aggregation: str
    advantage_params: Params = field(default_factory=dict)
    loss_params: Params = field(default_factory=dict)
    critic: Params = field(default_factory=dict)
    kl: str = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    kl_coef: float = 0.0
    num_generations: int = 8
    ppo_epochs: int = 1
    dynamic_sampling: bool = False
    mask_truncated: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    "ppo": Preset(
        paper="arXiv:1707.06347",
        advantage="gae",
        advantage_params={"gamma": 1.0, "lam": 0.95, "whiten": True},
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="token-mean",
        critic={"vf_coef": 0.1, "cliprange_value": 0.2},
        kl="k1",
        kl_in="reward",
        kl_coef=0.05,
        num_generations=1,
        ppo_epochs=4,
        sources=dict.fromkeys(
            "gamma lam whiten vf_coef cliprange_value kl kl_in kl_coef ppo_epochs aggregation".split(), TRL_PPO
        )
        | CLIP_SOURCES
        | {"num_generations": "a critic needs no group"},
    ),
    "grpo": Preset(
        paper="arXiv:2402.03300",
        advantage="grpo",
        advantage_params={"scale_by_std": True, "eps": 1e-6},
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="seq-mean-token-mean",
        kl_coef=0.04,
        sources=GROUP_SOURCES | CLIP_SOURCES | {"num_generations": f"{TRL}; the paper has 64"},
    ),
    "dr_grpo": Preset(
        paper="arXiv:2503.20783",
        advantage="dr_grpo",
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="seq-mean-token-sum-norm",
        sources=CLIP_SOURCES,
    ),
    "rloo": Preset(
        paper="arXiv:2402.14740",
        advantage="rloo",
        # At ratio 1 the gradient of ppo_clip is REINFORCE's, and a sum over tokens makes it that of the response.
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="seq-mean-token-sum",
        kl="k1",
        kl_in="reward",
        kl_coef=0.05,
        num_generations=4,
        sources=CLIP_SOURCES | {"loss": "trl 1.16.0, RLOOConfig", "kl_coef": "trl 1.16.0, RLOOConfig"},
    ),
    "reinforce_plus_plus": Preset(
        paper="arXiv:2501.03262",
        advantage="reinforce_plus_plus",
        advantage_params={"gamma": 1.0, "whiten": True},
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="token-mean",
        kl="k1",
        kl_in="reward",
        kl_coef=0.001,
        num_generations=1,
        sources=CLIP_SOURCES | {"gamma": VERL, "aggregation": VERL, "kl_coef": VERL},
    ),
    "reinforce_plus_plus_baseline": Preset(
        paper="arXiv:2501.03262",
        advantage="reinforce_plus_plus_baseline",
        advantage_params={"whiten": True},
        loss="ppo_clip",
        loss_params=CLIP,
        aggregation="token-mean",
        kl="k2",
        kl_coef=0.001,
        sources=CLIP_SOURCES
        | {"aggregation": VERL}
        | dict.fromkeys(("kl", "kl_in", "kl_coef", "num_generations"), "OpenRLHF, its script of this method"),
    ),
    "dapo": Preset(
        paper="arXiv:2503.14476",
        advantage="grpo",
        advantage_params={"scale_by_std": True, "eps": 1e-6},
        loss="ppo_clip",
        loss_params={"clip_low": 0.2, "clip_high": 0.28},
        aggregation="token-mean",
        num_generations=16,
        dynamic_sampling=True,
        mask_truncated=True,
        sources={"eps": VERL, "ppo_epochs": TRL},
    ),
    "gspo": Preset(
        paper="arXiv:2507.18071",
        advantage="grpo",
        advantage_params={"scale_by_std": True, "eps": 1e-6},
        loss="gspo",
        loss_params={"clip_low": 3e-4, "clip_high": 4e-4},
        aggregation="seq-mean-token-mean",
        sources=GROUP_SOURCES | {"kl_coef": TRL},
    ),
    "cispo": Preset(
        paper="arXiv:2506.13585",
        advantage="grpo",
        advantage_params={"scale_by_std": True, "eps": 1e-6},
        loss="cispo",
        loss_params={"clip_low": 1.0, "clip_high": 4.0},
        aggregation="token-mean",
        sources=GROUP_SOURCES | {"clip_high": "arXiv:2510.13786 (ScaleRL), as trl 1.16.0 advises"},
    ),
    "sapo": Preset(
        paper="arXiv:2511.20347",
        advantage="grpo",
        advantage_params={"scale_by_std": True, "eps": 1e-6},
        loss="sapo",
        loss_params={"tau_pos": 1.0, "tau_neg": 1.05},
        aggregation="seq-mean-token-mean",
        sources=GROUP_SOURCES | {"kl_coef": TRL},
    ),
}


def get_preset(name: str) -> Preset:
    """The preset of that name. ValueError for an unknown one, the nearest first."""
    if name not in PRESETS:
        raise ValueError(f"Unknown ppo_variant {name!r} ({nearest_first(str(name), PRESETS)}).")
    return PRESETS[name]
