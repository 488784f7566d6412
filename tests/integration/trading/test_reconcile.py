"""Our ledger against the provider's list: what agrees is silent, and each kind of difference is found."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from everopen.base.clock import VirtualClock
from everopen.base.ids import uuid7
from everopen.trading import Trading, ledger, refunds
from everopen.trading.orders import PlacedOrder, Refunded
from everopen.trading.payments import Booked, Movement, ProviderSilent, SandboxProvider
from everopen.trading.payments.reconcile import (
    Difference,
    Reconciliation,
    find_reports,
    reconcile,
    reconcile_day,
)
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_captures import all_settled, authorised, eventually, take

TODAY = datetime.now(UTC).date()


async def paid(shop: Shop, worker: Trading, quantity: int = 1) -> UUID:
    placed = await worker.place(shop.order(("apple", quantity)))
    assert isinstance(placed, PlacedOrder)
    await eventually(lambda: all_settled(shop))
    return placed.id


async def compared(worker: Trading, day: date | None = None) -> Reconciliation:
    return await reconcile_day(worker.primary, "sandbox", worker.providers["sandbox"], day or TODAY)


def test_a_day_of_every_kind_of_movement_agrees(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50, free=None)
            for quantity in (1, 2, 3):
                last = await paid(shop, worker, quantity)
            await worker.place(shop.order(("apple", 1), token="tok_decline"))
            back = await refunds.refund(
                worker.primary, "GBP", last, [], key="r", fingerprint=b"", restock=True, reason="r"
            )
            assert isinstance(back, Refunded)
            held = await authorised(shop, worker, 4)
            await take(worker, held, 300, key="a")
            await take(worker, held, 200, key="b", final=True)
            await authorised(shop, worker, 1)
            await eventually(lambda: all_settled(shop))
            report = await compared(worker)
            assert (report.differences, report.differences_n, report.movements) == ([], 0, 5)
            assert [(one.kind, one.ours, one.theirs) for one in report.sums] == [
                ("capture", 1500 + 500, 1500 + 500),
                ("refund", 750, 750),
            ]
            assert await find_reports(worker.primary, provider="sandbox", after=None, limit=5) == [report]
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_each_kind_of_difference_is_found_and_kept(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        stranger = SandboxProvider(shop.sandbox.socket, 2.0)
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50)
            never_came, another, twice = [await paid(shop, worker) for _ in range(3)]
            unknown = uuid7()
            await stranger.charge(Movement(unknown, unknown, 999, "GBP", "tok_approve"))
            given = uuid7()
            await stranger.refund(Movement(given, twice, 100, "GBP", ""))
        await stranger.close()
        shop.sandbox.stop()
        with sqlite3.connect(shop.sandbox.books) as books:
            books.execute("DELETE FROM charges WHERE key = ?", (str(never_came),))
            books.execute("UPDATE charges SET amount = 260 WHERE key = ?", (str(another),))
        books.close()
        shop.sandbox.socket.unlink(missing_ok=True)
        shop.sandbox.start()
        async with shop.worker() as worker:
            report = await compared(worker)
            found = {(one.what, one.kind, one.id, one.ours, one.theirs) for one in report.differences}
            assert found == {
                ("missing there", "capture", str(never_came), 250, 0),
                ("another amount", "capture", str(another), 250, 260),
                ("unknown here", "capture", str(unknown), 0, 999),
                ("unknown here", "refund", str(given), 0, 100),
            }
            assert report.differences_n == 4

    asyncio.run(scenario())


class Around(SandboxProvider):
    """The sandbox with its clock set back, as if its money had moved before midnight."""

    back_s = 0.0

    async def booked(self, since_s: float, until_s: float) -> AsyncIterator[Booked]:
        async for row in super().booked(since_s + self.back_s, until_s + self.back_s):
            yield msgspec.structs.replace(row, at_s=row.at_s - self.back_s)


def test_a_payment_around_midnight_is_no_difference_on_either_day(shop: Shop) -> None:
    """The provider took the money yesterday, its answer was lost, and we wrote it down today."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50)
            await paid(shop, worker)
            await shop.fetch("UPDATE payment_intents SET created_at = created_at - interval '1 day'")
            around = Around(shop.sandbox.socket, 2.0)
            around.back_s = 86_400.0
            try:
                for day in (TODAY - timedelta(days=1), TODAY):
                    report = await reconcile_day(worker.primary, "sandbox", around, day)
                    assert (report.differences, report.movements) == ([], 1)
            finally:
                await around.close()

    asyncio.run(scenario())


