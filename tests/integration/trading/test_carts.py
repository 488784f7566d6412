"""Carts on a real PostgreSQL: additions in groups, what changed since, merging, forgetting."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from everopen.base.ids import secret_token, uuid7
from everopen.trading import Trading, catalogue, housekeeping
from everopen.trading.carts import LINES_MOST, QUANTITY_MOST, Addition, Carts, customer_cart, merge_carts
from everopen.trading.orders import (
    Cart,
    CartChanged,
    CartFull,
    KeyReused,
    LineRequest,
    NotForSale,
    PlacedOrder,
    ProductInput,
    SoldOut,
    UnknownSku,
    Unpriced,
)
from everopen.trading.range import Price
from everopen.trading.sessions import digest
from everopen.trading.sessions.postgres import PostgresSessions
from tests.integration.trading.conftest import Shop, problems


@asynccontextmanager
async def opened(shop: Shop, **stock: int | None) -> AsyncIterator[tuple[Trading, Carts]]:
    """A worker with its carts, and products for 2.50."""
    async with shop.worker() as worker:
        await shop.stock(worker, **stock)
        carts = Carts(worker.primary, "GBP")
        yield worker, carts
        await carts.close()


async def add(carts: Carts, cart_id: UUID, sku: str, key: str, quantity: int = 1, **facts: Any) -> Any:
    """Adds pieces under a key."""
    return await carts.add(Addition(cart_id, sku, quantity, key, f"{sku} {quantity}".encode(), **facts))


def quantities(cart: Cart) -> dict[str, int]:
    return {line.sku: line.quantity for line in cart.lines}


def test_a_key_adds_to_one_cart_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10) as (worker, carts):
            mine, other, fresh = uuid7(), uuid7(), uuid7()
            outcomes = await asyncio.gather(*(add(carts, mine, "apple", "k") for _ in range(9)))
            assert Counter((cart.version, cart.replayed) for cart in outcomes) == {
                (1, False): 1,
                (1, True): 8,
            }
            assert quantities(outcomes[0]) == {"apple": 1}
            assert await add(carts, mine, "pear", "k") == KeyReused()
            assert await add(carts, other, "apple", "k") == KeyReused()
            # A visitor without a session whose answer was lost: a new cart, and again no more than one piece.
            again = await add(carts, fresh, "apple", "k", fresh=True)
            assert quantities(again) == {"apple": 1}
            assert await add(carts, fresh, "apple", "k") == KeyReused()
            assert await worker.place(shop.order(("apple", 1), key="k", fingerprint=b"apple")) == KeyReused()
            assert isinstance(await worker.place(shop.order(("apple", 1), key="o")), PlacedOrder)
            assert await add(carts, mine, "apple", "o") == KeyReused()
            # A refused change leaves its key free.
            assert await add(carts, mine, "plum", "free") == UnknownSku(("plum",))
            assert isinstance(await add(carts, mine, "pear", "free"), Cart)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_group_of_additions_has_one_outcome_each(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10) as (worker, carts):
            await catalogue.upsert_products(
                worker.primary, "GBP", [ProductInput("free", "No price", None)], key="p2", fingerprint=b"p2"
            )
            ids = [uuid7() for _ in range(50)]
            blocker = asyncio.create_task(add(carts, uuid7(), "apple", "first"))
            outcomes = await asyncio.gather(
                *(add(carts, cart, "apple", f"k{n}", n + 1) for n, cart in enumerate(ids)),
                add(carts, uuid7(), "plum", "x1", fresh=True),
                add(carts, uuid7(), "free", "x2", fresh=True),
                add(carts, ids[0], "apple", "x3", QUANTITY_MOST),
            )
            await blocker
            assert [quantities(cart) for cart in outcomes[:50]] == [{"apple": n + 1} for n in range(50)]
            assert outcomes[50:] == [UnknownSku(("plum",)), Unpriced(("free",)), CartFull(QUANTITY_MOST)]
            assert await shop.value("SELECT count(*) FROM carts") == 51  # none for what can't be sold

    asyncio.run(scenario())


def test_an_addition_that_two_workers_send_at_once_counts_once(shop: Shop) -> None:
    """As a gateway that asks a second worker while the first is only slow."""

    async def scenario() -> None:
        async with opened(shop, apple=10) as (_, carts), shop.worker() as second:
            others = Carts(second.primary, "GBP")
            cart = uuid7()
            for number in range(20):
                await asyncio.gather(
                    *(add(where, cart, "apple", f"k{number}") for where in (carts, others, carts, others))
                )
            assert quantities(await carts.find(cart)) == {"apple": 20}
            await others.close()

    asyncio.run(scenario())


def test_a_cart_becomes_one_order_and_is_empty(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10) as (worker, carts):
            token, cart_id = secret_token(), uuid7()
            sessions = PostgresSessions(worker.primary, days=1)
            for number, sku in enumerate(("apple", "pear", "apple")):
                facts = {"fresh": True, "session": digest(token)} if number == 0 else {}
                cart = await add(carts, cart_id, sku, f"k{number}", **facts)
            found = await sessions.find(token)
            assert found is not None
            assert (found.cart_id, found.customer_id) == (cart_id, None)
            assert await sessions.find("guess") is None
            assert quantities(cart) == {"apple": 2, "pear": 1}
            lines = tuple(LineRequest(line.sku, line.quantity) for line in cart.lines)
            facts = {"cart_id": cart_id, "cart_version": cart.version, "fingerprint": b"checkout"}
            both = await asyncio.gather(
                *(worker.place(shop.order(lines=lines, **facts, key=f"c{i}")) for i in range(2))
            )
            assert sorted(type(outcome).__name__ for outcome in both) == ["CartChanged", "PlacedOrder"]
            won = "c0" if isinstance(both[0], PlacedOrder) else "c1"
            assert (await carts.find(cart_id)).lines == ()
            again = await worker.place(
                shop.order(lines=(), cart_id=cart_id, cart_version=99, fingerprint=b"checkout", key=won)
            )
            assert isinstance(again, PlacedOrder)
            assert again.replayed
            assert await worker.place(shop.order(lines=lines, **facts)) == CartChanged()
            assert await shop.value("SELECT count(*) FROM orders") == 1

    asyncio.run(scenario())


def test_two_checkouts_of_one_cart_of_the_last_piece_sell_it_once(shop: Shop) -> None:
    """medusa#16569: check, then allocate, in two steps oversells."""

    async def scenario() -> None:
        async with opened(shop, drop=1) as (worker, carts), shop.worker() as second:
            ids = [uuid7() for _ in range(8)]
            found = [await add(carts, cart, "drop", f"a{n}") for n, cart in enumerate(ids)]
            outcomes = await asyncio.gather(
                *(
                    (worker, second)[n % 2].place(
                        shop.order(("drop", 1), cart_id=cart.id, cart_version=cart.version, key=f"c{n}")
                    )
                    for n, cart in enumerate(found)
                )
            )
            assert Counter(type(outcome) for outcome in outcomes) == {PlacedOrder: 1, SoldOut: 7}
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_cart_shows_what_changed_since_a_line_was_put_in(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10) as (worker, carts):
            cart_id = uuid7()
            await add(carts, cart_id, "apple", "a", 4)
            cart = await add(carts, cart_id, "pear", "b", 2)
            assert [(line.price_was, line.short) for line in cart.lines] == [(None, 0), (None, 0)]
            await catalogue.upsert_products(
                worker.primary, "GBP", [ProductInput("apple", "Apple", 300)], key="dearer", fingerprint=b""
            )
            await worker.place(shop.order(("apple", 7)))
            apple, pear = (await carts.find(cart_id)).lines
            assert (apple.unit_price, apple.price_was, apple.available, apple.short) == (300, 250, 3, 1)
            assert (pear.price_was, pear.short) == (None, 0)
            changed = await carts.set_line(cart_id, "apple", 3)  # its buyer has now seen the new price
            assert isinstance(changed, Cart)
            assert [(line.price_was, line.short) for line in changed.lines] == [(None, 0), (None, 0)]

    asyncio.run(scenario())


