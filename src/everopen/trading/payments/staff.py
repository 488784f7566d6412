"""What staff do with payments: capture what was authorised, give up the rest, take up what failed.

Each is one transaction under its key, and leaves an intent; the payer carries it out. What the provider declines stays
declined: it would answer the same under the same key, and a second try is a decision about money. So a declined refund, void
or capture is announced (`refund.failed`, `payment.void_failed`, `payment.capture_failed`), stands in the list of payments
that need a person, and is taken up by staff: once more at the provider under a new key, or as paid by hand. Retrying by itself
was turned down: a card that is closed stays closed, and the customer waits longer for somebody to look."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.errors import InvariantBroken
from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.trading.orders import KeyReused, NotFound, WrongState
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "payments.sql")
BATCH = 100


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as staff see it."""

    id: UUID
    order_id: UUID
    kind: str
    status: str
    amount: int
    currency: str
    provider: str
    reference: str
    attempts: int
    created_at: datetime
    settled_at: datetime | None
    retry_of: UUID | None
    retried_by: UUID | None


class Asked(msgspec.Struct, frozen=True):
    """It was asked for; what the provider says to it is in the payment later."""

    id: UUID
    replayed: bool = False


class TooMuchMoney(msgspec.Struct, frozen=True):
    """More than what is left of the authorisation."""

    available: int


CaptureOutcome = Asked | KeyReused | NotFound | WrongState | TooMuchMoney
VoidOutcome = Asked | KeyReused | NotFound | WrongState


async def capture(
    primary: Primary,
    order_id: UUID,
    amount: int | None,
    *,
    final: bool,
    key: str,
    fingerprint: bytes,
    reason: str,
) -> CaptureOutcome:
    """Captures a part of an authorised order, or (None) all that is left. A `final` part is the last: what it leaves is
    voided, and the order is paid. WrongState("capturing"): all of it is captured or being captured already."""
    arguments = (uuid7(), order_id, amount, final, key, fingerprint, reason)
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["capture_order"], *arguments), deadline_s=10.0
    )
    if row["code"] == 11:
        return TooMuchMoney(row["available"])
    return _outcome(row)


async def void(
    primary: Primary, order_id: UUID, *, key: str, fingerprint: bytes, reason: str, expired: bool = False
) -> VoidOutcome:
    """Gives back what is authorised and not captured: the order is paid with what was captured of it, or cancelled (by staff,
    or because it `expired`)."""
    told = ("expire", "system") if expired else ("cancel", "staff")
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["void_order"], order_id, key, fingerprint, reason, *told)
    )
    return _outcome(row)


async def retry(
    primary: Primary, payment_id: UUID, *, by_hand: bool, key: str, fingerprint: bytes, reason: str
) -> VoidOutcome:
    """Takes up a declined refund or void: at the provider under a new key, or (a refund) as paid by hand."""
    arguments = (uuid7(), payment_id, by_hand, key, fingerprint, reason)
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["retry_payment"], *arguments), deadline_s=10.0
    )
    return _outcome(row)


def _outcome(row: Any) -> Asked | KeyReused | NotFound | WrongState:
    match row["code"]:
        case 0 | 1:
            return Asked(row["result_id"], replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 9:
            return NotFound()
        case 10:
            return WrongState(row["detail"])
    raise InvariantBroken(f"A payment's function answered {row['code']}.")


async def payments_of(primary: Primary, order_id: UUID) -> list[Payment]:
    """All payments of an order, oldest first; none when there is no such order."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["payments_of_order"], order_id))
    return [_payment(row) for row in rows]


async def find_payment(primary: Primary, payment_id: UUID) -> Payment | None:
    """One payment."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["one_payment"], payment_id))
    return None if row is None else _payment(row)


async def failed_payments(
    primary: Primary, settings: TradingSettings, *, after: UUID | None, limit: int
) -> list[Payment]:
    """Payments that need a person."""
    doubt_s = settings.payment_doubt_hours * 3600
    first = after or UUID(int=0)
    rows = await primary.run(
        lambda connection: connection.fetch(SQL["failed_payments"], first, limit, doubt_s)
    )
    return [_payment(row) for row in rows]


def _payment(row: Any) -> Payment:
    facts = {name: row[name] for name in Payment.__struct_fields__ if name != "reference"}
    return Payment(reference=row["provider_reference"] or "", **facts)


async def end_old_authorisations(primary: Primary, settings: TradingSettings) -> str:
    """Cancels authorised orders of which nothing was captured for too long: their hold lapses at the card's bank, and their
    goods are wanted by others. Safe to repeat; returns one sentence."""
    oldest_s = settings.authorisation_days * 86_400
    ids = [
        row["id"]
        for row in await primary.run(
            lambda connection: connection.fetch(SQL["old_authorisations"], oldest_s, BATCH)
        )
    ]
    for order_id in ids:
        reason = f"not captured for {settings.authorisation_days:g} days"
        key = f"lapse-{order_id}"
        await void(primary, order_id, key=key, fingerprint=b"lapse", reason=reason, expired=True)
    return f"Cancelled {len(ids)} orders whose authorisation was not captured in time."
