"""Calls of `events`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_events import (
    DeliveriesAnswer,
    DeliveryAnswer,
    NewSubscriberAnswer,
    ReplayAnswer,
    ReplayBody,
    SubscriberAnswer,
    SubscriberBody,
    SubscribersAnswer,
)
from everopen.client.caller import Caller


class EventsCalls(Caller):
    """Calls of `events`."""

    async def add_subscriber(
        self, body: SubscriberBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> NewSubscriberAnswer:
        """Have events delivered as signed webhooks: `POST /api/subscribers`."""
        found: NewSubscriberAnswer = await self.call(
            "POST", "/api/subscribers", NewSubscriberAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_subscribers(
        self, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> SubscribersAnswer:
        """Who is told of events, and how well it goes: `GET /api/subscribers`."""
        found: SubscribersAnswer = await self.call(
            "GET",
            "/api/subscribers",
            SubscribersAnswer,
            query={"limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_subscribers(
        self, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[SubscriberAnswer]:
        """Who is told of events, and how well it goes, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_subscribers(limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.subscribers:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_subscriber(self, id: str | UUID, *, deadline_s: float | None = None) -> SubscriberAnswer:
        """One subscriber: `GET /api/subscribers/{id}`."""
        found: SubscriberAnswer = await self.call(
            "GET", "/api/subscribers/{id}", SubscriberAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def delete_subscriber(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> None:
        """Tell a subscriber nothing more: `DELETE /api/subscribers/{id}`."""
        await self.call(
            "DELETE", "/api/subscribers/{id}", None, places={"id": id}, key=key, deadline_s=deadline_s
        )

    async def resume_subscriber(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> SubscriberAnswer:
        """Take a paused subscriber up again, where it stopped: `POST /api/subscribers/{id}/resume`."""
        found: SubscriberAnswer = await self.call(
            "POST",
            "/api/subscribers/{id}/resume",
            SubscriberAnswer,
            places={"id": id},
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def replay_events(
        self,
        id: str | UUID,
        body: ReplayBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ReplayAnswer:
        """Send dead letters, or everything since an event, again: `POST /api/subscribers/{id}/replay`."""
        found: ReplayAnswer = await self.call(
            "POST",
            "/api/subscribers/{id}/replay",
            ReplayAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_deliveries(
        self,
        id: str | UUID,
        *,
        status: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        deadline_s: float | None = None,
    ) -> DeliveriesAnswer:
        """Events that did not go through at once: waiting and dead ones: `GET /api/subscribers/{id}/deliveries`."""
        found: DeliveriesAnswer = await self.call(
            "GET",
            "/api/subscribers/{id}/deliveries",
            DeliveriesAnswer,
            places={"id": id},
            query={"status": status, "limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_deliveries(
        self,
        id: str | UUID,
        *,
        status: str | None = None,
        limit: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[DeliveryAnswer]:
        """Events that did not go through at once: waiting and dead ones, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_deliveries(
                id=id, status=status, limit=limit, deadline_s=deadline_s, after=after
            )
            for entry in page.deliveries:
                yield entry
            if page.next is None:
                return
            after = page.next
