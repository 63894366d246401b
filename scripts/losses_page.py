# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/losses_reference.md from the docstrings of the losses, and a picture of their curves.

    python scripts/losses_page.py             # writes docs/losses_reference.md
    python scripts/losses_page.py --curves    # and docs/images/loss_curves.png

A curve is the loss of one pair as the policy's margin over the reference grows, divided between both responses, and
the gradient by that margin. Losses that compare pairs, tokens or images with each other have no such curve.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import torch

from resonance.losses import LOSSES, LossSpec, preference_loss

ROOT = Path(__file__).resolve().parents[1]
PAGE, CURVES = ROOT / "docs" / "losses_reference.md", ROOT / "docs" / "images" / "loss_curves.png"
MARGINS = torch.linspace(-30.0, 30.0, 241, dtype=torch.float64)
TOKENS = 30  # of each response
BETA = {"uni_dpo": 2.0, "simpo": 2.0}  # as their papers train; others at the default
INTRO = """# Formulas of all losses

Written by `scripts/losses_page.py` from the docstrings; `resonance losses NAME` prints the same in a terminal. lp_w
and lp_l are log-probs of the chosen and the rejected response under the policy, ref_w and ref_l under the reference.
[losses.md](losses.md) helps to choose.

![Loss and gradient of one pair by margin](images/loss_curves.png)

Each panel: loss (solid) and its gradient by the margin (dashed) of one pair with scores 4 and 1, for the margin
(lp_w - ref_w) - (lp_l - ref_l) in nats of responses of 30 tokens, reference log-probs of -30 each, parameters at their
defaults (beta 2.0 for `uni_dpo` and `simpo`, as in their papers). Losses that compare pairs, tokens or images with
each other have no panel.
"""


def page() -> str:
    """The text of the page."""
    parts = [INTRO]
    for name, spec in LOSSES.items():
        text = inspect.getdoc(spec.fn) or ""
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def curve(spec: LossSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient at each margin."""
    margin = MARGINS.clone().requires_grad_()
    per = TOKENS if spec.logps == "mean" else 1
    reference = torch.full_like(MARGINS, -float(TOKENS)) / per
    scores = {"score_chosen": torch.full_like(MARGINS, 4.0), "score_rejected": torch.full_like(MARGINS, 1.0)}
    lengths = torch.full((len(MARGINS),), TOKENS)
    output = preference_loss(
        spec.name,
        reference + margin / 2 / per,
        reference - margin / 2 / per,
        *((reference, reference) if spec.needs_reference else (None, None)),
        chosen_lengths=lengths,
        rejected_lengths=lengths,
        **(scores if spec.needs_scores else {}),
        **({"margin": torch.ones_like(MARGINS)} if spec.needs_margin else {}),
        **({"beta": BETA[spec.name]} if spec.name in BETA else {}),
    )
    (gradient,) = torch.autograd.grad(output.losses.sum(), margin)
    return output.losses.detach(), gradient


def has_curve(spec: LossSpec) -> bool:
    together = spec.needs_ranks or spec.baseline or not spec.per_pair
    return not (together or spec.needs_changed or spec.needs_corrupted or spec.needs_on_policy)


def draw(path: Path) -> None:
    """Write the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [spec for spec in LOSSES.values() if has_curve(spec)]
    columns = 6
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.0 * columns, 1.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, spec in enumerate(shown, 1):
        losses, gradient = curve(spec)
        axes = figure.add_subplot(rows, columns, number)
        axes.plot(MARGINS, losses, color="C0")
        axes.set_title(spec.name, fontsize=8)
        axes.tick_params(labelsize=6)
        other = axes.twinx()
        other.plot(MARGINS, gradient, "--", color="C1", linewidth=1)
        other.tick_params(labelsize=6, colors="C1")
        axes.axvline(0.0, color="grey", linewidth=0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--curves", action="store_true", help="draw the picture, too")
    PAGE.write_text(page(), encoding="utf-8")
    if parser.parse_args().curves:
        draw(CURVES)
