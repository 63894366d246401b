# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is wrong with a batch of pairs, and with what a loss returns; all of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from .spec import LossOutput, LossSpec, Pairs, policy_output, reference_output

POLICY = ("policy_chosen_logps", "policy_rejected_logps")
REFERENCE = ("reference_chosen_logps", "reference_rejected_logps")
SCORES = ("score_chosen", "score_rejected")
ON_POLICY = ("chosen_on_policy", "rejected_on_policy")
NESTED = ("changed", "corrupted")
NO_TENSORS = ("ranks", "logps", *NESTED)


def _tensor_problems(pairs: Pairs) -> list[str]:
    """Anything that is no tensor, or not of the shape (B,) of policy_chosen_logps."""
    problems = []
    first = pairs.policy_chosen_logps
    expected = tuple(first.shape) if isinstance(first, torch.Tensor) else None
    for item in fields(pairs):
        value = getattr(pairs, item.name)
        if item.name in NO_TENSORS or (value is None and item.name not in POLICY):
            continue
        if not isinstance(value, torch.Tensor):
            problems.append(f"{item.name} must be a tensor of shape (B,), got {type(value).__name__}")
        elif value.ndim != 1 or value.numel() == 0:
            problems.append(f"{item.name} must have the shape (B,) with B >= 1, got {tuple(value.shape)}")
        elif expected is not None and tuple(value.shape) != expected:
            problems.append(f"{item.name} has the shape {tuple(value.shape)}, policy_chosen_logps has {expected}")
        elif item.name.endswith("_logps") and not value.is_floating_point():
            problems.append(f"{item.name} must hold floating-point numbers, got {value.dtype}")
    return problems


def pair_problems(spec: LossSpec, pairs: Pairs) -> list[str]:
    """What is wrong with a batch for this loss: shapes, what is missing, scores and margins that are not finite."""
    problems = _tensor_problems(pairs)
    if spec.needs_reference:
        missing = [name for name in REFERENCE if getattr(pairs, name) is None]
        if missing:
            problems.append(f"{spec.name} needs a reference model's log-probs, {' and '.join(missing)} is None")
    if spec.needs_on_policy:
        missing = [name for name in ON_POLICY if getattr(pairs, name) is None]
        problems += [f"{spec.name} needs how likely the policy finds responses, {name} is None" for name in missing]
    for name in NESTED:
        nested = getattr(pairs, name)
        problems += [f"{name}.{line}" for line in (_tensor_problems(nested) if nested is not None else ())]
    if spec.needs_changed and pairs.changed is None:
        problems.append(f"{spec.name} needs the tokens in which both responses differ, changed is None")
    if spec.needs_corrupted and pairs.corrupted is None:
        problems.append(f"{spec.name} needs the chosen response beside corrupted images, corrupted is None")
    read = {"scores": SCORES * spec.needs_scores, "margins": ("margin",) * spec.needs_margin}
    for what, names in read.items():
        problems += [problem for name in names for problem in _column_problems(spec, what, name, pairs)]
    return problems


def _column_problems(spec: LossSpec, what: str, name: str, pairs: Pairs) -> list[str]:
    """What is wrong with a column of the data that the loss reads."""
    values = getattr(pairs, name)
    if values is None:
        return [f"{spec.name} needs {what}, {name} is None"]
    # On an accelerator reading a value stops the step until the device is done, so values are looked at only
    # where they lie in host memory; the rows were checked when the data was loaded.
    if isinstance(values, torch.Tensor) and values.device.type == "cpu":
        bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
        if bad:
            found = [values.flatten()[index].item() for index in bad]
            return [f"{name} must be finite, at index {bad} it is {found}"]
    return []


def checked_output(spec: LossSpec, pairs: Pairs, params: Mapping[str, Any], result: object) -> LossOutput:
    """`result` of a loss as a LossOutput, detached where it must be, with the margins of a reference loss in `stats`.

    Raises:
        ValueError: something is no tensor of shape (B,); names the loss, what, the shape expected and the shape got.
    """
    expected = tuple(pairs.policy_chosen_logps.shape)
    if isinstance(result, torch.Tensor):
        # A bare tensor of losses gets DPO's implicit rewards.
        beta = params.get("beta", spec.params.get("beta", 1.0))
        result = (reference_output if spec.needs_reference else policy_output)(pairs, result, beta)
    if not isinstance(result, LossOutput):
        raise ValueError(
            f"Loss '{spec.name}' returned {type(result).__name__}; "
            f"it must return a LossOutput or a tensor of losses of shape (B,) = {expected}."
        )
    named: dict[str, object] = {
        name: getattr(result, name) for name in ("losses", "chosen_rewards", "rejected_rewards")
    }
    named |= {f"stats['{name}']": value for name, value in result.stats.items()}
    problems = []
    for label, value in named.items():
        got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        if got != expected:
            problems.append(f"{label}: expected shape (B,) = {expected}, got {got}")
    if problems:
        raise ValueError(f"Loss '{spec.name}' returned wrong shapes: {'; '.join(problems)}.")
    margins = {}
    if spec.needs_reference:
        margins = {"pi_logratios": pairs.pi_logratios, "ref_logratios": pairs.ref_logratios, "logits": pairs.logits}
    return replace(
        result,
        chosen_rewards=result.chosen_rewards.detach(),
        rejected_rewards=result.rejected_rewards.detach(),
        stats={name: value.detach() for name, value in (margins | result.stats).items()},
    )
