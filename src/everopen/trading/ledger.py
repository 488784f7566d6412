"""The ledger as people and their accountants read it: a trial balance, and the statement of an account as CSV.

Double entry, append-only: each event posts rows that sum to zero in its currency, the application's role can add rows and
do nothing else with them, and nothing is ever corrected but by a row that says so. Amounts are whole minor units, debit
positive, credit negative.

An entry carries the time at which its transaction began, so an export of a period is final a moment after it has ended.
Balances kept in a table of their own were turned down: the order path would write one hot row per account, and a sum over
an index that skips what is too old costs accountants a second a month."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from everopen.store import load_statements
from everopen.store.primary import Connection

SQL = load_statements("everopen.trading", "ledger.sql")
CSV_COLUMNS = (
    "posted_at", "event", "order_id", "refund_id", "payment_id", "debit", "credit", "balance", "currency",
)  # fmt: skip
FETCH = 2000


class AccountBalance(msgspec.Struct, frozen=True):
    """An account in one currency."""

    account: str
    debit: int
    credit: int
    balance: int
    entries: int


class CurrencyBalance(msgspec.Struct, frozen=True):
    """All accounts in one currency: debit and credit are the same."""

    currency: str
    debit: int
    credit: int
    accounts: list[AccountBalance]


class TrialBalance(msgspec.Struct, frozen=True):
    """The books before a time."""

    before: datetime
    balanced: bool
    currencies: list[CurrencyBalance]


class TooLong(Exception):
    """The statement has more entries than were asked for at most."""


async def trial_balance(connection: Connection, before: datetime) -> TrialBalance:
    """What each account holds, of the entries that were posted before a time."""
    rows: Any = await connection.fetch(SQL["trial_balance"], before)
    currencies: dict[str, list[AccountBalance]] = {}
    for row in rows:
        account = AccountBalance(row["account"], row["debit"], row["credit"], row["balance"], row["entries"])
        currencies.setdefault(row["currency"], []).append(account)
    found = [
        CurrencyBalance(
            currency, sum(one.debit for one in accounts), sum(one.credit for one in accounts), accounts
        )
        for currency, accounts in currencies.items()
    ]
    return TrialBalance(before, all(one.debit == one.credit for one in found), found)


async def statement(
    connection: Connection,
    account: str,
    currency: str,
    since: datetime,
    until: datetime,
    *,
    most: int | None = None,
) -> AsyncIterator[str]:
    """The statement of an account as CSV, in pieces: the balance before, each entry with the balance after it, the balance at
    the end. One snapshot of the books. Raises TooLong beyond `most` entries."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\r\n").writerow
    write(CSV_COLUMNS)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        balance: int = await connection.fetchval(SQL["opening_balance"], account, currency, since)
        write([since.isoformat(), "opening balance", "", "", "", "", "", balance, currency])
        count = 0
        cursor = connection.cursor(SQL["statement"], account, currency, since, until, prefetch=FETCH)
        async for row in cursor:
            count += 1
            if most is not None and count > most:
                raise TooLong
            amount = row["amount"]
            balance += amount
            write(
                [
                    row["posted_at"].isoformat(), row["event"], _id(row["order_id"]), _id(row["refund_id"]), _id(row["intent_id"]),
                    amount if amount > 0 else "", -amount if amount < 0 else "", balance, currency,
                ]
            )  # fmt: skip
            if text.tell() > 65_536:
                yield text.getvalue()
                text.seek(0)
                text.truncate()
        write([until.isoformat(), "closing balance", "", "", "", "", "", balance, currency])
        yield text.getvalue()


def _id(value: UUID | None) -> str:
    return "" if value is None else str(value)