def test_days_without_a_report_are_made_up_for_and_no_day_is_compared_twice(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50)
            await paid(shop, worker)
            noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
            for hours, days in ((0, []), (12.5, []), (13.5, [0]), (13.5, [0]), (24 * 3, [0, 1, 2])):
                clock = VirtualClock((noon + timedelta(hours=hours)).timestamp())
                await reconcile(worker.primary, worker.settings, worker.providers, clock)
                reports = await find_reports(worker.primary, provider=None, after=None, limit=50)
                assert sorted(one.day for one in reports) == [TODAY + timedelta(days=n) for n in days]
            shop.sandbox.stop()
            clock = VirtualClock((noon + timedelta(days=9)).timestamp())
            with pytest.raises(ProviderSilent):
                await reconcile(worker.primary, worker.settings, worker.providers, clock)

    asyncio.run(scenario())


def test_reports_are_listed_newest_first_in_pages(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            made = [await compared(worker, TODAY - timedelta(days=n)) for n in range(5)]
            first = await find_reports(worker.primary, provider=None, after=None, limit=2)
            rest = await find_reports(
                worker.primary, provider=None, after=(first[-1].made_at, first[-1].id), limit=9
            )
            assert [*first, *rest] == made[::-1]
            assert await find_reports(worker.primary, provider="stripe", after=None, limit=9) == []

    asyncio.run(scenario())


def test_many_movements_come_in_pages(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        provider = SandboxProvider(shop.sandbox.socket, 5.0)
        ids = [uuid7() for _ in range(2300)]
        for at in range(0, len(ids), 100):
            await asyncio.gather(
                *(provider.charge(Movement(one, one, 7, "GBP", "tok_approve")) for one in ids[at : at + 100])
            )
        async with shop.worker() as worker:
            report = await reconcile_day(worker.primary, "sandbox", provider, TODAY)
        await provider.close()
        assert (report.movements, report.differences_n, len(report.differences)) == (2300, 2300, 1000)
        assert report.differences[0] == Difference(
            "unknown here", "capture", *sorted((str(one), f"ch_{one}") for one in ids)[0], "GBP", 0, 7
        )
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_7_the_ledger_balances_per_currency_and_its_statement_adds_up(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50)
            for quantity in (1, 2):
                order = await paid(shop, worker, quantity)
            await refunds.refund(
                worker.primary, "GBP", order, [], key="r", fingerprint=b"", restock=True, reason="r"
            )
            await eventually(lambda: all_settled(shop))
        now = datetime.now(UTC) + timedelta(seconds=1)
        async with shop.database.connect("everopen_audit") as connection:
            balance = await ledger.trial_balance(connection, now)
            assert balance.balanced
            (pounds,) = balance.currencies
            assert pounds.debit == pounds.credit
            held = {one.account: one.balance for one in pounds.accounts}
            assert held == {"cash": 250, "receivable": 0, "returns": 500, "sales": -750}
            for account, amount in held.items():
                pieces = ledger.statement(connection, account, "GBP", now - timedelta(hours=1), now)
                lines = list(csv.DictReader(io.StringIO("".join([piece async for piece in pieces]))))
                assert (lines[0]["balance"], lines[-1]["balance"]) == ("0", str(amount))
                moved = [int(line["debit"] or 0) - int(line["credit"] or 0) for line in lines[1:-1]]
                assert sum(moved) == amount
                assert [int(line["balance"]) for line in lines[1:-1]] == [
                    sum(moved[: n + 1]) for n in range(len(moved))
                ]
            with pytest.raises(ledger.TooLong):
                [
                    _
                    async for _ in ledger.statement(
                        connection, "cash", "GBP", now - timedelta(hours=1), now, most=2
                    )
                ]
            empty = await ledger.trial_balance(connection, now - timedelta(hours=1))
            assert (empty.balanced, empty.currencies) == (True, [])

    asyncio.run(scenario())
