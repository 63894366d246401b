# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Findings: what a check has to say, and how it is printed. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SIGNS = {"ok": "  ok", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        mark: `ok`; `warn`, which is worth knowing; `fail`, which breaks a recipe.
        name: what was looked at.
        text: what was found.
        cure: what to do or type next; empty if nothing is to be done.
        details: the same in pieces, for programs.
    """

    mark: Literal["ok", "warn", "fail"]
    name: str
    text: str
    cure: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """Findings by section, in the order in which they are printed."""

    sections: dict[str, list[Finding]]

    @property
    def ok(self) -> bool:
        return not self.count("fail")

    def count(self, mark: str) -> int:
        return sum(finding.mark == mark for findings in self.sections.values() for finding in findings)

    def as_dict(self) -> dict[str, Any]:
        sections = {title: [asdict(finding) for finding in found] for title, found in self.sections.items()}
        return {"ok": self.ok, "failures": self.count("fail"), "warnings": self.count("warn"), "sections": sections}

    def as_text(self) -> str:
        lines = []
        for title, findings in self.sections.items():
            if not findings:
                continue
            width = max((len(finding.name) for finding in findings), default=0)
            lines.append(title)
            for finding in findings:
                first, *more = finding.text.splitlines() or [""]
                lines.append(f"  {SIGNS[finding.mark]}  {finding.name:<{width}}  {first}".rstrip())
                lines += [f"          {line}".rstrip() for line in more]
                if finding.cure:
                    lines.append(f"          -> {finding.cure}")
            lines.append("")
        verdict = "ready to train" if self.ok else f"{self.count('fail')} broken"
        lines.append(f"{verdict}, {self.count('warn')} to know about")
        return "\n".join(lines)
