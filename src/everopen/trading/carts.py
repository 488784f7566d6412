"""Carts: a wish, not a promise. They hold no stock and no price; each change moves the cart's version on, and a
checkout names the version that it read, so two checkouts of one cart can't both become orders. A line remembers the price
that its buyer last saw, only to tell him that it changed.

Setting, removing and emptying end the same however often they run. Adding does not, so it carries an idempotency key like
an order, and its row is written in the same transaction.

A guest's cart is known by his session only. A customer has one cart, on whichever device he is: what a guest has gathered
goes into it when he logs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.errors import StoreUnavailable
from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.batches import Batch
from everopen.trading.orders import Cart, CartFull, CartLine, KeyReused, NotForSale, UnknownSku, Unpriced

SQL = load_statements("everopen.trading", "carts.sql")

LINES_MOST = 1000
"""Lines of one cart: as many as an order may have."""
QUANTITY_MOST = 1_000_000
"""Pieces of one line: as many as a line of an order may have."""
GROUP_MOST = 200
TRIES = 3
"""A customer's cart that housekeeping forgets in this very moment is made again."""


class Addition(msgspec.Struct, frozen=True):
    """So many more of a SKU, for a cart, once per key.

    `fresh`: the cart was opened for this very request (see `add_to_carts`). `session`: the digest of its new session's
    token, where sessions are kept in the same database; `session_days` is how long it lives."""

    cart_id: UUID
    sku: str
    quantity: int
    key: str
    fingerprint: bytes
    fresh: bool = False
    session: bytes | None = None
    session_days: float = 30.0


AddOutcome = Cart | UnknownSku | NotForSale | Unpriced | CartFull | KeyReused


def _line(row: Any) -> CartLine:
    available, quantity = row["available"], row["quantity"]
    price, was = row["unit_price"], row["price_was"]
    return CartLine(
        row["sku"],
        row["title"],
        quantity,
        price,
        available,
        price_was=was if was is not None and was != price else None,
        short=0 if available is None else max(0, quantity - max(0, available)),
    )


def _carts(rows: Any, currency: str) -> dict[UUID, Cart]:
    """Rows of `read_carts` as carts."""
    found: dict[UUID, Cart] = {}
    for cart_id, group in groupby(rows, key=lambda row: row["cart_id"]):
        lines = list(group)
        shown = tuple(_line(row) for row in lines if row["sku"] is not None)
        found[cart_id] = Cart(cart_id, lines[0]["version"], currency, shown)
    return found


async def read_carts(connection: Connection, currency: str, ids: Sequence[UUID]) -> list[Cart]:
    """Carts in the order of their ids in `ids`; an unknown one is empty, with version 0."""
    found = _carts(await connection.fetch(SQL["read_carts"], ids, currency), currency)
    return [found.get(cart_id) or Cart(cart_id, 0, currency, ()) for cart_id in ids]


async def _add(connection: Connection, currency: str, group: Sequence[Addition]) -> list[AddOutcome]:
    rows: Any = await connection.fetch(
        SQL["add_to_carts"],
        [item.cart_id for item in group],
        [item.fresh for item in group],
        [item.session for item in group],
        timedelta(days=group[0].session_days),
        [item.sku for item in group],
        [item.quantity for item in group],
        [item.key for item in group],
        [item.fingerprint for item in group],
        LINES_MOST,
        QUANTITY_MOST,
        currency,
    )
    outcomes, rest = rows[: len(group)], rows[len(group) :]
    found = _carts((row for row in rest if row["cart_id"] is not None), currency)
    return [_outcome(item, row["code"], found) for item, row in zip(group, outcomes, strict=True)]


