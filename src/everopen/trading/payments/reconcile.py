"""Every day our ledger is compared with each provider's own list of money that moved, order by order and refund by refund.

The audit proves that our books agree with themselves; only the provider's list can say that money moved which we know nothing
of, or that we believe in money which never came. A day is compared by what was touched in it on either side: the sums of
those orders and refunds from the moment we first knew of them until now must be the same. (Comparing the day's sums alone was
turned down: a charge at midnight is in one list today and in the other tomorrow.)

The report is stored and never changed; a day may be compared again, and then the newest report counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from everopen.base.clock import Clock, SystemClock
from everopen.base.ids import uuid7
from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.ledger import SQL
from everopen.trading.payments.provider import Provider, ProviderSilent
from everopen.trading.settings import TradingSettings

DIFFERENCES_KEPT = 1000
DAYS_BACK = 7
"""Days without a report are made up for, at most so many."""
REST_S = 3600.0
"""So long after its end a day is compared: what is unknown at midnight is mostly known then."""
SKEW_S = 600.0
"""A provider's clock may be so far from ours."""
CHUNK = 2000
Kind = Literal["capture", "refund"]


class Difference(msgspec.Struct, frozen=True):
    """What the two lists say about one order's captures, or about one refund."""

    what: Literal["unknown here", "missing there", "another amount"]
    kind: Kind
    id: str
    """The order's or the refund's payment; the provider's reference where it names none of ours."""
    reference: str
    currency: str
    ours: int
    theirs: int


class DaySum(msgspec.Struct, frozen=True):
    """What moved on the day itself. Near midnight the two may differ and yet all is well."""

    kind: Kind
    currency: str
    ours: int
    theirs: int


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """A day's report."""

    id: UUID
    provider: str
    day: date
    made_at: datetime
    movements: int
    """Orders and refunds that were compared."""
    differences_n: int
    sums: list[DaySum]
    differences: list[Difference]
    """At most a thousand of them."""


class _Side(msgspec.Struct):
    """What one side says about an order or a refund."""

    amount: int
    currency: str
    reference: str = ""


Key = tuple[Kind, str]


async def reconcile(
    primary: Primary, settings: TradingSettings, providers: Mapping[str, Provider], clock: Clock | None = None
) -> str:
    """Compares yesterday (UTC, once it is an hour over), and days before it that have no report yet, with every provider. Safe
    to repeat. Raises ProviderSilent when one of them shows no list; what could be compared is stored then."""
    now_s = (clock or SystemClock()).wall_s()
    yesterday = datetime.fromtimestamp(now_s - REST_S, UTC).date() - timedelta(days=1)
    said: list[str] = []
    silent: ProviderSilent | None = None
    for name, provider in providers.items():
        for day in await _days(primary, name, yesterday):
            try:
                report = await reconcile_day(primary, name, provider, day)
            except ProviderSilent as error:
                silent = error
                break
            said.append(
                f"{name} {day}: {report.movements} compared, {report.differences_n or 'no'} differences"
            )
    if silent is not None:
        raise silent
    return f"{'; '.join(said) or 'Every day has its report'}."


async def _days(primary: Primary, name: str, yesterday: date) -> list[date]:
    async def read(connection: Connection) -> tuple[Any, Any]:
        first = await connection.fetchval(SQL["first_payment_day"], name)
        earliest = yesterday - timedelta(days=DAYS_BACK - 1)
        return first, {row["day"] for row in await connection.fetch(SQL["reported_days"], name, earliest)}

    first, reported = await primary.run(read)
    if first is None:
        return []
    days = [yesterday - timedelta(days=back) for back in reversed(range(DAYS_BACK))]
    return [day for day in days if day >= first and day not in reported]


