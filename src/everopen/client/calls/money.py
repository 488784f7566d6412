"""Calls of `money`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_money import (
    AskedAnswer,
    CaptureBody,
    FailedPaymentsAnswer,
    NoticeAnswer,
    PaymentAnswer,
    PaymentsAnswer,
    ReconcileBody,
    ReconciliationAnswer,
    ReconciliationsAnswer,
    RetryBody,
    VoidBody,
    VoidedAnswer,
)
from everopen.client.caller import Caller


class MoneyCalls(Caller):
    """Calls of `money`."""

    async def list_order_payments(self, id: str | UUID, *, deadline_s: float | None = None) -> PaymentsAnswer:
        """Everything that was asked of a provider for an order: `GET /api/orders/{id}/payments`."""
        found: PaymentsAnswer = await self.call(
            "GET", "/api/orders/{id}/payments", PaymentsAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def capture_order(
        self,
        id: str | UUID,
        body: CaptureBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> AskedAnswer:
        """Capture what was authorised, or a part of it: `POST /api/orders/{id}/captures`."""
        found: AskedAnswer = await self.call(
            "POST",
            "/api/orders/{id}/captures",
            AskedAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def void_order(
        self,
        id: str | UUID,
        body: VoidBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> VoidedAnswer:
        """Give back what is authorised and not captured: `POST /api/orders/{id}/voids`."""
        found: VoidedAnswer = await self.call(
            "POST",
            "/api/orders/{id}/voids",
            VoidedAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_failed_payments(
        self, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> FailedPaymentsAnswer:
        """Payments that need a person: `GET /api/payments/failed`."""
        found: FailedPaymentsAnswer = await self.call(
            "GET",
            "/api/payments/failed",
            FailedPaymentsAnswer,
            query={"limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_failed_payments(
        self, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[PaymentAnswer]:
        """Payments that need a person, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_failed_payments(limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.payments:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def list_reconciliations(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        provider: str | None = None,
        deadline_s: float | None = None,
    ) -> ReconciliationsAnswer:
        """Our ledger against the providers' lists, day by day: `GET /api/payments/reconciliations`."""
        found: ReconciliationsAnswer = await self.call(
            "GET",
            "/api/payments/reconciliations",
            ReconciliationsAnswer,
            query={"limit": limit, "after": after, "provider": provider},
            deadline_s=deadline_s,
        )
        return found

    async def each_reconciliations(
        self, *, limit: int | None = None, provider: str | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[ReconciliationAnswer]:
        """Our ledger against the providers' lists, day by day, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_reconciliations(
                limit=limit, provider=provider, deadline_s=deadline_s, after=after
            )
            for entry in page.reconciliations:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def reconcile(
        self, body: ReconcileBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ReconciliationAnswer:
        """Compare a day with a provider's list now: `POST /api/payments/reconciliations`."""
        found: ReconciliationAnswer = await self.call(
            "POST",
            "/api/payments/reconciliations",
            ReconciliationAnswer,
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def get_payment(self, id: str | UUID, *, deadline_s: float | None = None) -> PaymentAnswer:
        """One payment as it is now: `GET /api/payments/{id}`."""
        found: PaymentAnswer = await self.call(
            "GET", "/api/payments/{id}", PaymentAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def retry_payment(
        self,
        id: str | UUID,
        body: RetryBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> AskedAnswer:
        """Take up a refund or void that was declined: `POST /api/payments/{id}/retries`."""
        found: AskedAnswer = await self.call(
            "POST",
            "/api/payments/{id}/retries",
            AskedAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def hear_provider(
        self, provider: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> NoticeAnswer:
        """For payment providers: something happened to a payment: `POST /api/payments/{provider}/webhooks`."""
        found: NoticeAnswer = await self.call(
            "POST",
            "/api/payments/{provider}/webhooks",
            NoticeAnswer,
            places={"provider": provider},
            key=key,
            deadline_s=deadline_s,
        )
        return found
