"""Each step of an order's later life is one transaction: whoever dies at its very end has done nothing of it, and the same
call, repeated by the connection's keeper, does all of it once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from everopen.trading import invoices
from everopen.trading.returns import Return
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import Desk, paid_order, placed_order

DIE_ONCE = """
CREATE SEQUENCE deaths;
GRANT USAGE ON deaths TO everopen_app;
CREATE FUNCTION die_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('deaths') = 1 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(10);
    END IF;
    RETURN NULL;
END
$$;
GRANT EXECUTE ON FUNCTION die_once() TO everopen_app;
CREATE TRIGGER die AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION die_once();
"""
ROWS = """
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_history), (SELECT count(*) FROM shipments),
       (SELECT count(*) FROM shipment_lines), (SELECT count(*) FROM returns), (SELECT count(*) FROM return_lines WHERE good IS NOT NULL),
       (SELECT count(*) FROM refunds), (SELECT count(*) FROM refund_lines), (SELECT count(*) FROM ledger_entries),
       (SELECT count(*) FROM payment_intents), (SELECT count(*) FROM outbox) + (SELECT count(*) FROM events), (SELECT count(*) FROM audit_log),
       (SELECT count(*) FROM stock_movements), (SELECT sum(on_hand) FROM stock), (SELECT count(*) FROM idempotency)
"""


async def die_once(shop: Shop, table: str) -> None:
    """The next statement that writes into the table ends its connection."""
    async with shop.database.connect("postgres") as connection:
        await connection.execute(DIE_ONCE.format(table=table))


async def shipped(desk: Desk, order: UUID) -> Any:
    await desk.ship(order)
    return order


async def received(desk: Desk, order: UUID) -> Return:
    await desk.ship(order)
    asked = await desk.request(order)
    assert isinstance(asked, Return)
    await desk.move(asked, "receive")
    return asked


async def as_it_is(_: Desk, order: UUID) -> UUID:
    return order


Before = Callable[[Desk, UUID], Awaitable[Any]]
STEPS: dict[str, tuple[Before, Callable[[Desk, Any], Awaitable[Any]]]] = {
    "ship": (as_it_is, lambda desk, order: desk.ship(order, apple=1)),
    "complete": (shipped, lambda desk, order: desk.complete(order)),
    "refund": (as_it_is, lambda desk, order: desk.refund(order, apple=1)),
    "cancel pieces": (as_it_is, lambda desk, order: desk.cancel_pieces(order)),
    "request": (shipped, lambda desk, order: desk.request(order, apple=1)),
    "inspect": (received, lambda desk, asked: desk.inspect(asked, apple=(1, 1))),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_dies_at_the_end_of_a_step_leaves_nothing_and_the_repeated_call_does_it_once(
    shop: Shop, step: str
) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            before, act = STEPS[step]
            order = await paid_order(shop, worker, ("apple", 3))
            subject = await before(desk, order)
            rows = tuple((await shop.fetch(ROWS))[0])
            await die_once(shop, "idempotency")
            seen: list[tuple[Any, ...]] = []

            async def watch() -> None:
                """What others see while the first attempt is at its end."""
                while not await shop.value("SELECT is_called FROM deaths"):
                    await asyncio.sleep(0.002)
                seen.append(tuple((await shop.fetch(ROWS))[0]))

            outcome, _ = await asyncio.gather(act(desk, subject), watch())
            assert type(outcome).__name__ in ("Shipment", "Completed", "Refunded", "Return"), outcome
            assert not outcome.replayed, "the first attempt has left no key"
            after = tuple((await shop.fetch(ROWS))[0])
            assert seen[0] in (rows, after), "all of it or nothing"
            assert after[-1] == rows[-1] + 1
            assert await shop.value("SELECT last_value FROM deaths") == 2
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_death_while_documents_are_issued_leaves_no_gap(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            for _ in range(3):
                await Desk(shop, worker).cancel_pieces(await paid_order(shop, worker, ("apple", 1)))
            await die_once(shop, "documents")
            assert await Desk(shop, worker).issue() == "Issued 3 invoices and 3 credit notes."
            assert await shop.value("SELECT max(number) FROM documents") == 3
            assert "Issued 0" in await invoices.issue_documents(worker.primary, worker.settings)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_cancellation_that_dies_holds_the_goods_until_it_is_repeated(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await placed_order(shop, worker, ("apple", 4))
            await die_once(shop, "idempotency")
            await Desk(shop, worker).cancel(order)
            assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (10, 0)
            assert await Desk(shop, worker).history(order) == [("placed", "cancel", "cancelled")]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
