# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What `resonance score` prints."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datafiles.text import count
from ...scoring.agreement import agreement, summary
from ...scoring.chat import PATCH
from ...scoring.estimate import Plan, Price
from ...scoring.result import Result
from ...scoring.run import Asking
from ...scoring.types import NO_ROW
from ..data import common

if TYPE_CHECKING:
    from .job import Job

SHOWN = 3  # rows without scores
BAR = 24  # characters
DATA_URI = 48  # characters of a picture that are shown


@dataclass(frozen=True)
class Outcome:
    """Attributes: plan, asking, result: of the scoring. unscored: the list of rows without scores, None for none.
    written: whether there is a new file."""

    plan: Plan
    asking: Asking
    result: Result
    unscored: Path | None
    written: bool


def price_of(args: argparse.Namespace) -> Price | None:
    return None if args.price_in is None else Price(args.price_in, args.price_out or 0.0)


def most_tokens(args: argparse.Namespace) -> int:
    """The longest reply that is allowed; --body may have another key for it, or another value."""
    given = (args.body.get(key) for key in ("max_completion_tokens", "max_tokens"))
    return next((value for value in given if isinstance(value, int)), args.max_tokens)


def estimate(args: argparse.Namespace, job: Job, plan: Plan) -> dict[str, Any]:
    """How much is going to be asked. Tokens out are the most there may be."""
    calls = plan.calls(job.judge.batch_size)
    found: dict[str, Any] = {
        "rows": len(plan.keys),
        "rows_not_read": len(plan.unread),
        "questions": plan.questions,
        "answered_before": plan.questions - plan.new,
        "calls": calls,
    }
    if plan.tokens:
        tokens = (plan.tokens, plan.new * most_tokens(args))
        price = price_of(args)
        found |= {"tokens_in": tokens[0], "tokens_out_at_most": tokens[1], "pictures": plan.pictures}
        found |= {} if price is None else {"price_at_most": round(price.of(tokens), 4)}
    slowest = max(calls / args.rate if args.rate else 0, plan.tokens / args.token_rate if args.token_rate else 0)
    return found | ({"minutes_at_least": round(slowest, 2)} if slowest else {})


def print_estimate(args: argparse.Namespace, job: Job, plan: Plan) -> None:
    told = estimate(args, job, plan)
    left = f", {count(len(plan.unread), 'row')} that cannot be read" if plan.unread else ""
    print(f"{args.data}: {count(len(plan.keys), 'pair')}{left}")
    before = f", {told['answered_before']:,} of them answered before" if told["answered_before"] else ""
    print(f"{count(plan.questions, 'question')}{before}: {count(told['calls'], 'call')} to make")
    if "tokens_in" in told:
        how = f"4 bytes of text a token, and {PATCH}x{PATCH} pixels of {count(plan.pictures, 'picture')}"
        print(f"About {told['tokens_in']:,} tokens in ({how}), at most {told['tokens_out_at_most']:,} out")
    if "price_at_most" in told:
        print(f"At the prices given: at most {told['price_at_most']:,.2f}, if each is answered at the first try")
    if "minutes_at_least" in told:
        print(f"At the rate given: at least {told['minutes_at_least']:g} minutes")


