"""What a drill found: one value that is printed, kept as JSON, and drawn as a page (see `page`)."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from everopen.drill.checkers.verdict import Verdict
from everopen.drill.history import Second, Summary
from everopen.drill.plan import LoadPlan
from everopen.drill.timeline import Entry, NotRun


class Times(msgspec.Struct, frozen=True):
    """Of several durations, in seconds."""

    p50: float
    p95: float
    longest: float


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault did in all its injections. What was felt while several were in place counts for each of them."""

    fault: str
    description: str
    injections: int
    alone: int
    """Of these, so many by themselves: no other fault was in place, and the shop was whole."""
    processes_killed: int
    not_run: int
    reason: str
    """Why not."""
    promise: str
    """Which requests may fail."""
    wait_s_promised: float | None
    failed: int
    broken_connections: int
    worst_wait_s: float
    """The longest that was slow or failed; 0: nobody noticed."""
    failed_alone: int = 0
    worst_wait_alone_s: float = 0.0
    """The same of the injections by themselves: what the promise speaks of."""
    served: Times | None
    """From the fault until clients were served as usual again."""
    whole: Times | None
    """From healing (a kill: from the fault) until every process ran and a standby confirmed."""
    never_whole: int
    lost: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a drill."""

    plan: str
    description: str
    seed: int
    began: float
    ended: float
    seconds: float
    seconds_planned: float
    scratch: bool
    url: str
    ok: bool
    """Every checker held."""
    machine: dict[str, Any]
    load: LoadPlan
    summary: Summary
    acknowledged: int
    lost: int
    doubled: int | None
    """None: others ordered too, so counts say nothing."""
    injections: int
    kills: int
    """Injections that killed something (a node counts once)."""
    processes_killed: int
    failovers: int
    faults: list[FaultRow]
    verdicts: list[Verdict]
    timeline: list[Entry]
    not_run: list[NotRun]
    seconds_seen: list[Second]
    counts: dict[str, int]
    """Of the audit."""


def _pair(alone: str, among_others: str) -> str:
    return alone if alone == among_others else f"{alone} / {among_others}"


def print_report(console: Console, report: Report) -> None:
    """The report on a terminal."""
    console.print(
        f"\n[bold]{report.plan}[/]  seed {report.seed}, {report.seconds:,.0f} s, {report.injections} faults"
        f" ({report.kills} kills, {report.processes_killed} processes; {report.failovers} failovers),"
        f" {report.summary.requests:,} requests, {report.acknowledged:,} orders acknowledged\n",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(
        ("fault", "times", "alone", "failed", "worst wait s", "served again s", "whole again s", "lost")
    ):
        table.add_column(
            column, justify="left" if number == 0 else "right", overflow="fold", no_wrap=number == 0
        )
    for row in report.faults:
        table.add_row(
            row.fault,
            f"{row.injections:,}",
            f"{row.alone:,}",
            _pair(f"{row.failed_alone:,}", f"{row.failed:,}") if row.injections else "not run",
            _pair(f"{row.worst_wait_alone_s:.2f}", f"{row.worst_wait_s:.2f}"),
            _times(row.served),
            _times(row.whole) + (f" [red]({row.never_whole} never)[/]" if row.never_whole else ""),
            f"[bold red]{row.lost:,}[/]" if row.lost else "0" if row.injections else "–",
        )
    console.print(table, highlight=False)
    console.print(
        "[dim]failed, worst wait: alone / among other faults too (that counts for each of them); times: p50 / p95 / longest[/]\n"
    )
    for row in report.faults:
        if row.reason:
            console.print(f"[yellow]not run[/] {row.fault}: {row.reason}", highlight=False)
    checks = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "checker", "detail"):
        checks.add_column(column, overflow="fold")
    for verdict in report.verdicts:
        checks.add_row(mark(verdict), verdict.name, verdict.detail)
    console.print(checks, highlight=False)
    wait = report.summary.wait_ms
    console.print(
        f"\nfailed requests {report.summary.failed:,}; broken connections {report.summary.broken_connections:,};"
        f" acknowledged orders lost {report.lost:,}; doubled {'not known' if report.doubled is None else report.doubled};"
        f" wait p50 {wait.get('p50', 0):.1f} ms, p99 {wait.get('p99', 0):.1f} ms, longest {wait.get('max', 0):,.0f} ms",
        highlight=False,
    )
    console.print(
        "[green]Every checker held.[/]" if report.ok else "[bold red]A checker failed; see above.[/]"
    )


def mark(verdict: Verdict) -> str:
    """ok, FAILED, or a dash where there was nothing to judge."""
    if not verdict.ok:
        return "[bold red]FAILED[/]"
    return "[green]ok[/]" if verdict.looked_at else "[dim]–[/]"


def _times(times: Times | None) -> str:
    return "–" if times is None else f"{times.p50:.2f} / {times.p95:.2f} / {times.longest:.2f}"
