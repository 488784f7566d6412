"""Drills by themselves: a shop that was proven last month is not proven.

`next_run` decides when, purely; `keep_drilling` waits and starts the very command that a person would type, in a process of
its own, so that a drill can never take its starter down. It needs nothing but a home and an event loop.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from everopen.base.clock import Clock
from everopen.base.errors import ConfigError
from everopen.drill.settings import DrillSettings

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAILY = re.compile(r"daily (\d{1,2}):(\d\d)")
_WEEKLY = re.compile(rf"weekly ({'|'.join(DAYS)}) (\d{{1,2}}):(\d\d)")
_EVERY = re.compile(r"every (\d{1,4})h")
POLL_S_MAX = 60.0
"""Waits in short steps: a wall clock may be set."""


def next_run(schedule: str, now: datetime, last: datetime | None) -> datetime | None:
    """When the next drill is due (local time); None: never. A time that was missed while nothing ran is not made up for.
    Raises ConfigError."""
    text = schedule.strip().lower()
    if text in ("", "off"):
        return None
    if found := _EVERY.fullmatch(text):
        hours = int(found[1])
        if hours:
            return max(now, (last or now) + timedelta(hours=hours))
    if found := _DAILY.fullmatch(text) or _WEEKLY.fullmatch(text):
        *days, hours_text, minutes_text = found.groups()
        day = DAYS.index(days[0]) if days else None
        hour, minute = int(hours_text), int(minutes_text)
        if hour < 24 and minute < 60:
            at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            while at <= now or (day is not None and at.weekday() != day):
                at += timedelta(days=1)
            return at
    raise ConfigError(
        f"[drill] schedule = {schedule!r} says no time.",
        "Expected off, `daily 03:30`, `weekly sun 03:30` or `every 12h`.",
    )


def command_of(settings: DrillSettings) -> list[str]:
    """What a person would type."""
    command = [sys.executable, "-m", "everopen.cli", "drill", "run", "--plan", settings.plan, "--seed", "0"]
    return [*command, "--scratch"] if settings.scratch else command


async def keep_drilling(
    settings: DrillSettings,
    clock: Clock,
    *,
    environment: dict[str, str],
    log: Path,
    say: Callable[[str], None],
) -> None:
    """Runs drills on schedule until cancelled; a drill under way is ended then (it heals everything first). `environment`
    must have EVEROPEN_HOME; results go to HOME/drills. Raises ConfigError for a schedule that says no time."""
    last: datetime | None = None
    while True:
        due = next_run(settings.schedule, datetime.fromtimestamp(clock.wall_s()), last)
        if due is None:
            return
        while (left := due.timestamp() - clock.wall_s()) > 0:
            await asyncio.sleep(min(left, POLL_S_MAX))
        last = datetime.fromtimestamp(clock.wall_s())
        say(f"A scheduled drill begins ({settings.plan}).")
        with open(log, "ab") as output:
            child = await asyncio.create_subprocess_exec(
                *command_of(settings), env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )  # fmt: skip
            try:
                status = await child.wait()
            except asyncio.CancelledError:
                child.terminate()
                await child.wait()
                raise
        say(
            f"The scheduled drill ({settings.plan}) "
            + ("held." if status == 0 else f"ended with status {status}: `everopen drill report` shows it.")
        )
