"""Calls of `lifecycle`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from uuid import UUID

from everopen.api.shapes_lifecycle import (
    CompleteAnswer,
    CompleteBody,
    CreditNotesAnswer,
    ShipmentAnswer,
    ShipmentBody,
    ShipmentsAnswer,
    TimelineAnswer,
)
from everopen.client.caller import Caller
from everopen.trading.invoices import Document


class LifecycleCalls(Caller):
    """Calls of `lifecycle`."""

    async def ship_order(
        self,
        id: str | UUID,
        body: ShipmentBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ShipmentAnswer:
        """Send a parcel of a paid order: `POST /api/orders/{id}/shipments`."""
        found: ShipmentAnswer = await self.call(
            "POST",
            "/api/orders/{id}/shipments",
            ShipmentAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_shipments(self, id: str | UUID, *, deadline_s: float | None = None) -> ShipmentsAnswer:
        """The parcels of an order: `GET /api/orders/{id}/shipments`."""
        found: ShipmentsAnswer = await self.call(
            "GET", "/api/orders/{id}/shipments", ShipmentsAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def complete_order(
        self,
        id: str | UUID,
        body: CompleteBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> CompleteAnswer:
        """Say that all of a shipped order has arrived: `POST /api/orders/{id}/complete`."""
        found: CompleteAnswer = await self.call(
            "POST",
            "/api/orders/{id}/complete",
            CompleteAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def get_timeline(self, id: str | UUID, *, deadline_s: float | None = None) -> TimelineAnswer:
        """What happened to an order: `GET /api/orders/{id}/timeline`."""
        found: TimelineAnswer = await self.call(
            "GET", "/api/orders/{id}/timeline", TimelineAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def get_invoice(self, id: str | UUID, *, deadline_s: float | None = None) -> Document:
        """The invoice of a paid order: `GET /api/orders/{id}/invoice`."""
        found: Document = await self.call(
            "GET", "/api/orders/{id}/invoice", Document, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def list_credit_notes(
        self, id: str | UUID, *, deadline_s: float | None = None
    ) -> CreditNotesAnswer:
        """The credit notes of an order: `GET /api/orders/{id}/credit-notes`."""
        found: CreditNotesAnswer = await self.call(
            "GET",
            "/api/orders/{id}/credit-notes",
            CreditNotesAnswer,
            places={"id": id},
            deadline_s=deadline_s,
        )
        return found
