"""One round for one subscriber, as pure decisions: what is sent now and what stands behind, and what the outcomes mean.

A subscriber has a position: everything up to it is delivered, held, or not wanted. What fails is held in a row of its own, and
so is every later event of the same order, so a failing order waits and the others go on. Once a subscriber fails three times
with nothing in between that went through, it rests, and then a single event is tried: an outage of an hour costs it some
dozen attempts and not thousands.

A row per event and subscriber was turned down: it writes the whole stream once per subscriber, to say of nearly all of it
that it went well."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from everopen.trading.events.facts import Row
from everopen.trading.events.sender import Sent
from everopen.trading.events.settings import EventsSettings

RESTING_FAILURES = 3
WINDOW = 64
HEADS = 32


class Tray(NamedTuple):
    """What a subscriber's round has before it."""

    heads: Sequence[tuple[Row, int]]
    """Held events whose pause is over, the first of its order each, with the attempts so far."""
    fresh: Sequence[Row]
    """The next events after its position."""
    blocked: Collection[UUID]
    """Orders of which an event is held."""


class Held(NamedTuple):
    """An event to hold."""

    seq: int
    stream: UUID
    attempts: int
    pause_s: float
    problem: str
    dead: bool


class Verdict(NamedTuple):
    """What a round comes to."""

    through: list[int]
    """Held events that went through."""
    held: list[Held]
    failures: int
    """In a row, with nothing that went through since."""


def lines(tray: Tray) -> tuple[list[list[Row]], list[Row]]:
    """Who goes: one line per order, each to be sent one after the other; and what stands behind a held event."""
    going: dict[UUID, list[Row]] = {row.stream: [row] for row, _ in tray.heads}
    behind = []
    for row in tray.fresh:
        if row.stream in tray.blocked:
            behind.append(row)
        else:
            going.setdefault(row.stream, []).append(row)
    return list(going.values()), behind


def judge(
    tray: Tray,
    outcomes: Mapping[int, Sent],
    failures: int,
    settings: EventsSettings,
    jitter: float,
) -> Verdict:
    """What the outcomes (by event number) mean. What has none, although it was to go, stands behind one that failed."""
    attempts = {row.seq: count for row, count in tray.heads}
    through, held = [], []
    for row in [*(row for row, _ in tray.heads), *tray.fresh]:
        sent = outcomes.get(row.seq)
        if sent is None:
            if row.seq not in attempts:
                held.append(Held(row.seq, row.stream, 0, 0.0, "An earlier event of its order waits.", False))
        elif sent.ok:
            if row.seq in attempts:
                through.append(row.seq)
        else:
            count = attempts.get(row.seq, 0) + 1
            dead = count >= settings.attempts_max
            held.append(
                Held(
                    row.seq,
                    row.stream,
                    count,
                    retry_pause_s(count, settings, jitter),
                    sent.problem[:500],
                    dead,
                )
            )
    if any(sent.ok for sent in outcomes.values()):
        failures = 0
    else:
        failures += len(outcomes)
    return Verdict(through, held, failures)


def retry_pause_s(attempts: int, settings: EventsSettings, jitter: float) -> float:
    """How long an event rests after so many failures; spread by ±25 % (`jitter` in 0..1)."""
    grown = settings.retry_first_s * 2.0 ** min(attempts - 1, 30)
    return min(grown, settings.retry_max_s) * (0.75 + 0.5 * jitter)


def rest_s(failures: int, settings: EventsSettings, jitter: float) -> float:
    """How long a subscriber rests; 0 while it takes something now and then."""
    if failures < RESTING_FAILURES:
        return 0.0
    grown = settings.retry_first_s * 2.0 ** min(failures - RESTING_FAILURES, 30)
    return min(grown, settings.rest_max_s) * (0.75 + 0.5 * jitter)
