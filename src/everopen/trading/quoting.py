"""What an order comes to, worked out before it waits for a lane.

A worker keeps the shop's rules and prices any number of baskets with them; it reads of the catalogue only what a basket
needs, for all baskets that arrived meanwhile in one query. Nobody has to tell it when rules or prices change: the order
names what it was quoted by, and the transaction that places it refuses what has moved on. Then the worker reads the rules
again and quotes again. (Pricing inside the transaction was turned down: promotions in SQL, under the lock of a hot product.
Telling every worker of a change was, too: the message that gets lost would sell at old prices.)

While a shop has no rules and an order asks for none, nothing is read and nothing is quoted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from everopen.base.clock import Clock
from everopen.store import Primary, load_statements
from everopen.trading.group import PLAIN, Quoted
from everopen.trading.lanes import Lanes
from everopen.trading.orders import (
    LineRequest,
    NoLines,
    NotForSale,
    OrderRequest,
    Outcome,
    PricesMoving,
    Stale,
    UnknownSku,
    Unpriced,
    Unquotable,
)
from everopen.trading.pricing.engine import price
from everopen.trading.pricing.quote import Basket, BasketLine, Quote, Refused
from everopen.trading.pricing.rules import Rules, load_rules
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "orders.sql")
TRIES = 5
"""So often an order is quoted while rules and prices change under it."""
LINES_MAX = 4000
"""Lines of baskets that one query reads."""
NEVER = -1
"""A version that no rules have: an order that goes by it is placed by nobody, but a replay is found."""


class QuoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What would this cost now?"""

    lines: tuple[LineRequest, ...]
    currency: str | None = None
    coupons: tuple[str, ...] = ()
    shipping_method: str | None = None
    country: str | None = None
    customer: str | None = None


Unquoted = UnknownSku | NotForSale | Unpriced | Unquotable | NoLines


class PricedQuote(msgspec.Struct, frozen=True):
    """A quote with the titles of its lines."""

    quote: Quote
    titles: tuple[str, ...]


