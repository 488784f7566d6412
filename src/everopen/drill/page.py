"""The report as one page that needs nothing else: figures, charts and faults on one time axis, drawn as inline SVG.

A chart library was turned down: a page that is mailed around and opened in five years must not fetch anything.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from everopen.drill.history import Second
from everopen.drill.report import FaultRow, Report, Times
from everopen.drill.timeline import Entry

WIDTH, LEFT, RIGHT = 1160, 190, 16
PLOT = WIDTH - LEFT - RIGHT
POINTS_MAX = 580
LANE = 15
INK, FAINT, GRID = "#1c2733", "#66727f", "#e4e8ec"
BLUE, GREEN, RED, AMBER = "#2563c4", "#1f8a5b", "#c8322b", "#d98a13"

STYLE = f"""
:root {{ color-scheme: light; }}
body {{ font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: {INK}; background: #f6f7f9;
  margin: 0; padding: 28px 20px 60px; }}
main {{ max-width: 1200px; margin: 0 auto; }}
h1 {{ font-size: 26px; margin: 0; }} h2 {{ font-size: 17px; margin: 0 0 10px; }}
p {{ margin: 4px 0; }} .faint {{ color: {FAINT}; }}
section {{ background: #fff; border: 1px solid #dfe4e9; border-radius: 10px; padding: 18px 20px; margin-top: 16px; overflow-x: auto; }}
.verdict {{ display: inline-block; font-weight: 600; padding: 3px 12px; border-radius: 99px; font-size: 14px; color: #fff; margin-left: 12px;
  vertical-align: 4px; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 14px 10px; }}
.tiles div b {{ display: block; font-size: 23px; line-height: 1.2; font-variant-numeric: tabular-nums; }}
.tiles div {{ color: {FAINT}; font-size: 13px; }} .tiles b {{ color: {INK}; }} .tiles b.bad {{ color: {RED}; }} .tiles b.good {{ color: {GREEN}; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th {{ text-align: right; font-weight: 600; color: {FAINT}; border-bottom: 1px solid #cfd6dd; padding: 4px 8px; vertical-align: bottom; }}
td {{ text-align: right; padding: 4px 8px; border-bottom: 1px solid #eef1f4; white-space: nowrap; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }} td.text, th.text {{ text-align: left; white-space: normal; }}
tr:last-child td {{ border-bottom: 0; }} .bad {{ color: {RED}; font-weight: 600; }} .ok {{ color: {GREEN}; font-weight: 600; }}
svg {{ display: block; width: 100%; height: auto; min-width: 760px; }} svg text {{ font: 11.5px system-ui, sans-serif; fill: {FAINT}; }}
svg text.title {{ font-size: 13px; font-weight: 600; fill: {INK}; }} svg text.lane {{ fill: {INK}; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: {FAINT}; margin: 0 0 8px; }}
.legend i {{ display: inline-block; width: 14px; height: 9px; border-radius: 2px; margin-right: 6px; }}
"""


def render(report: Report) -> str:
    """The page."""
    verdict = ("Every checker held", GREEN) if report.ok else ("A checker failed", RED)
    began = datetime.fromtimestamp(report.began, UTC)
    where = "a scratch shop" if report.scratch else "a running shop"
    machine = report.machine
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Drill {_e(report.plan)}, seed {report.seed}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Drill: {_e(report.plan)}"
        f'<span class="verdict" style="background:{verdict[1]}">{verdict[0]}</span></h1>'
        f"<p>{_e(report.description)}</p>"
        f'<p class="faint">{began:%Y-%m-%d %H:%M} UTC, {_length(report.seconds)} on {where}, seed {report.seed}.'
        f" {_e(machine.get('processor', ''))}, {_e(machine.get('cores_used', ''))} cores for everything, clients included;"
        f" everopen {_e(machine.get('everopen', ''))}, Python {_e(machine.get('python', ''))},"
        f" {_e(machine.get('kernel', ''))}.</p>"
        f"{_tiles(report)}{_charts(report)}{_fault_table(report)}{_verdicts(report)}{_not_run(report)}"
        "</main></body></html>\n"
    )


def _e(value: object) -> str:
    return html.escape(str(value))


def _tiles(report: Report) -> str:
    summary = report.summary
    orders = report.acknowledged / max(report.seconds, 1e-9)

    def tile(value: str, what: str, mood: str = "") -> str:
        return f'<div><b class="{mood}">{value}</b>{what}</div>'

    return (
        '<section><div class="tiles">'
        + tile(f"{report.acknowledged:,}", f"orders acknowledged ({orders:,.0f} a second)")
        + tile(f"{report.lost:,}", "of them lost", "bad" if report.lost else "good")
        + tile(
            "?" if report.doubled is None else f"{report.doubled:,}", "doubled", "bad" if report.doubled else "good"
        )
        + tile(f"{summary.failed:,}", f"of {summary.requests:,} requests failed")
        + tile(f"{report.injections:,}", f"faults ({report.kills:,} kills, {report.processes_killed:,} processes)")
        + tile(f"{report.failovers:,}", "failovers of the database")
        + tile(f"{summary.wait_ms.get('p50', 0):,.1f} ms", "half of the requests took less")
        + tile(f"{summary.wait_ms.get('max', 0) / 1000:,.2f} s", "the longest took")
        + "</div></section>"
    )  # fmt: skip


# --- charts -------------------------------------------------------------------------------------------------------


class _Axis:
    def __init__(self, began: float, ended: float) -> None:
        self.began = began
        self.length = max(1.0, ended - began)

    def x(self, at: float) -> float:
        return LEFT + PLOT * min(1.0, max(0.0, (at - self.began) / self.length))

    def ticks(self) -> list[float]:
        for step in (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400):
            if self.length / step <= 14:
                return [step * number for number in range(int(self.length / step) + 1)]
        return [0.0, self.length]


def _charts(report: Report) -> str:
    axis = _Axis(report.began, report.ended)
    seconds = _thinned([second for second in report.seconds_seen if second.at >= report.began - 1])
    lanes = list(
        dict.fromkeys(entry.fault for entry in sorted(report.timeline, key=lambda entry: entry.start))
    )
    rates, waits, top = 150, 170, 24
    lanes_top = top + rates + 44 + waits + 44
    height = lanes_top + LANE * len(lanes) + 34
    parts = [
        _vertical(axis, top, height - 30),
        _rates(axis, seconds, top, rates),
        _waits(axis, seconds, top + rates + 44, waits),
        _lanes(axis, report.timeline, lanes, lanes_top),
    ]
    for tick in axis.ticks():
        parts.append(
            f'<text x="{axis.x(axis.began + tick):.1f}" y="{height - 12}" text-anchor="middle">{_clock(tick)}</text>'
        )
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{text}</span>'
        for colour, text in (
            (BLUE, "answered requests, median wait"),
            (GREEN, "orders acknowledged"),
            (RED, "failed requests"),
            (AMBER, "99th percentile and longest wait; shop not whole yet"),
            (INK, "fault in place"),
        )
    )
    return (
        f'<section><h2>What was broken, and what clients felt</h2><div class="legend">{legend}</div>'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Requests, waits and faults over time">'
        f"{''.join(parts)}</svg></section>"
    )


def _thinned(seconds: Sequence[Second]) -> list[Second]:
    """At most POINTS_MAX points: rates are averaged, waits keep their worst."""
    size = max(1, math.ceil(len(seconds) / POINTS_MAX))
    found = []
    for start in range(0, len(seconds), size):
        some = seconds[start : start + size]
        number = len(some)
        found.append(
            Second(
                some[0].at,
                sum(one.answered for one in some) // number,
                sum(one.acknowledged for one in some) // number,
                sum(one.failed for one in some),
                sorted(one.p50_ms for one in some)[number // 2],
                max(one.p99_ms for one in some),
                max(one.longest_ms for one in some),
            )
        )
    return found


def _vertical(axis: _Axis, top: int, bottom: int) -> str:
    return "".join(
        f'<line x1="{axis.x(axis.began + tick):.1f}" x2="{axis.x(axis.began + tick):.1f}" y1="{top}" y2="{bottom}"'
        f' stroke="{GRID}"/>'
        for tick in axis.ticks()
    )


def _rates(axis: _Axis, seconds: Sequence[Second], top: int, height: int) -> str:
    most = _round_up(max((second.answered for second in seconds), default=1))

    def y(value: float) -> float:
        return top + height - height * min(1.0, value / most)

    parts = [f'<text class="title" x="0" y="{top + 4}">Requests a second</text>']
    for share in (0.0, 0.5, 1.0):
        level = y(most * share)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="{GRID}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{level + 4:.1f}" text-anchor="end">{most * share:,.0f}</text>')
    parts.append(_line(axis, [(second.at, y(second.answered)) for second in seconds], BLUE))
    parts.append(_line(axis, [(second.at, y(second.acknowledged)) for second in seconds], GREEN))
    parts += [
        f'<rect x="{axis.x(second.at + 0.5) - 1.5:.1f}" y="{y(second.failed):.1f}" width="3" '
        f'height="{max(2.0, top + height - y(second.failed)):.1f}" fill="{RED}"><title>{second.failed} failed</title></rect>'
        for second in seconds
        if second.failed
    ]
    return "".join(parts)


def _waits(axis: _Axis, seconds: Sequence[Second], top: int, height: int) -> str:
    longest = max((second.longest_ms for second in seconds), default=10.0)
    decades = max(2, math.ceil(math.log10(max(longest, 10.0))))

    def y(value_ms: float) -> float:
        return top + height - height * min(1.0, max(0.0, math.log10(max(value_ms, 1.0)) / decades))

    parts = [
        f'<text class="title" x="0" y="{top + 4}">Wait for the answer</text>',
        f'<text x="0" y="{top + 20}">each step is ten times</text>',
    ]
    for decade in range(decades + 1):
        level = y(10.0**decade)
        name = f"{10**decade} ms" if decade < 3 else f"{10 ** (decade - 3)} s"
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="{GRID}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{level + 4:.1f}" text-anchor="end">{name}</text>')
    parts.append(_line(axis, [(one.at, y(one.longest_ms)) for one in seconds], AMBER, thin=True))
    parts.append(_line(axis, [(one.at, y(one.p99_ms)) for one in seconds], AMBER))
    parts.append(_line(axis, [(one.at, y(one.p50_ms)) for one in seconds], BLUE))
    return "".join(parts)


def _line(axis: _Axis, points: Sequence[tuple[float, float]], colour: str, *, thin: bool = False) -> str:
    if not points:
        return ""
    path = " ".join(f"{axis.x(at + 0.5):.1f},{level:.1f}" for at, level in points)
    look = 'stroke-width="1" stroke-opacity="0.45"' if thin else 'stroke-width="1.6"'
    return f'<polyline points="{path}" fill="none" stroke="{colour}" {look} stroke-linejoin="round"/>'


def _lanes(axis: _Axis, timeline: Sequence[Entry], lanes: Sequence[str], top: int) -> str:
    parts = [f'<text class="title" x="0" y="{top - 10}">Faults</text>']
    level = {name: top + LANE * number for number, name in enumerate(lanes)}
    for number, name in enumerate(lanes):
        y = level[name]
        if number % 2 == 0:
            parts.append(
                f'<rect x="0" y="{y}" width="{WIDTH - RIGHT}" height="{LANE}" fill="#f3f5f7" fill-opacity="0.7"/>'
            )
        parts.append(f'<text class="lane" x="4" y="{y + 11}">{_e(name)}</text>')
    for entry in timeline:
        y = level[entry.fault]
        healed = entry.healed or entry.injected
        whole = entry.whole or healed
        tip = (
            f"{entry.fault}: {entry.target}\nat {_clock(entry.start - axis.began, exact=True)},"
            f" healed after {healed - entry.start:.2f} s, whole after {whole - entry.start:.2f} s"
            f"\nlongest wait {entry.longest_wait_s:.2f} s, failed {entry.failed}"
        )
        x, wide = axis.x(entry.start), max(2.5, axis.x(healed) - axis.x(entry.start))
        parts.append(
            f"<g><title>{_e(tip)}</title>"
            f'<rect x="{x:.1f}" y="{y + 4}" width="{max(2.5, axis.x(whole) - x):.1f}" height="{LANE - 8}" fill="{AMBER}" fill-opacity="0.55"/>'
            f'<rect x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" height="{LANE - 6}" rx="1" fill="{RED if entry.failed else INK}"/></g>'
        )
    return "".join(parts)


def _round_up(value: float) -> float:
    size = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(size * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if size * step >= value)


def _clock(seconds: float, *, exact: bool = False) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:06.3f}" if exact else f"{int(rest):02d}"
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def _length(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 300 else f"{seconds / 60:,.0f} min"


# --- tables -------------------------------------------------------------------------------------------------------


def _fault_table(report: Report) -> str:
    rows = "".join(_fault_row(row, report) for row in report.faults if row.injections)
    return (
        "<section><h2>Each fault</h2><table><tr><th>fault</th><th>times<br>(alone)</th><th>failed<br>requests<br>alone / all</th>"
        "<th>connections<br>broken</th><th>worst<br>wait s<br>alone / all</th><th>served again s<br>p50 / p95 / longest</th>"
        "<th>whole again s<br>p50 / p95 / longest</th><th>orders<br>lost</th><th class='text'>what is done</th></tr>"
        f"{rows}</table><p class='faint'>Failed requests, waits and losses under several faults at once count for each of"
        " them. Served again: from the fault until the last slow or failed request of its time was over (0: nobody noticed)."
        " Whole again: from healing, or from a kill, until every process ran and a standby confirmed commits."
        " Doubled orders are counted over the whole drill.</p></section>"
    )


def _fault_row(row: FaultRow, report: Report) -> str:
    never = f" <span class='bad'>({row.never_whole} never)</span>" if row.never_whole else ""
    return (
        f"<tr><td>{_e(row.fault)}</td><td>{row.injections} ({row.alone})</td>"
        f"<td class='{'bad' if row.failed_alone and row.promise == 'none' else ''}'>{row.failed_alone:,} / {row.failed:,}</td>"
        f"<td>{row.broken_connections:,}</td><td>{row.worst_wait_alone_s:.2f} / {row.worst_wait_s:.2f}</td>"
        f"<td>{_times(row.served)}</td><td>{_times(row.whole)}{never}</td>"
        f"<td class='{'bad' if row.lost else ''}'>{row.lost:,}</td><td class='text'>{_e(row.description)}</td></tr>"
    )


def _times(times: Times | None) -> str:
    return "–" if times is None else f"{times.p50:.2f} / {times.p95:.2f} / {times.longest:.2f}"


def _verdicts(report: Report) -> str:
    rows = "".join(
        f"<tr><td class='{'ok' if verdict.ok else 'bad'}'>"
        f"{('held' if verdict.looked_at else 'not judged') if verdict.ok else 'FAILED'}</td>"
        f"<td class='text'>{_e(verdict.name)}</td><td class='text'>{_e(verdict.detail)}"
        + "".join(f"<br><span class='faint'>{_e(sample)}</span>" for sample in verdict.samples[1:])
        + "</td></tr>"
        for verdict in report.verdicts
    )
    return f"<section><h2>Checkers</h2><table>{rows}</table></section>"


def _not_run(report: Report) -> str:
    if not report.not_run:
        return ""
    rows = "".join(
        f"<tr><td>{_e(gap.fault)}</td><td>{gap.times}</td><td class='text'>{_e(gap.reason)}</td></tr>"
        for gap in report.not_run
    )
    return (
        "<section><h2>Not run</h2><table><tr><th>fault</th><th>times</th><th class='text'>why</th></tr>"
        f"{rows}</table></section>"
    )