def test_prices_by_time_and_products_that_are_taken_off_are_shown_in_the_cart(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10) as (worker, carts):
            cart_id, hour = uuid7(), timedelta(hours=1)
            now = datetime.now(UTC)
            sale = [Price(250, "GBP", None, now - hour), Price(99, "GBP", now - hour, now + hour)]
            await catalogue.put_prices(worker.primary, "GBP", "apple", sale, key="sale", fingerprint=b"s")
            await add(carts, cart_id, "apple", "a", 2)
            await add(carts, cart_id, "pear", "b", 2)
            async with shop.database.connect("postgres") as connection:
                await connection.execute("UPDATE products SET published = false WHERE sku = 'pear'")
            apple, pear = (await carts.find(cart_id)).lines
            assert (apple.unit_price, apple.price_was, apple.short) == (99, None, 0)
            assert (pear.unit_price, pear.available, pear.short) == (250, 0, 2)
            assert await add(carts, cart_id, "pear", "c") == NotForSale(("pear",))
            later = [Price(250, "GBP", None, now - hour), Price(300, "GBP", now - hour)]
            await catalogue.put_prices(worker.primary, "GBP", "apple", later, key="over", fingerprint=b"o")
            apple, _ = (await carts.find(cart_id)).lines
            assert (apple.unit_price, apple.price_was) == (300, 99)
            changed = await carts.set_line(cart_id, "apple", 1)
            assert isinstance(changed, Cart)
            assert (changed.lines[0].unit_price, changed.lines[0].price_was) == (300, None)

    asyncio.run(scenario())