def _outcome(item: Addition, code: int, found: dict[UUID, Cart]) -> AddOutcome:
    match code:
        case 0:
            return found[item.cart_id]
        case 1:
            return msgspec.structs.replace(found[item.cart_id], replayed=True)
        case 2:
            return KeyReused()
        case 4:
            return UnknownSku((item.sku,))
        case 5:
            return Unpriced((item.sku,))
        case 15:
            return CartFull(LINES_MOST)
        case 17:
            return NotForSale((item.sku,))
        case _:
            return CartFull(QUANTITY_MOST)


class Carts:
    """The carts of all visitors of a worker."""

    def __init__(self, primary: Primary, currency: str) -> None:
        self._primary = primary
        self._currency = currency
        self._additions: Batch[Addition, AddOutcome] = Batch(
            primary,
            "additions",
            lambda connection, group: _add(connection, currency, group),
            most=GROUP_MOST,
            apart=lambda item: (item.cart_id, item.key),
        )
        self._reads: Batch[UUID, Cart] = Batch(
            primary, "carts", lambda connection, ids: read_carts(connection, currency, ids), most=GROUP_MOST
        )

    async def close(self) -> None:
        """Ends."""
        await self._additions.close()
        await self._reads.close()

    async def find(self, cart_id: UUID) -> Cart:
        """The cart; an unknown one is empty, with version 0."""
        return await self._reads.ask(cart_id)

    async def add(self, item: Addition) -> AddOutcome:
        """Adds pieces of a SKU to what is in the cart, once per key. The cart is made when there is none."""
        return await self._additions.ask(item)

    async def set_line(self, cart_id: UUID, sku: str, quantity: int) -> Cart | UnknownSku:
        """Sets the quantity of a line; UnknownSku when it is not in the cart."""
        return await self._change(
            cart_id, sku, lambda c: c.fetchval(SQL["change_line"], cart_id, sku, quantity, self._currency)
        )

    async def remove_line(self, cart_id: UUID, sku: str) -> Cart | UnknownSku:
        """Takes a line out; UnknownSku when it is not in the cart."""
        return await self._change(cart_id, sku, lambda c: c.fetchval(SQL["remove_line"], cart_id, sku))

    async def empty(self, cart_id: UUID) -> Cart:
        """Takes all lines out."""
        found = await self._change(cart_id, "", lambda c: c.fetchval(SQL["empty_cart"], cart_id))
        return found if isinstance(found, Cart) else await self.find(cart_id)

    async def _change(
        self, cart_id: UUID, sku: str, change: Callable[[Connection], Awaitable[Any]]
    ) -> Cart | UnknownSku:
        async def work(connection: Connection) -> Cart | UnknownSku:
            async with connection.transaction():
                await connection.execute(SQL["lock_cart"], cart_id)
                if await change(connection):
                    await connection.execute(SQL["move_on"], cart_id)
                    found = await read_carts(connection, self._currency, [cart_id])
                    return found[0]
                return UnknownSku((sku,))

        return await self._primary.run(work)


async def merge_carts(connection: Connection, from_cart: UUID, into_cart: UUID) -> bool:
    """Moves what lies in one cart into another, quantities added up to the most that a line may have; lines for which the
    other has no room stay. Locks both in the order of their ids; once more it finds nothing to do. True: something moved."""
    moved: bool = await connection.fetchval(
        SQL["merge_carts"], from_cart, into_cart, LINES_MOST, QUANTITY_MOST
    )
    return moved


async def customer_cart(connection: Connection, customer_id: UUID, guest_cart: UUID | None = None) -> UUID:
    """The cart of a customer who logs in, with what his guest's cart held. For the caller's transaction."""
    for _ in range(TRIES):
        found: UUID = await connection.fetchval(SQL["cart_of_customer"], customer_id, uuid7())
        owner = None if guest_cart is None else await connection.fetchval(SQL["cart_owner"], guest_cart)
        if guest_cart is not None and owner is None:  # never another customer's, whatever the session says
            await merge_carts(connection, guest_cart, found)
        if await connection.fetchval(SQL["touch_cart"], found):
            return found
    raise StoreUnavailable("The customer's cart is forgotten as fast as it is made.")
