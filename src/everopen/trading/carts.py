"""Carts: a wish, not a promise. They hold no stock and no price; each change moves the cart's version on, and a
checkout names the version that it read, so two checkouts of one cart can't both become orders.

Setting, removing and emptying end the same however often they run. Adding does not, so `add_line` carries an idempotency
key like an order, and its row is written in the same transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import Cart, CartFull, CartLine, KeyReused, UnknownSku, Unpriced

SQL = load_statements("everopen.trading", "carts.sql")
R = TypeVar("R")

LINES_MOST = 1000
"""Lines of one cart: as many as an order may have."""


async def _read(connection: Connection, currency: str, cart_id: UUID) -> Cart:
    rows = await connection.fetch(SQL["find_cart"], cart_id)
    lines = tuple(
        CartLine(row["sku"], row["title"], row["quantity"], row["unit_price"], row["available"])
        for row in rows
        if row["sku"] is not None
    )
    return Cart(cart_id, rows[0]["version"] if rows else 0, currency, lines)


async def _change(
    primary: Primary,
    currency: str,
    cart_id: UUID,
    change: Callable[[Connection], Awaitable[R | None]],
    known: Callable[[Connection], Awaitable[Cart | R | None]] | None = None,
) -> Cart | R:
    """Runs a change under the cart's lock; what the change returns is the refusal. What `known` returns is the outcome of
    a request that was carried out before."""

    async def work(connection: Connection) -> Cart | R:
        transaction = connection.transaction()
        await transaction.start()
        try:
            outcome = None if known is None else await known(connection)
            if outcome is not None:
                await (
                    transaction.commit()
                )  # and not a rollback: the commit waits until the standby has the first one
                return outcome
            await connection.execute(SQL["open_cart"], cart_id)
            await connection.execute(SQL["lock_cart"], cart_id)
            refusal = await change(connection)
            if refusal is not None:
                await transaction.rollback()
                return refusal
            cart = await _read(connection, currency, cart_id)
            await transaction.commit()
            return cart
        except BaseException:
            if not connection.is_closed() and connection.is_in_transaction():
                await transaction.rollback()
            raise

    return await primary.run(work)


async def find_cart(primary: Primary, currency: str, cart_id: UUID) -> Cart:
    """The cart; an unknown one is empty, with version 0."""
    return await primary.run(lambda connection: _read(connection, currency, cart_id))


async def add_line(
    primary: Primary,
    currency: str,
    cart_id: UUID,
    sku: str,
    quantity: int,
    *,
    most: int,
    key: str,
    fingerprint: bytes,
    fresh: bool = False,
) -> Cart | UnknownSku | Unpriced | CartFull | KeyReused:
    """Adds pieces of a SKU to what is in the cart, once per key; `most` is the most pieces of one line.

    `fresh`: the cart was opened for this very request. A visitor without a session whose answer was lost can't say which
    cart was his, so his request fills a new one again; the former is nobody's. (To hand him the cart that the key names
    was turned down: whoever guesses a key would get somebody's cart.)"""

    async def known(connection: Connection) -> Cart | KeyReused | None:
        row: Any = await connection.fetchrow(SQL["known_cart_key"], key, fingerprint)
        if row["code"] == 0 or (fresh and row["code"] == 1 and row["result_id"] != cart_id):
            return None
        if row["code"] == 2 or row["result_id"] != cart_id:
            return KeyReused()
        return msgspec.structs.replace(await _read(connection, currency, cart_id), replayed=True)

    async def change(connection: Connection) -> UnknownSku | Unpriced | CartFull | None:
        product = await connection.fetchrow(SQL["find_priced"], sku)
        if product is None:
            return UnknownSku((sku,))
        if product["unit_price"] is None:
            return Unpriced((sku,))
        others, held = await connection.fetchrow(SQL["measure_cart"], cart_id, product["id"])  # type: ignore[misc]
        if others >= LINES_MOST:
            return CartFull(LINES_MOST)
        if held + quantity > most:
            return CartFull(most)
        await connection.execute(SQL["put_line"], cart_id, product["id"], held + quantity)
        await connection.execute(SQL["keep_cart_key"], key, fingerprint, cart_id, fresh)
        return None

    return await _change(primary, currency, cart_id, change, known)


async def set_line(
    primary: Primary, currency: str, cart_id: UUID, sku: str, quantity: int
) -> Cart | UnknownSku:
    """Sets the quantity of a line; UnknownSku when it is not in the cart."""

    async def change(connection: Connection) -> UnknownSku | None:
        found = await connection.fetchval(SQL["change_line"], cart_id, sku, quantity)
        return None if found else UnknownSku((sku,))

    return await _change(primary, currency, cart_id, change)


async def remove_line(primary: Primary, currency: str, cart_id: UUID, sku: str) -> Cart | UnknownSku:
    """Takes a line out; UnknownSku when it is not in the cart."""

    async def change(connection: Connection) -> UnknownSku | None:
        return None if await connection.fetchval(SQL["remove_line"], cart_id, sku) else UnknownSku((sku,))

    return await _change(primary, currency, cart_id, change)


async def empty(primary: Primary, currency: str, cart_id: UUID) -> Cart:
    """Takes all lines out."""

    async def change(connection: Connection) -> None:
        await connection.execute(SQL["empty_cart"], cart_id)

    return await _change(primary, currency, cart_id, change)
