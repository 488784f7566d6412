"""The shop as handlers see it: everything that a request may ask of trading, with nothing about HTTP.

Reads and staff calls run on the shared links to the primary, orders go through the lanes. Both wait through a failover by
themselves; what reaches a handler is an outcome or, after the deadline, StoreUnavailable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from everopen.api.problems import unavailable
from everopen.api.quotas import Quota, Quotas
from everopen.api.settings import ApiSettings
from everopen.base.clock import SystemClock
from everopen.trading import catalogue, find, refunds
from everopen.trading.carts import Addition, AddOutcome, Carts
from everopen.trading.desk import Trading
from everopen.trading.orders import (
    CancelOutcome,
    Cart,
    CreditOutcome,
    LineRequest,
    OrderRequest,
    OrderView,
    Outcome,
    PricesMoving,
    RefundLine,
    RefundOutcome,
    UnknownSku,
)
from everopen.trading.people import People, PeopleSettings
from everopen.trading.quoting import PricedQuote, QuoteRequest, Unquoted
from everopen.trading.range import Product
from everopen.trading.sessions import SESSION_STORES, Session, SessionStore, digest

if TYPE_CHECKING:
    from everopen.api.access import Access

FIRST_LOOK_S, LOOK_S_MAX = 0.012, 0.25
"""Pauses between the looks of one who waits for a payment."""
COUNTERS = (
    "requests",
    "refused",
    "failed",
    "clients_gone",
    "orders_placed",
    "orders_replayed",
    "orders_refused",
)


class Shop:
    """One worker's trading, for handlers."""

    access: Access
    """Who of staff calls; set by the application, which has the operator key."""

    def __init__(self, settings: ApiSettings, trading: Trading, people: PeopleSettings | None = None) -> None:
        self.settings = settings
        self.currency = trading.currency
        self.session_days = trading.settings.session_days
        self.lanes = trading.lanes
        self.desk = trading
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.ending = False
        """SIGTERM came: what can't be answered in time may be sent to another worker."""
        self.primary = trading.primary
        self.events = trading.events
        self.followers = trading.followers
        self._trading = trading
        self.primary = self._primary = trading.primary
        """Subjects with statements of their own run them there."""
        self.money = trading
        """For the calls about payments and the ledger: primary, providers, payer, settings."""
        self.providers = frozenset(trading.providers)
        """Names of the payment providers that this shop has."""
        self.sessions: SessionStore = SESSION_STORES[settings.session_store](
            trading.primary, settings.session_redis_url, self.session_days
        )
        self.carts = Carts(trading.primary, trading.currency)
        self.people = People(trading.primary, people or PeopleSettings(), self.sessions, clock=SystemClock())
        self._orders = find.order_reads(trading.primary)
        self.quotas = Quotas(
            {
                kind: Quota(per_s, max(1, int(per_s * settings.quota_burst_s)))
                for kind, per_s in (
                    ("carts", settings.quota_carts_per_s),
                    ("sessions", settings.quota_sessions_per_s),
                    ("writes", settings.quota_writes_per_s),
                    ("orders", settings.quota_orders_per_s),
                )
            }
        )

    def end(self) -> None:
        """Says that SIGTERM came; what is in flight goes on."""
        self.ending = True
        self.followers.end()

    async def close(self) -> None:
        """Ends the lanes, then the connections."""
        await self.lanes.stop(1.0)
        self.people.close()
        await self.carts.close()
        await self._orders.close()
        await self.sessions.stop()
        await self._primary.close()

    def require_ready(self) -> int:
        """The epoch that orders would be committed in. Raises a 503 `Refusal` without a verified primary."""
        if self.ending:
            raise unavailable("This worker is ending.", self.settings.retry_after_s, elsewhere=True)
        if not self._primary.ready():
            raise unavailable("No primary database is connected at the moment.", self.settings.retry_after_s)
        return self._primary.epoch

    def stats(self) -> dict[str, float]:
        """Counters and gauges of trading and the store."""
        return {**self._trading.stats(), "store_ready": int(self._primary.ready())}

    # --- anybody

    async def place(self, request: OrderRequest) -> Outcome:
        """Quotes an order and places it through the lanes."""
        return await self.desk.place(request)

    async def quote(self, request: QuoteRequest) -> PricedQuote | Unquoted | PricesMoving:
        """What a basket would cost now."""
        return await self.desk.quoting.quote(request)

    async def product(self, sku: str) -> Product | None:
        """One product that visitors see."""
        return await catalogue.find_product(self.primary, self.currency, sku)

    async def order(self, order_id: UUID) -> OrderView | None:
        """An order as it is now."""
        return await self._orders.ask(order_id)

    async def order_decided(self, order_id: UUID, wait_s: float) -> OrderView | None:
        """An order once its payment has ended, or as it is after `wait_s`. All who wait look together: a look of theirs costs
        a part of one query, and not a request each."""
        end_s, pause_s = time.monotonic() + wait_s, FIRST_LOOK_S
        while True:
            found = await self.order(order_id)
            left_s = end_s - time.monotonic()
            if found is None or found.status != "placed" or left_s <= 0 or self.ending:
                return found
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.3, LOOK_S_MAX)

    # --- sessions and carts

    async def session(self, token: str | None) -> Session | None:
        """What a token stands for; None when it is not known (any more)."""
        return None if token is None else await self.sessions.find(token)

    async def cart(self, cart_id: UUID) -> Cart:
        """What lies in a cart."""
        return await self.carts.find(cart_id)

    async def add_to_cart(
        self,
        cart_id: UUID,
        sku: str,
        quantity: int,
        *,
        key: str,
        fingerprint: bytes,
        new_session: str | None = None,
    ) -> AddOutcome:
        """Puts more of a product into a cart, once per key; `new_session`: into one that is opened for this, under that
        token."""
        kept_beside = new_session is not None and self.sessions.beside_carts
        if new_session is not None and not kept_beside:
            await self.sessions.open(new_session, cart_id)
        return await self.carts.add(
            Addition(
                cart_id,
                sku,
                quantity,
                key,
                fingerprint,
                fresh=new_session is not None,
                session=digest(new_session) if kept_beside and new_session is not None else None,
                session_days=self.session_days,
            )
        )

    async def set_cart_line(self, cart_id: UUID, sku: str, quantity: int) -> Cart | UnknownSku:
        """Sets a line of a cart; 0 takes it out."""
        if quantity == 0:
            return await self.carts.remove_line(cart_id, sku)
        return await self.carts.set_line(cart_id, sku, quantity)

    async def clear_cart(self, cart_id: UUID) -> Cart:
        """Empties a cart."""
        return await self.carts.empty(cart_id)

    # --- staff

    async def refund(
        self,
        order_id: UUID,
        lines: Sequence[RefundLine],
        *,
        key: str,
        fingerprint: bytes,
        restock: bool,
        reason: str,
        shipping: bool = False,
    ) -> RefundOutcome:
        """Gives money back for lines of an order."""
        return await refunds.refund(
            self._primary,
            self.currency,
            order_id,
            lines,
            key=key,
            fingerprint=fingerprint,
            restock=restock,
            reason=reason,
            shipping=shipping,
        )

    async def cancel(self, order_id: UUID, *, key: str, fingerprint: bytes, reason: str) -> CancelOutcome:
        """Takes back an unpaid order."""
        return await refunds.cancel(self._primary, order_id, key=key, fingerprint=fingerprint, reason=reason)

    async def credit(
        self,
        lines: Sequence[LineRequest],
        *,
        email: str,
        reference: str | None,
        key: str,
        fingerprint: bytes,
        restock: bool,
        reason: str,
    ) -> CreditOutcome:
        """Money back for a sale from elsewhere."""
        return await refunds.credit(
            self._primary,
            self.currency,
            lines,
            email=email,
            reference=reference,
            key=key,
            fingerprint=fingerprint,
            restock=restock,
            reason=reason,
        )
