"""Calls of `orders`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes import (
    CancelAnswer,
    CancelBody,
    CreditBody,
    OrderAnswer,
    OrderBody,
    RefundAnswer,
    RefundBody,
)
from everopen.api.shapes_lifecycle import OrderRowAnswer, OrdersAnswer
from everopen.client.caller import Caller


class OrdersCalls(Caller):
    """Calls of `orders`."""

    async def place_order(
        self, body: OrderBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> OrderAnswer:
        """Place an order: `POST /api/orders`."""
        found: OrderAnswer = await self.call(
            "POST", "/api/orders", OrderAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def search_orders(
        self,
        *,
        status: str | None = None,
        email: str | None = None,
        customer: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        deadline_s: float | None = None,
    ) -> OrdersAnswer:
        """Find orders, the newest first: `GET /api/orders`."""
        found: OrdersAnswer = await self.call(
            "GET",
            "/api/orders",
            OrdersAnswer,
            query={
                "status": status,
                "email": email,
                "customer": customer,
                "from": from_,
                "to": to,
                "limit": limit,
                "after": after,
            },
            deadline_s=deadline_s,
        )
        return found

    async def each_search_orders(
        self,
        *,
        status: str | None = None,
        email: str | None = None,
        customer: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        limit: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[OrderRowAnswer]:
        """Find orders, the newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.search_orders(
                status=status,
                email=email,
                customer=customer,
                from_=from_,
                to=to,
                limit=limit,
                deadline_s=deadline_s,
                after=after,
            )
            for entry in page.orders:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_order(
        self, id: str | UUID, *, wait: int | None = None, deadline_s: float | None = None
    ) -> OrderAnswer:
        """An order as it is now: `GET /api/orders/{id}`."""
        found: OrderAnswer = await self.call(
            "GET",
            "/api/orders/{id}",
            OrderAnswer,
            places={"id": id},
            query={"wait": wait},
            deadline_s=deadline_s,
        )
        return found

    async def refund_order(
        self, id: str | UUID, body: RefundBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> RefundAnswer:
        """Give money back for lines of an order: `POST /api/orders/{id}/refunds`."""
        found: RefundAnswer = await self.call(
            "POST",
            "/api/orders/{id}/refunds",
            RefundAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def cancel_order(
        self,
        id: str | UUID,
        body: CancelBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> CancelAnswer:
        """Take back an unpaid order, or pieces of a paid one that were not sent: `POST /api/orders/{id}/cancel`."""
        found: CancelAnswer = await self.call(
            "POST",
            "/api/orders/{id}/cancel",
            CancelAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def credit(
        self, body: CreditBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> RefundAnswer:
        """Give money back for a sale from elsewhere: `POST /api/credits`."""
        found: RefundAnswer = await self.call(
            "POST", "/api/credits", RefundAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found