async def reconcile_day(primary: Primary, name: str, provider: Provider, day: date) -> Reconciliation:
    """Compares one day and stores the report. Raises ProviderSilent."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    now_s = time.time()
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["our_day"], start, end, name), deadline_s=120.0
    )
    our_day: dict[Key, _Side] = {
        (row["kind"], str(row["id"])): _Side(row["amount"], row["currency"]) for row in rows
    }
    their_day = await _listed(provider, start.timestamp(), end.timestamp(), None)
    touched = our_day.keys() | their_day.keys()
    ours, first_s = await _ours(primary, name, touched)
    theirs = dict(their_day)
    # Before the day as far as we know of what was touched in it, and after it until now.
    spans = [(end.timestamp(), now_s + SKEW_S)]
    if first_s < start.timestamp():
        spans.append((first_s - SKEW_S, start.timestamp()))
    for since_s, until_s in spans:
        _add(theirs, await _listed(provider, since_s, until_s, touched))
    differences = [found for key in sorted(touched) if (found := _compare(key, ours, theirs)) is not None]
    sums = _sums(our_day, their_day)
    report_id = uuid7()
    kept = differences[:DIFFERENCES_KEPT]
    arguments = (
        report_id, name, day, len(touched), len(differences), msgspec.json.encode(sums).decode(),
        msgspec.json.encode(kept).decode(),
    )  # fmt: skip
    made_at = await primary.run(
        lambda connection: connection.fetchval(SQL["add_reconciliation"], *arguments), retry=False
    )
    return Reconciliation(
        id=report_id,
        provider=name,
        day=day,
        made_at=made_at,
        movements=len(touched),
        differences_n=len(differences),
        sums=sums,
        differences=kept,
    )


async def _listed(
    provider: Provider, since_s: float, until_s: float, wanted: set[Key] | None
) -> dict[Key, _Side]:
    found: dict[Key, _Side] = {}
    async for row in provider.booked(since_s, until_s):
        key: Key = (row.kind, str(row.id) if row.id is not None else row.reference)
        if wanted is None or key in wanted:
            _add(found, {key: _Side(row.amount, row.currency, row.reference)})
    return found


def _add(to: dict[Key, _Side], more: dict[Key, _Side]) -> None:
    for key, side in more.items():
        known = to.get(key)
        if known is None:
            to[key] = side
        elif known.currency == side.currency:
            to[key] = _Side(known.amount + side.amount, side.currency, side.reference)
        else:  # one thing in two currencies: whichever is kept, it is a difference
            to[key] = side


async def _ours(primary: Primary, name: str, touched: set[Key]) -> tuple[dict[Key, _Side], float]:
    """What we hold to have moved, and since when we know of the oldest of them."""
    ids = [found for _, text in touched if (found := _uuid(text)) is not None]
    ours: dict[Key, _Side] = {}
    first_s = time.time()
    for at in range(0, len(ids), CHUNK):
        part = ids[at : at + CHUNK]
        rows: Any = await primary.run(
            lambda connection, part=part: connection.fetch(SQL["our_payments"], part, name)  # type: ignore[misc]
        )
        for row in rows:
            kind: Kind = "refund" if row["kind"] == "refund" else "capture"
            ours[kind, str(row["id"])] = _Side(row["amount"], row["currency"])
            first_s = min(first_s, row["created_at"].timestamp())
    return ours, first_s


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _compare(key: Key, ours: Mapping[Key, _Side], theirs: Mapping[Key, _Side]) -> Difference | None:
    """One order's captures, or one refund, on both sides. Pure."""
    kind, name = key
    our, their = ours.get(key), theirs.get(key)
    our_amount = 0 if our is None else our.amount
    their_amount = 0 if their is None else their.amount
    currencies = {side.currency for side in (our, their) if side is not None and side.amount}
    if our_amount == their_amount and len(currencies) < 2:
        return None
    if our_amount == 0:
        what: Literal["unknown here", "missing there", "another amount"] = "unknown here"
    else:
        what = "missing there" if their_amount == 0 else "another amount"
    side = their or our
    reference = "" if their is None else their.reference
    return Difference(
        what, kind, name, reference, "" if side is None else side.currency, our_amount, their_amount
    )


def _sums(ours: Mapping[Key, _Side], theirs: Mapping[Key, _Side]) -> list[DaySum]:
    found: dict[tuple[Kind, str], list[int]] = {}
    for place, sides in ((0, ours), (1, theirs)):
        for (kind, _), side in sides.items():
            found.setdefault((kind, side.currency), [0, 0])[place] += side.amount
    return [DaySum(kind, currency, *amounts) for (kind, currency), amounts in sorted(found.items())]


async def find_reports(
    primary: Primary, *, provider: str | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[Reconciliation]:
    """Reports, newest first."""
    made_at, last = after or (None, None)
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["reconciliations"], made_at, last, provider, limit)
    )
    return [
        Reconciliation(
            id=row["id"],
            provider=row["provider"],
            day=row["day"],
            made_at=row["made_at"],
            movements=row["movements"],
            differences_n=row["differences_n"],
            sums=msgspec.json.decode(row["sums"], type=list[DaySum]),
            differences=msgspec.json.decode(row["differences"], type=list[Difference]),
        )
        for row in rows
    ]
