"""The audit proves at any moment that stock, orders, payments and ledger tell the same story.

Each check is one statement that selects what is wrong; no row means that the promise holds. All of them read one
snapshot, so a shop in full trade can be audited. The provider's books are read before and after that snapshot: what
they had captured before it must be captured or under way with us, and what we hold as captured must be in them after.

Used by the `audit` command, by drills and by tests, so that there is one meaning of "it adds up"."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.payments.sandbox import Books

SQL = load_statements(
    "everopen.trading",
    "audit.sql",
    "audit_log.sql",
    "audit_pricing.sql",
    "audit_range.sql",
    "audit_carts.sql",
    "audit_coupons.sql",
    "audit_events.sql",
    "audit_lifecycle.sql",
    "audit_money.sql",
    "audit_people.sql",
)
"""One file per subject: its name here, and its checks count."""
CHECKS = tuple(name for name in SQL.names() if name != "counts")
SHOWN = 5
"""How many wrong rows a check shows."""


class Check(msgspec.Struct, frozen=True):
    """One promise and whether it holds; `detail` says what was proven or what is wrong."""

    name: str
    ok: bool
    detail: str
    seconds: float = 0.0
    """How long the look took."""


class AuditReport(msgspec.Struct, frozen=True):
    """`ok` when every check is."""

    ok: bool
    checks: tuple[Check, ...]
    counts: dict[str, int]


async def run(
    connection: Connection,
    *,
    books: Callable[[], Awaitable[Books]] | None = None,
    idempotency_days: float = 7.0,
) -> AuditReport:
    """Runs all checks. `books` reads the provider's sums (None: not compared; an OSError of it is a failed check)."""
    before = await _read(books)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL work_mem = '32MB'")
        checks = []
        for name in CHECKS:
            arguments = [idempotency_days * 86_400 - 60.0] if "$1" in SQL[name] else []
            begun = time.monotonic()
            rows = await connection.fetch(f"{SQL[name]} LIMIT {SHOWN + 1}", *arguments)
            checks.append(_check(name, [row[0] for row in rows], round(time.monotonic() - begun, 3)))
        counts: dict[str, int] = dict(await connection.fetchrow(SQL["counts"]))  # type: ignore[arg-type]
    after = await _read(books)
    if books is not None:
        checks.append(compare(before, after, counts))
    return AuditReport(all(check.ok for check in checks), tuple(checks), counts)


def _check(name: str, wrong: list[str], seconds: float) -> Check:
    if not wrong:
        return Check(name, True, SQL.descriptions[name], seconds)
    more = " and more" if len(wrong) > SHOWN else ""
    return Check(name, False, "; ".join(wrong[:SHOWN]) + more, seconds)


async def _read(books: Callable[[], Awaitable[Books]] | None) -> Books | OSError | None:
    if books is None:
        return None
    try:
        return await books()
    except (OSError, TimeoutError) as error:
        return error if isinstance(error, OSError) else OSError(str(error))


def compare(before: Any, after: Any, counts: dict[str, int]) -> Check:
    """The provider's books against ours. Pure."""
    name = "provider_books_match"
    if not isinstance(before, Books) or not isinstance(after, Books):
        return Check(name, False, "The provider's books can't be read.")
    wrong = []
    for what, ours, under_way, low, high in (
        ("captured", counts["captured"], counts["charges_open"], before.captured, after.captured),
        ("refunded", counts["refunded"], counts["refunds_open"], before.refunded, after.refunded),
    ):
        if low > ours + under_way:
            wrong.append(f"the provider {what} {low}, we know of {ours} and {under_way} under way")
        if high < ours:
            wrong.append(f"we have {ours} as {what}, the provider only {high}")
    if wrong:
        return Check(name, False, "; ".join(wrong))
    # (What is captured for a cancelled order is ours too, until its refund is through.)
    return Check(
        name, True, f"The provider captured {after.captured} and gave back {after.refunded}, as we have it."
    )
