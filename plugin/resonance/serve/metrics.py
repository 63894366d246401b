# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Counters of the server in the text form that Prometheus reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Used by the thread of the event loop alone.

    Attributes:
        in_flight: requests that are being answered.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[float] = Counter()
        self._total_seconds = 0.0
        self._batches, self._completions, self._scoring = 0, 0, 0.0

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[path, status] += 1
        self._total_seconds += seconds
        for bucket in BUCKETS:
            self._seconds[bucket] += seconds <= bucket

    def scored(self, completions: int, seconds: float) -> None:
        """Count a batch."""
        self._batches += 1
        self._completions += completions
        self._scoring += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """All of them.

        Args:
            gauges: further values by name.
        """
        count = sum(self._requests.values())
        lines = _lines("requests_total", "counter")
        lines += [
            f'resonance_reward_requests_total{{path="{path}",status="{status}"}} {number}'
            for (path, status), number in sorted(self._requests.items())
        ]
        lines += _lines("request_seconds", "histogram")
        lines += [f'resonance_reward_request_seconds_bucket{{le="{b:g}"}} {self._seconds[b]}' for b in BUCKETS]
        lines += [
            f'resonance_reward_request_seconds_bucket{{le="+Inf"}} {count}',
            f"resonance_reward_request_seconds_sum {self._total_seconds:.6f}",
            f"resonance_reward_request_seconds_count {count}",
        ]
        counters = {
            "completions_total": self._completions,
            "batches_total": self._batches,
            "scoring_seconds_total": self._scoring,
        }
        for kind, values in (("counter", counters), ("gauge", {"requests_in_flight": self.in_flight, **gauges})):
            for name, value in values.items():
                lines += [*_lines(name, kind), f"resonance_reward_{name} {value:g}"]
        lines += [f"{name} {value}" for name, value in process_values().items()]
        return "\n".join(lines) + "\n"


def _lines(name: str, kind: str) -> list[str]:
    return [f"# TYPE resonance_reward_{name} {kind}"]


def process_values(pid: int | str = "self") -> dict[str, int]:
    """Memory and open files of a process, where the system has /proc."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return {}
    return {"process_resident_memory_bytes": pages * os.sysconf("SC_PAGE_SIZE"), "process_open_fds": files}