def test_carts_merge_up_to_the_most_and_only_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10, plum=10) as (worker, carts):
            guest, own = uuid7(), uuid7()
            for cart, sku, quantity in (
                (guest, "apple", 2), (guest, "pear", QUANTITY_MOST - 1), (own, "pear", 5), (own, "plum", 1)
            ):  # fmt: skip
                await add(carts, cart, sku, shop.key(), quantity)

            async def merge(connection: Any) -> bool:
                async with connection.transaction():
                    return await merge_carts(connection, guest, own)

            moved = await asyncio.gather(*(worker.primary.run(merge) for _ in range(4)))
            assert sorted(moved) == [False, False, False, True]
            assert quantities(await carts.find(own)) == {"apple": 2, "pear": QUANTITY_MOST, "plum": 1}
            assert quantities(await carts.find(guest)) == {}
            assert not await worker.primary.run(lambda c: merge_carts(c, own, own))

    asyncio.run(scenario())


def test_merging_crosswise_does_not_deadlock(shop: Shop) -> None:
    """saleor#14891: locks are taken in one order only."""

    async def scenario() -> None:
        async with opened(shop, apple=100) as (worker, carts), shop.worker() as second:
            one, two = uuid7(), uuid7()
            await add(carts, one, "apple", "a", 3)
            await add(carts, two, "apple", "b", 4)
            for _ in range(20):
                await asyncio.gather(
                    worker.primary.run(lambda c: merge_carts(c, one, two)),
                    second.primary.run(lambda c: merge_carts(c, two, one)),
                )
            held = [quantities(await carts.find(cart)).get("apple", 0) for cart in (one, two)]
            assert sum(held) == 7
            assert (
                await shop.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
                == 0
            )

    asyncio.run(scenario())


def test_a_customer_has_one_cart_on_every_device(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10, pear=10) as (worker, carts):
            customer, other = uuid7(), uuid7()
            phone, laptop = uuid7(), uuid7()
            await add(carts, phone, "apple", "a", 2)
            await add(carts, laptop, "apple", "b", 1)
            await add(carts, laptop, "pear", "c", 1)

            async def login(guest: UUID | None, who: UUID = customer) -> UUID:
                async def work(connection: Any) -> UUID:
                    async with connection.transaction():
                        return await customer_cart(connection, who, guest)

                return await worker.primary.run(work)

            first, again = await asyncio.gather(login(phone), login(laptop))
            assert first == again == await login(None)
            assert quantities(await carts.find(first)) == {"apple": 3, "pear": 1}
            # The session of one customer leads nobody to take his cart away.
            assert quantities(await carts.find(await login(first, other))) == {}
            assert quantities(await carts.find(first)) == {"apple": 3, "pear": 1}

    asyncio.run(scenario())


