"""The rules of `notes/trading.md` that are about money, and the bug reports of other shops, each with a test by its name."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from everopen.trading import Trading, refunds
from everopen.trading.orders import PlacedOrder, Refunded, SoldOut
from everopen.trading.payments import Answer, Movement, Reply
from everopen.trading.payments.sandbox_books import ChargeBody, Ledger, RefundBody
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_captures import (
    all_settled,
    authorised,
    eventually,
    status_of,
    sums,
    take,
)


class Watched:
    """A provider whose every call is preceded by a look."""

    def __init__(self, provider: Any, before: Callable[[str, Movement], Awaitable[None]]) -> None:
        self._provider = provider
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._provider, name)
        if name not in ("charge", "authorise", "capture", "void", "refund", "withdraw"):
            return found

        async def ask(movement: Movement) -> Reply:
            await self._before(name, movement)
            reply: Reply = await found(movement)
            return reply

        return ask


def test_rule_4_the_provider_is_called_outside_any_lock_after_its_intent_was_committed(shop: Shop) -> None:
    """saleor#11069: rows stay locked while the payment gateway is asked."""
    seen: list[tuple[str, str, int]] = []

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=20)

            async def look(name: str, movement: Movement) -> None:
                async with shop.database.connect("postgres") as connection:
                    row = await connection.fetchrow(
                        "SELECT i.kind, i.status, i.amount FROM payment_intents i WHERE i.id = $1 FOR UPDATE NOWAIT",
                        movement.id,
                    )
                    assert row is not None, "another connection sees it: it is committed"
                    for locked in ("orders WHERE id = $1", "order_lines WHERE order_id = $1"):
                        await connection.fetch(
                            f"SELECT 1 FROM {locked} FOR UPDATE NOWAIT", movement.charge_id
                        )
                    await connection.fetch("SELECT 1 FROM stock FOR UPDATE NOWAIT")
                    seen.append((name, row["status"], row["amount"]))

            worker.providers["sandbox"] = Watched(worker.providers["sandbox"], look)  # type: ignore[assignment]
            held = await authorised(shop, worker, 4)
            await take(worker, held, 600, key="a", final=True)
            await eventually(lambda: all_settled(shop))
            placed = await worker.place(shop.order(("apple", 1)))
            assert isinstance(placed, PlacedOrder)
            await eventually(lambda: all_settled(shop))
            await refunds.refund(
                worker.primary, "GBP", placed.id, [], key="r", fingerprint=b"", restock=True, reason="r"
            )
            await eventually(lambda: all_settled(shop))
        assert seen == [
            ("authorise", "pending", 1000),
            ("capture", "pending", 600),
            ("void", "pending", 400),
            ("charge", "pending", 250),
            ("refund", "pending", 250),
        ]
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_rule_5_unknown_is_neither_yes_nor_no_for_every_kind_of_movement(shop: Shop) -> None:
    """Each call is carried out, and its answer lost, once: nothing is settled by that, and all of it by the next question."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_retry_s_max=0.2) as worker:
            await shop.stock(worker, apple=20)
            lost: set[tuple[str, UUID]] = set()
            real: Any = worker.providers["sandbox"]

            class Losing(Watched):
                def __getattr__(self, name: str) -> Any:
                    ask = super().__getattr__(name)
                    if name not in ("charge", "authorise", "capture", "void", "refund"):
                        return ask

                    async def once(movement: Movement) -> Reply:
                        reply: Reply = await ask(movement)
                        if (name, movement.id) in lost:
                            return reply
                        lost.add((name, movement.id))
                        return Reply(Answer.UNKNOWN)

                    return once

            async def nothing(name: str, movement: Movement) -> None:
                return None

            worker.providers["sandbox"] = Losing(real, nothing)  # type: ignore[assignment]
            held = await authorised(shop, worker, 4)
            await take(worker, held, 600, key="a", final=True)
            await eventually(lambda: all_settled(shop))
            placed = await worker.place(shop.order(("apple", 1)))
            assert isinstance(placed, PlacedOrder)
            await eventually(lambda: all_settled(shop))
            done = await refunds.refund(
                worker.primary, "GBP", placed.id, [], key="r", fingerprint=b"", restock=True, reason="r"
            )
            assert isinstance(done, Refunded)
            await eventually(lambda: all_settled(shop))
            assert {name for name, _ in lost} == {"charge", "authorise", "capture", "void", "refund"}
            assert worker.stats()["payments_unknown_total"] == 5
            assert await sums(shop) == {"cash": 600, "returns": 250, "sales": -850}
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


STEPS = ("authorise", "capture", "void", "refund")


@pytest.mark.parametrize(
    "asked", [False, True], ids=["before the provider was asked", "before it was written down"]
)
@pytest.mark.parametrize("step", STEPS)
def test_rule_9_a_crash_at_any_step_of_a_payment_resumes_from_the_last_committed_one(
    shop: Shop, step: str, asked: bool
) -> None:
    """The worker dies with the intent committed, and with the provider's answer in its hands; another one goes on."""

    async def dying(worker: Trading) -> None:
        """From now on this worker asks (or doesn't) and never writes anything down."""

        async def never(*_: object) -> None:
            await asyncio.sleep(3600)

        worker.payer._write = never  # type: ignore[method-assign]
        if not asked:
            worker.payer._carry_out = never  # type: ignore[method-assign]

    async def scenario() -> None:
        shop.sandbox.start()
        settings = {"payer_lease_s": 2.2, "payer_timeout_s": 0.6}
        order: UUID | None = None
        async with shop.worker(**settings) as worker:
            await shop.stock(worker, apple=20)
            if step == "authorise":
                await dying(worker)
                placed = await worker.place(shop.order(("apple", 4), capture="manual"))
                assert isinstance(placed, PlacedOrder)
                order = placed.id
            else:
                order = await authorised(shop, worker, 4)
                if step == "capture":
                    await dying(worker)
                    await take(worker, order, 1000, key="c")
                elif step == "void":
                    await take(worker, order, 600, key="c")
                    await eventually(lambda: all_settled(shop))
                    await dying(worker)
                    done = await refunds.cancel(worker.primary, order, key="x", fingerprint=b"", reason="r")
                    assert not hasattr(done, "order_id"), "captured in part: not cancelled"
                    await shop.fetch("SELECT void_order($1, 'v', 'v', 'r', 'cancel', 'staff')", order)
                else:
                    await take(worker, order, key="c")
                    await eventually(lambda: all_settled(shop))
                    await dying(worker)
                    await refunds.refund(
                        worker.primary, "GBP", order, [], key="r", fingerprint=b"", restock=True, reason="r"
                    )
            await asyncio.sleep(0.3)
            assert not await all_settled(shop)
        assert problems(await shop.audit(books=True)) == [], "also between the steps"
        async with shop.worker(**settings) as other:
            await eventually(lambda: all_settled(shop))
            expected = {"authorise": "authorised", "capture": "paid", "void": "paid", "refund": "cancelled"}
            assert await status_of(other, order) == expected[step]
            books = await other.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert (books.captured, books.refunded) == {
                "authorise": (0, 0), "capture": (1000, 0), "void": (600, 0), "refund": (1000, 1000),
            }[step]  # fmt: skip
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_nobody_is_charged_for_what_is_out_of_stock(shop: Shop) -> None:
    """vendure#3065, saleor#14733, oscar#4246: charged, then out of stock. Here goods are reserved first, and money follows."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=5)
            outcomes = await asyncio.gather(
                *((one, two)[n % 2].place(shop.order(("apple", 1))) for n in range(20))
            )
            assert sum(isinstance(outcome, PlacedOrder) for outcome in outcomes) == 5
            assert sum(isinstance(outcome, SoldOut) for outcome in outcomes) == 15
            await eventually(lambda: all_settled(shop))
            books = await one.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert (books.charges_approved, books.captured) == (5, 5 * 250)
            assert await shop.value("SELECT count(*) FROM orders WHERE status = 'paid'") == 5
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_rule_7_the_application_can_only_add_to_the_ledger(shop: Shop) -> None:
    """Also the columns and tables that came later."""

    async def scenario() -> None:
        rows = await shop.fetch(
            "SELECT t, p FROM unnest(ARRAY['ledger_entries', 'reconciliations']) t, "
            "unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p WHERE has_table_privilege('everopen_app', t, p)"
        )
        columns = await shop.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'ledger_entries'::regclass AND attnum > 0 "
            "AND has_column_privilege('everopen_app', attrelid, attnum, 'UPDATE')"
        )
        assert (rows, columns) == ([], [])
        functions = await shop.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
            "AND prosrc ~ '(ledger_entries|reconciliations|payment_intents)'"
        )
        assert functions == [], "and no function does it with somebody else's rights"

    asyncio.run(scenario())


def test_books_of_an_earlier_sandbox_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE charges (key TEXT PRIMARY KEY, amount INTEGER NOT NULL, currency TEXT NOT NULL, token TEXT NOT NULL, "
        "status TEXT NOT NULL, answers INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
        "CREATE TABLE refunds (key TEXT PRIMARY KEY, charge TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, "
        "status TEXT NOT NULL) WITHOUT ROWID;"
        "INSERT INTO charges VALUES ('a', 500, 'GBP', 'tok_approve', 'approved', 0), ('b', 70, 'GBP', 'x', 'declined', 0);"
        "INSERT INTO refunds VALUES ('r', 'a', 200, 'GBP', 'approved');"
    )
    old.close()
    ledger = Ledger(path)
    try:
        assert ledger.charge(ChargeBody("a", 500, "GBP", "tok_approve")) == ("approved", 0)
        assert ledger.refund(RefundBody("r2", "a", 300, "GBP")) == "approved"
        assert ledger.refund(RefundBody("r3", "a", 1, "GBP")) == "declined"
        assert ledger.sums() == {
            "charges_approved": 1, "charges_declined": 1, "captured": 500, "refunds": 2, "refunded": 500,
        }  # fmt: skip
    finally:
        ledger.close()
