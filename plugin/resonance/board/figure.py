# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaBoard's figure of a running training, with the reward below the loss where one is logged."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def gen_loss_plot(original: Callable[..., Any]) -> Callable[..., Any]:
    """LlamaFactory's figure; a run that logs no reward gets it as it is."""
    from llamafactory.extras.ploting import smooth

    @wraps(original)
    def wrapper(trainer_log: list[dict[str, Any]]) -> Any:
        figure = original(trainer_log)
        points = [(line["current_steps"], line["reward"]) for line in trainer_log if "reward" in line]
        if not points:
            return figure
        steps, rewards = zip(*points, strict=True)
        above = figure.axes[0]
        above.set_subplotspec(figure.add_gridspec(2, 1)[0])
        below = figure.add_subplot(figure.add_gridspec(2, 1)[1], sharex=above)
        below.plot(steps, rewards, color="#2ca02c", alpha=0.4, label="original")
        below.plot(steps, smooth(list(rewards)), color="#2ca02c", label="smoothed")
        below.legend()
        below.set_xlabel("step")
        below.set_ylabel("reward")
        above.set_xlabel("")
        figure.tight_layout()
        return figure

    return wrapper