def short(value: Any) -> Any:
    """A request with its pictures cut short."""
    if isinstance(value, dict):
        return {key: short(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [short(inner) for inner in value]
    if isinstance(value, str) and value.startswith("data:image/") and len(value) > DATA_URI:
        return f"{value[:DATA_URI]}... ({len(value):,} characters)"
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def finish(args: argparse.Namespace, job: Job, outcome: Outcome) -> None:
    """Print what came of it, and draw it."""
    found = facts(args, job, outcome)
    if args.plot and outcome.result.scores:
        from ...datafiles.histogram import plot

        plot(args.plot, outcome.result.counted, job.output.columns, [found["scores"]["tau_good"]])
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print_facts(args, job, outcome, found)


def facts(args: argparse.Namespace, job: Job, outcome: Outcome) -> dict[str, Any]:
    plan, asking, result = outcome.plan, outcome.asking, outcome.result
    price, tokens = price_of(args), asking.tokens
    return {
        "estimate": estimate(args, job, plan),
        "answered": asking.answered,
        "tokens": {"in": tokens[0], "out": tokens[1]} if any(tokens) else None,
        "price": round(price.of(tokens), 4) if price is not None and any(tokens) else None,
        "stopped": asking.broken or None,
        "scored": len(result.scores),
        "unscored": dict(result.kinds),
        "unscored_list": None if outcome.unscored is None else str(outcome.unscored),
        "answers": str(job.cache),
        "scores": summary(result.counted) if result.scores else None,
        "position": result.position,
        "agreement": agreement(plan.before, result.scores),
        "output": str(args.output) if outcome.written else None,
        "recipe": recipe(job, summary(result.counted)["tau_good"]) if outcome.written else None,
    }


def recipe(job: Job, tau: float) -> dict[str, Any]:
    """Keys of a recipe for the new set."""
    folder = job.args.media_dir or job.data.media_dir
    media = {"media_dir": str(folder)} if Path(folder) != job.info.parent else {}
    where = {"dataset": job.name, "dataset_dir": str(job.info.parent), **media}
    return {"stage": "dpo", **where, "pref_loss": "uni_dpo", "uni_dpo_tau_good": tau}


def print_facts(args: argparse.Namespace, job: Job, outcome: Outcome, found: dict[str, Any]) -> None:
    print()
    if (tokens := found["tokens"]) is not None:
        paid = f", {found['price']:,.2f} at the prices given" if found["price"] is not None else ""
        print(f"{tokens['in']:,} tokens in and {tokens['out']:,} out, as the server counts{paid}")
    if found["scores"] is not None:
        print_scores(found)
    if outcome.written:
        print(f"\n-> {args.output}: {count(found['scored'], 'pair')}, columns {' and '.join(job.output.columns)}")
        if args.plot:
            print(f"-> {args.plot}")
        lines = "\n".join(f"  {key}: {value}" for key, value in found["recipe"].items())
        tau = f"{found['scores']['share_at_tau_good']:.0%} of the chosen answers reach this tau_good, their median"
        print(f"In a recipe:\n{lines}\n{tau}")
    if outcome.unscored is None:
        print(f"Next: {common.typed('check', job.name, *common.info_options(args))}")
    else:
        print_unscored(args, outcome, found)


def print_scores(found: dict[str, Any]) -> None:
    scores = found["scores"]
    most = max(max(bin_["chosen"], bin_["rejected"]) for bin_ in scores["histogram"])
    print(f"{'score':>15}  {'chosen':<{BAR + 8}}rejected")
    for each in scores["histogram"]:
        bars = [f"{'#' * round(BAR * each[side] / most):<{BAR}}{each[side]:>6,}" for side in ("chosen", "rejected")]
        ends = f"{each['from']:.4g}" + f" to {each['to']:.4g}" * (each["to"] != each["from"])
        print(f"{ends:>15}  {'  '.join(bars)}")
    pairs = scores["pairs"]
    means = f"mean of the chosen {scores['mean_chosen']:.4g}, of the rejected {scores['mean_rejected']:.4g}"
    print(f"{count(pairs, 'pair')}: {means}, median margin {scores['median_margin']:.4g}")
    ties, under = scores["ties"], scores["reversed"]
    print(f"ties: {ties:,} ({ties / pairs:.1%})    chosen below rejected: {under:,} ({under / pairs:.1%})")
    if (bias := found["position"]) is not None:
        told = f"the first answer gets {bias['first_minus_second']:+.3g} more than the second"
        print(f"by position: {told}; the order decides {bias['share_decided_by_order']:.1%} of the pairs")
    if (other := found["agreement"]) is not None:
        same = "none" if other["same_order"] is None else f"{other['same_order']:.1%}"
        ranks = ", ".join(f"{name} {_number(other[name])}" for name in ("spearman", "kendall"))
        tied = f" ({count(other['tied'], 'pair')} tied by either left out)" if other["tied"] else ""
        print(f"with the scores of before, of {count(other['pairs'], 'pair')}: same order {same}{tied}, {ranks}")


def print_unscored(args: argparse.Namespace, outcome: Outcome, found: dict[str, Any]) -> None:
    kinds = ", ".join(f"{kind}: {number:,}" for kind, number in found["unscored"].items())
    lines = [f"resonance score: {count(len(outcome.result.unscored), 'row')} without scores ({kinds})"]
    for (file, row), (kind, why) in sorted(outcome.result.unscored.items())[:SHOWN]:
        lines.append(f"  {file}, row {row}: {kind}: {why}")
    lines.append(f"all of them: {outcome.unscored}")
    if outcome.asking.broken:
        lines.append(f"No more was asked: {outcome.asking.broken}")
    if not outcome.written:
        lines.append(f"{args.output} was not written; --drop-unscored writes it without these rows")
    print(common.safe("\n".join([*lines, f"Next{_following(args, outcome)}"])), file=sys.stderr)


def _following(args: argparse.Namespace, outcome: Outcome) -> str:
    """The command that goes on; rows that cannot be read are not mended by asking again."""
    more = ["--force"] if outcome.written and not args.force else []
    if set(outcome.result.kinds) != {NO_ROW}:
        return f", to ask about these again: {common.again(args, *more)}"
    if outcome.written:
        return f": {common.typed('check', args.data, *common.info_options(args))}"
    return f": {common.again(args, '--drop-unscored')}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