class Quoting:
    """The rules as one worker knows them, and orders quoted by them."""

    def __init__(self, settings: TradingSettings, primary: Primary, lanes: Lanes, *, clock: Clock) -> None:
        self._primary = primary
        self._lanes = lanes
        self._currency = settings.currency
        self._deadline_s = settings.order_deadline_s
        self._clock = clock
        self._rules: Rules | None = None
        self._unruled: Quoted | None = None
        """Of an order that asks for nothing special, while there are no rules."""
        self._epoch = -1
        self._renewing: asyncio.Task[Rules] | None = None
        self._reader = _Reader(primary, settings.currency)
        self.counters = {"quotes_total": 0, "quotes_stale_total": 0, "rules_loaded_total": 0}

    async def start(self) -> None:
        """Begins to read the rules; returns at once. The first orders wait for them."""
        self._begin()

    async def stop(self) -> None:
        """Stops reading rules."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def place(self, request: OrderRequest) -> Outcome:
        """Places an order at what it comes to by the rules. See `Lanes.place`."""
        since_s = self._clock.monotonic_s()
        for _ in range(TRIES):
            rules = self._rules
            if rules is None or self._epoch != self._primary.epoch:
                rules = await self.renew(None)
            found: PricedQuote | Unquoted | None = None
            if self._unruled is not None and not request.coupons and request.shipping_method is None:
                quoted = self._unruled
            elif request.staff_priced:
                quoted = PLAIN
            else:
                found = await self._quote(_asked(request), rules)
                quoted = (
                    Quoted(rules.version, found.quote)
                    if isinstance(found, PricedQuote)
                    else Quoted(NEVER, None)
                )
            outcome = await self._lanes.place(request, quoted, since_s=since_s)
            if type(outcome) is not Stale:
                return outcome
            if (
                found is not None
                and not isinstance(found, PricedQuote)
                and self._reader.version == rules.version
            ):
                # No replay of an earlier order, else that would have been the outcome; and the rules were those of the moment.
                return found
            self.counters["quotes_stale_total"] += 1
            await self.renew(rules)
        return PricesMoving()

    async def quote(self, request: QuoteRequest) -> PricedQuote | Unquoted | PricesMoving:
        """What a basket would cost now."""
        for _ in range(TRIES):
            rules = await self.rules()
            found = await self._quote(request, rules)
            current = self._reader.version
            if current is None or current == rules.version:
                return found
            await self.renew(rules)
        return PricesMoving()

    async def rules(self) -> Rules:
        """The rules as this worker knows them."""
        rules = self._rules
        return await self.renew(None) if rules is None or self._epoch != self._primary.epoch else rules

    async def renew(self, known: Rules | None) -> Rules:
        """The rules, read again unless they are newer than `known` already. Waits for a primary like any read."""
        rules = self._rules
        if rules is not None and rules is not known and known is not None:
            return rules
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[Rules]:
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._load())
            self._renewing.add_done_callback(self._renewed)
        return self._renewing

    def _renewed(self, task: asyncio.Task[Rules]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # whoever waits is told

    async def _load(self) -> Rules:
        """After a change of the primary all of it: a shop that was taken back to a recovery point counts its versions anew."""
        epoch = self._primary.epoch
        since = self._rules if self._epoch == epoch else None
        rules = await self._primary.run(
            lambda connection: load_rules(connection, since), deadline_s=self._deadline_s
        )
        self._rules, self._epoch = rules, epoch
        self._unruled = Quoted(rules.version, None) if rules.empty else None
        self.counters["rules_loaded_total"] += 1
        return rules

    async def _quote(self, request: QuoteRequest, rules: Rules) -> PricedQuote | Unquoted:
        self.counters["quotes_total"] += 1
        if not request.lines:
            return NoLines()
        facts = await self._reader.read(request)
        skus = [line.sku for line in request.lines]
        for wrong, refusal in (
            ([sku for sku, row in zip(skus, facts, strict=True) if row["title"] is None], UnknownSku),
            ([sku for sku, row in zip(skus, facts, strict=True) if row["published"] is False], NotForSale),
            ([sku for sku, row in zip(skus, facts, strict=True) if row["amount"] is None], Unpriced),
        ):
            if wrong:
                return refusal(tuple(dict.fromkeys(wrong)))
        basket = Basket(
            lines=tuple(
                BasketLine(
                    line.sku,
                    line.quantity,
                    row["amount"],
                    row["category"],
                    row["tax_category"],
                    row["weight_g"],
                )
                for line, row in zip(request.lines, facts, strict=True)
            ),
            currency=request.currency or self._currency,
            country=request.country,
            coupons=request.coupons,
            shipping_method=request.shipping_method,
            customer=request.customer,
        )
        quote = price(basket, rules, datetime.fromtimestamp(self._clock.wall_s(), UTC))
        if isinstance(quote, Refused):
            return Unquotable(quote.reason, quote.detail)
        return PricedQuote(quote, tuple(row["title"] for row in facts))


def _asked(request: OrderRequest) -> QuoteRequest:
    return QuoteRequest(
        lines=request.lines,
        currency=request.currency,
        coupons=request.coupons,
        shipping_method=request.shipping_method,
        country=None if request.ship_to is None else request.ship_to.country,
        customer=request.email.lower() if request.customer_id is None else str(request.customer_id),
    )


class _Reader:
    """Reads what baskets need of the catalogue: those that come while one query runs share the next."""

    def __init__(self, primary: Primary, currency: str) -> None:
        self._primary = primary
        self._currency = currency
        self._waiting: list[tuple[QuoteRequest, asyncio.Future[Sequence[Any]]]] = []
        self._task: asyncio.Task[None] | None = None
        self.version: int | None = None
        """Of the rules, as last seen beside the catalogue."""

    async def read(self, request: QuoteRequest) -> Sequence[Any]:
        """A row for each line of the request."""
        future: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group: list[tuple[QuoteRequest, asyncio.Future[Sequence[Any]]]] = []
                lines = 0
                while self._waiting and (not group or lines < LINES_MAX):
                    group.append(self._waiting.pop(0))
                    lines += len(group[-1][0].lines)
                await self._read(group)
        finally:
            self._task = None

    async def _read(self, group: list[tuple[QuoteRequest, asyncio.Future[Sequence[Any]]]]) -> None:
        skus = [line.sku for request, _ in group for line in request.lines]
        currencies = [request.currency or self._currency for request, _ in group for _ in request.lines]
        try:
            rows: Any = await self._primary.run(
                lambda connection: connection.fetch(SQL["quote_facts"], skus, currencies, self._currency)
            )
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self.version = rows[0]["version"]
        spot = 0
        for request, future in group:
            first, spot = spot, spot + len(request.lines)
            if not future.done():
                future.set_result(rows[first:spot])
