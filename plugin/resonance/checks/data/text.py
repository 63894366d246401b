# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A check as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ...datafiles.text import count, printable
from .findings import Findings
from .kinds import KINDS
from .scan import Scan
from .tally import Tally

BAR = 36
SIGNS = {"error": "FAIL", "warning": "warn"}


def lines(scans: Sequence[Scan], findings: Findings, limit: int | None) -> Iterator[str]:
    """Yield everything: each set's rows, its problems, worst kind first, and its histograms.

    Args:
        scans: one a data set.
        findings: the problems of all of them.
        limit: how many problems of a kind are shown, None for all.
    """
    for scan in scans:
        for part in (_head(scan), _problems(findings, scan, limit), histograms(scan.tallies.values())):
            yield from map(printable, part)
    yield verdict(scans, findings)


def verdict(scans: Sequence[Scan], findings: Findings) -> str:
    """One line: how many errors and warnings in how many rows."""
    parts = []
    for severity in ("error", "warning"):
        within = sum(findings.rows(severity, scan.files) for scan in scans)
        where = f" in {count(within, 'row')}" if within else ""
        parts.append(f"{count(findings.count(severity), severity)}{where}")
    return f"{', '.join(parts)}; {count(sum(scan.rows for scan in scans), 'row')} checked"


def _head(scan: Scan) -> Iterator[str]:
    entry = scan.entry
    kind = "labelled answers" if "kto_tag" in entry.columns else "prompts" if entry.prompts else "answers"
    kind = "pairs" if entry.ranking else kind
    yield f"{entry.name}: {entry.formatting}, {kind}; {entry.origin}"
    rate = f" ({scan.rows / scan.seconds:,.0f} rows/s)" if scan.seconds else ""
    media = f", media below {entry.media_dir}" if entry.has_media else ""
    yield f"  {count(scan.rows, 'row')} in {scan.seconds:.1f} s{rate}{media}"
    yield from (f"  {told}" for told in dict.fromkeys(scan.beside.values()) if told)
    yield ""


def _problems(findings: Findings, scan: Scan, limit: int | None) -> Iterator[str]:
    several = len(scan.files) > 1
    for group in findings.groups(scan.files):
        kind = KINDS[group.kind]
        yield f"  {SIGNS[kind.severity]}  {group.kind}: {group.count:,}"
        for problem in islice(findings.of_kind(group.kind, scan.files), limit):
            file = f"{problem.file}, " if several else ""
            row = "" if problem.row is None else f"row {problem.row}: "
            yield f"          {file}{row}{problem.message}"
        if limit is not None and group.count > limit:
            yield f"          ... and {group.count - limit:,} more (--limit 0 shows all)"
        yield f"          -> {kind.fix}"
        yield ""


def histograms(tallies: Iterable[Tally]) -> Iterator[str]:
    """Bars of text, a block a quantity."""
    for tally in tallies:
        if not (bins := tally.bins()):
            continue
        most = max(each.size for each in bins)
        yield f"  {tally.title}: {tally.summary()}"
        for each in bins:
            bar = "#" * max(round(each.size / most * BAR), each.size > 0)
            yield f"    {each.low:>10,.10g} {bar:<{BAR}} {each.size:,}"
        yield ""
