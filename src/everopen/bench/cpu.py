"""Where the processor time and the memory go: read from /proc before and after, no profiler attached."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds (user and system) a process has used so far; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def sample(pids: Mapping[str, Sequence[int]]) -> dict[str, dict[int, float]]:
    """Processor seconds by role and pid."""
    return {role: {pid: cpu_s(pid) for pid in members} for role, members in pids.items()}


def used_us_per_order(
    before: Mapping[str, Mapping[int, float]], after: Mapping[str, Mapping[int, float]], orders: int
) -> dict[str, float]:
    """Microseconds of processor time per order, by role; processes that came meanwhile count from 0."""
    used: dict[str, float] = {}
    for role, members in after.items():
        earlier = before.get(role, {})
        seconds = sum(max(0.0, now - earlier.get(pid, 0.0)) for pid, now in members.items())
        used[role] = round(seconds * 1e6 / max(1, orders), 2)
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over several runs, by role, largest first."""
    roles = {role for run in runs for role in run}
    found = {role: sum(run.get(role, 0.0) for run in runs) / len(runs) for role in roles}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def pss_bytes(pid: int) -> int:
    """Proportional set size: own memory, plus a fair share of what is shared. 0 when it is gone or not ours."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def memory_by_role(pids: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """PSS in bytes by role; their sum is what the machine would get back."""
    found = {role: sum(map(pss_bytes, members)) for role, members in pids.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
