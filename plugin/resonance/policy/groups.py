# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Statistics of the completions of one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Groups:
    """Which completions answer the same prompt.

    Attributes:
        members: (P, B), True where completion b belongs to prompt p.
        index: (B,), the prompt of each completion, 0..P-1.
    """

    members: torch.Tensor
    index: torch.Tensor

    @classmethod
    def of(cls, group: torch.Tensor) -> Groups:
        """From any numbers (B,), equal for completions of one prompt; they need not stand side by side."""
        index = torch.unique(group, return_inverse=True)[1]
        prompts = torch.arange(int(index.max()) + 1 if len(index) else 0, device=group.device)
        return cls(index == prompts[:, None], index)

    def statistics(self, x: torch.Tensor, present: torch.Tensor) -> GroupStatistics:
        """Statistics of the group of each completion.

        Args:
            x: (B,).
            present: (B,), False for values that do not count, whatever they are.
        """
        counted = self.members & present
        # A product and a sum, not a matrix product: that would be done in TF32 where a run allows it.
        number = counted.sum(1)
        mean = torch.where(counted, x, 0.0).sum(1) / number.clamp(min=1)
        deviation = torch.where(present, x - mean[self.index], 0.0)
        variance = (self.members * deviation.square()).sum(1) / (number - 1).clamp(min=1)
        lowest = torch.where(counted, x, torch.inf).amin(1)
        highest = torch.where(counted, x, -torch.inf).amax(1)
        flat = lowest >= highest
        return GroupStatistics(
            # Equal rewards differ from their rounded mean, by as little as the deviation that they are divided by.
            deviation=torch.where(flat[self.index], 0.0, deviation),
            std=variance.sqrt()[self.index],
            number=number[self.index],
            flat=flat,
        )


@dataclass(frozen=True)
class GroupStatistics:
    """Of a value a completion.

    Attributes:
        deviation: (B,), value less the mean of its group; 0 for values that do not count, exactly 0 in a flat group.
        std: (B,), the unbiased standard deviation of the group; 0 with one value.
        number: (B,), the values of the group that count.
        flat: (P,), True for a prompt whose values are all equal, or which has none.
    """

    deviation: torch.Tensor
    std: torch.Tensor
    number: torch.Tensor
    flat: torch.Tensor