def test_housekeeping_forgets_guests_and_keeps_customers(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10) as (worker, carts):
            sessions = PostgresSessions(worker.primary, days=1)
            customer = uuid7()
            kept = await worker.primary.run(lambda c: customer_cart(c, customer))
            gone, present = uuid7(), uuid7()
            tokens = [secret_token() for _ in range(3)]
            await sessions.open(tokens[0], kept, customer)
            await sessions.open(tokens[1], gone)
            await sessions.open(tokens[2], present)
            await add(carts, gone, "apple", "a")
            async with shop.database.connect("postgres") as connection:
                await connection.execute(
                    "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE cart_id <> $1", present
                )

            async def forget() -> tuple[int, int]:
                return await worker.primary.run(lambda c: housekeeping.forget_carts(c, 90.0, time.time()))

            assert await forget() == (2, 1)
            assert {row["id"] for row in await shop.fetch("SELECT id FROM carts")} == {kept, present}
            old = uuid7(0)
            async with shop.database.connect("postgres") as connection:
                await connection.execute(
                    "INSERT INTO carts (id, updated_at) VALUES ($1, now() - $2::interval)",
                    old,
                    timedelta(days=91),
                )
            assert await forget() == (0, 1)

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_full_cart_takes_its_next_line_as_fast_as_an_empty_one(shop: Shop) -> None:
    """vendure#3075: adding a line took 0.3 s in a small cart and 6 s in a big one. Here each addition costs its own line and
    one look at the cart; twenty times the lines may not cost twenty times the time."""

    async def scenario() -> None:
        async with opened(shop) as (worker, carts):
            skus = [f"S{number:04d}" for number in range(LINES_MOST)]
            await catalogue.upsert_products(
                worker.primary,
                "GBP",
                [ProductInput(sku, sku, 100) for sku in skus],
                key="p",
                fingerprint=b"p",
            )
            cart, took = uuid7(), []
            for number, sku in enumerate(skus):
                begun = time.perf_counter()
                outcome = await add(carts, cart, sku, f"k{number}")
                took.append(time.perf_counter() - begun)
                assert isinstance(outcome, Cart)
            assert await add(carts, cart, "S0000", "more")
            early, late = statistics.median(took[30:70]), statistics.median(took[-40:])
            assert late < 20 * early + 0.01, f"{early * 1000:.1f} ms, then {late * 1000:.1f} ms"
            assert late < 0.1
            found = await carts.find(cart)
            assert len(found.lines) == LINES_MOST

    asyncio.run(scenario())


def test_the_audit_finds_a_line_and_a_session_without_their_cart(shop: Shop) -> None:
    async def scenario() -> None:
        async with opened(shop, apple=10) as (_, carts):
            cart_id, token = uuid7(), secret_token()
            await add(carts, cart_id, "apple", "a", fresh=True, session=digest(token))
            assert problems(await shop.audit()) == []
            async with shop.database.connect("postgres") as connection:
                await connection.execute("DELETE FROM carts")
            (said,) = problems(await shop.audit())
            assert said.startswith("cart_lines_have_carts: ")
            assert said.count("no such cart") == 2

    asyncio.run(scenario())


def test_a_cart_that_is_forgotten_while_it_is_filled_is_made_again(shop: Shop) -> None:
    """Housekeeping deletes the row that the addition waits for: the line must not lie in a cart that is not there."""

    async def scenario() -> None:
        async with opened(shop, apple=10) as (_, carts), shop.database.connect("postgres") as connection:
            cart_id = uuid7()
            await add(carts, cart_id, "apple", "a")
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("DELETE FROM cart_lines")
            await connection.execute("DELETE FROM carts WHERE id = $1", cart_id)
            adding = asyncio.create_task(add(carts, cart_id, "apple", "b", 2))
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            while not await shop.value(waiting) and not adding.done():
                await asyncio.sleep(0.01)
            await transaction.commit()
            assert quantities(await adding) == {"apple": 2}
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
