"""Calls of `returns`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_lifecycle import (
    InspectionBody,
    ReturnAnswer,
    ReturnBody,
    ReturnNoteBody,
    ReturnsAnswer,
)
from everopen.client.caller import Caller


class ReturnsCalls(Caller):
    """Calls of `returns`."""

    async def request_return(
        self,
        id: str | UUID,
        body: ReturnBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnAnswer:
        """Ask to send goods back: `POST /api/orders/{id}/returns`."""
        found: ReturnAnswer = await self.call(
            "POST",
            "/api/orders/{id}/returns",
            ReturnAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_returns(self, id: str | UUID, *, deadline_s: float | None = None) -> ReturnsAnswer:
        """The returns of an order: `GET /api/orders/{id}/returns`."""
        found: ReturnsAnswer = await self.call(
            "GET", "/api/orders/{id}/returns", ReturnsAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def withdraw_return(
        self,
        id: str | UUID,
        rma: str | UUID,
        body: ReturnNoteBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnAnswer:
        """Keep the goods after all: `POST /api/orders/{id}/returns/{rma}/withdraw`."""
        found: ReturnAnswer = await self.call(
            "POST",
            "/api/orders/{id}/returns/{rma}/withdraw",
            ReturnAnswer,
            places={"id": id, "rma": rma},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def receive_return(
        self,
        id: str | UUID,
        rma: str | UUID,
        body: ReturnNoteBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnAnswer:
        """Say that a return's parcel is here: `POST /api/orders/{id}/returns/{rma}/receive`."""
        found: ReturnAnswer = await self.call(
            "POST",
            "/api/orders/{id}/returns/{rma}/receive",
            ReturnAnswer,
            places={"id": id, "rma": rma},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def refuse_return(
        self,
        id: str | UUID,
        rma: str | UUID,
        body: ReturnNoteBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnAnswer:
        """Say no to a return: `POST /api/orders/{id}/returns/{rma}/refuse`."""
        found: ReturnAnswer = await self.call(
            "POST",
            "/api/orders/{id}/returns/{rma}/refuse",
            ReturnAnswer,
            places={"id": id, "rma": rma},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def inspect_return(
        self,
        id: str | UUID,
        rma: str | UUID,
        body: InspectionBody,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnAnswer:
        """Say what was found in a return's parcel, and give back the money of what is accepted: `POST /api/orders/{id}/returns/{rma}/inspect`."""
        found: ReturnAnswer = await self.call(
            "POST",
            "/api/orders/{id}/returns/{rma}/inspect",
            ReturnAnswer,
            places={"id": id, "rma": rma},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def search_returns(
        self,
        *,
        status: str | None = None,
        rma: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        deadline_s: float | None = None,
    ) -> ReturnsAnswer:
        """Find returns, the newest first: `GET /api/returns`."""
        found: ReturnsAnswer = await self.call(
            "GET",
            "/api/returns",
            ReturnsAnswer,
            query={"status": status, "rma": rma, "limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_search_returns(
        self,
        *,
        status: str | None = None,
        rma: str | None = None,
        limit: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[ReturnAnswer]:
        """Find returns, the newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.search_returns(
                status=status, rma=rma, limit=limit, deadline_s=deadline_s, after=after
            )
            for entry in page.returns:
                yield entry
            if page.next is None:
                return
            after = page.next
