# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an experienced reader would notice in the log and the completions of reinforcement learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from .completions import Record
from .metrics import split_of
from .remark import FEW, Remark, Severity, ends, finite, mean
from .run import Run
from .symptoms import symptoms

LOOKS = 20  # places of the log at which its symptoms are looked for
FLAT = 0.8  # share of groups without a difference, at the end
TREND = 0.5  # of a curve's range: a smaller change between its ends is no trend
LONGER = 2.0  # times the length at the start
SAME, PROMPTS = 0.5, 8  # share of prompts that one text answers; prompts of a rollout that say something about it
_WHY = {
    "flat groups": "Without a difference within a group there is no gradient.",
    "entropy collapse": "A policy that always says the same finds nothing better.",
    "length collapse": "A reward that does not ask for reasons teaches to leave them out.",
    "truncation": "What is cut off is judged by half of it.",
    "divergence": "Far from the reference a reward, and most of all a reward model, is easily fooled.",
}


def from_symptoms(run: Run) -> Iterator[Remark]:
    """What the run itself warns of: whatever holds at its end, else what held at one of LOOKS places of the log."""
    at_end = symptoms(run.log)
    for name in _WHY:
        ends_at = [len(run.log)] if name in at_end else [len(run.log) * look // LOOKS for look in range(1, LOOKS)]
        first = next((end for end in ends_at if name in symptoms(run.log[:end])), None)
        if first is None:
            continue
        seen, _, cure = symptoms(run.log[:first])[name].partition(". ")
        step = next((line["step"] for line in reversed(run.log[:first]) if "step" in line), 0)
        severity: Severity = "warning" if name in at_end else "note"
        when = f"step {step:g}" + ("" if name in at_end else ", later no more")
        yield Remark(severity, name.capitalize(), f"{seen} ({when})", _WHY[name], cure)


def mostly_flat(run: Run) -> Remark | None:
    """At the end FLAT or more of the groups have one reward for all their completions, but not all of them."""
    steps, values = finite(run, "frac_zero_std")
    if len(values) < FEW or not FLAT <= mean(values[-FEW:]) or values[-1] >= 1:
        return None
    return Remark(
        "warning",
        "Most groups teach nothing",
        f"frac_zero_std: {mean(values[-FEW:]):.3g} at step {steps[-1]:g}",
        "Completions of a group that all have one reward give no gradient, but cost as much to generate.",
        "Take prompts that are neither all solved nor all failed, more num_generations, or `dynamic_sampling: true`.",
    )


def rises_without_the_others(run: Run) -> Remark | None:
    """The reward rises in training while a held-out one or a part of it falls, each by TREND of its range."""
    trend = _trend(run, "reward")
    if trend is None or trend <= 0:
        return None
    parts = [key for key in run.metrics if split_of(key)[0].startswith("reward/") or _is_held_out(key)]
    fallen = [f"{key} {_from_to(run, key)}" for key in parts if (other := _trend(run, key)) is not None and other < 0]
    if not fallen:
        return None
    return Remark(
        "problem",
        "The reward rises, but not what it stands for",
        f"reward {_from_to(run, 'reward')}; {'; '.join(fallen)}",
        "The policy may have found what the reward pays for without doing what was meant.",
        "Read the last completions beside the first; take the checkpoint with the best held-out reward; raise kl_coef "
        "or mend the reward.",
    )


def grows_with_the_reward(run: Run) -> Remark | None:
    """Completions are LONGER times as long as at the start while the reward rises."""
    steps, lengths = finite(run, "completions/mean_length")
    if (found := ends(lengths)) is None or found[1] < LONGER * found[0] or (_trend(run, "reward") or 0) <= 0:
        return None
    return Remark(
        "warning",
        "Completions grow with the reward",
        f"completions/mean_length: {found[0]:.4g} tokens at the start, {found[1]:.4g} at step {steps[-1]:g}; "
        f"reward {_from_to(run, 'reward')}",
        "A judge or a reward model often pays for length alone.",
        "Read the longest completions; add a reward for length or an overlong_buffer, or use Dr.GRPO's aggregation.",
    )


def one_answer_for_all(first: Sequence[Record], last: Sequence[Record]) -> Remark | None:
    """In the last rollout one text answers SAME or more of the prompts, twice as many as in the first."""
    (_, before, _), (text, now, prompts) = _commonest(first), _commonest(last)
    if prompts < PROMPTS or now < SAME or now < 2 * before:
        return None
    return Remark(
        "warning",
        "One answer for all prompts",
        f"{text[:80]!r} answers {now:.0%} of the prompts of rollout {last[0]['rollout']}; in rollout "
        f"{first[0]['rollout']} the commonest text answered {before:.0%}",
        "An answer that needs no picture is what a reward with a hole teaches.",
        "See what the reward gives this text; raise kl_coef, or add a reward that it fails.",
    )


def _commonest(rollout: Sequence[Record]) -> tuple[str, float, int]:
    """The text that answers most prompts, for what share of them, and how many there are."""
    answers = {(record["row"], str(record["completion"]).strip()) for record in rollout}
    prompts = len({row for row, _ in answers})
    counted = Counter(text for _, text in answers).most_common(1)
    return (counted[0][0], counted[0][1] / prompts, prompts) if counted else ("", 0.0, 0)


def _is_held_out(key: str) -> bool:
    metric, split = split_of(key)
    return metric == "reward" and split != "train"


def _trend(run: Run, key: str) -> float | None:
    """By how much a curve rose or fell, 0 for less than TREND of its range; None for too few values."""
    values = finite(run, key)[1]
    few = FEW if len(values) >= 2 * FEW else 1
    if len(values) < 3:
        return None
    change, span = mean(values[-few:]) - mean(values[:few]), max(values) - min(values)
    return change if span and abs(change) >= TREND * span else 0.0


def _from_to(run: Run, key: str) -> str:
    steps, values = finite(run, key)
    return f"{values[0]:.4g} at step {steps[0]:g}, {values[-1]:.4g} at step {steps[-1]:g}"


OF_POLICIES: tuple[Callable[[Run], Remark | None], ...] = (
    mostly_flat, rises_without_the_others, grows_with_the_reward,
)  # fmt: skip
