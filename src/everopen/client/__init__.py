"""A typed client for services that call a shop: `async with Client("http://127.0.0.1:8080") as shop: await shop.place_order(…)`.

Every call of the table is a method with typed arguments and a typed answer. Each write carries an idempotency key and is
repeated under it, through worker crashes and failovers, until its deadline; refusals are exceptions made from the problem
document. Asynchronous only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx

from everopen.base.clock import Clock, Rng
from everopen.client.attempts import RETRIED, pause_s
from everopen.client.caller import Options
from everopen.client.calls import Calls
from everopen.client.errors import (
    ClientError,
    Conflict,
    KeyReused,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SoldOut,
    Unavailable,
    refused,
)
from everopen.client.events import Event, Parser, parsed

__all__ = [
    "Client",
    "ClientError",
    "Conflict",
    "Event",
    "KeyReused",
    "NotAllowed",
    "NotFound",
    "OutcomeUnknown",
    "RateLimited",
    "Refused",
    "SoldOut",
    "Unavailable",
]

SILENCE_S_MAX = 60.0
"""A stream of events that is silent for so long (it has heartbeats) is opened again."""


class Client(Calls):
    """A shop. One per process; `visitor` gives each customer a session of his own over the same connections."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        bearer: str | None = None,
        deadline_s: float = 30.0,
        attempt_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        rng: Rng | None = None,
        beside: Client | None = None,
    ) -> None:
        options = Options(url=url, bearer=bearer, deadline_s=deadline_s, attempt_s=attempt_s)
        super().__init__(options, transport=transport, clock=clock, rng=rng, beside=beside)

    def visitor(self) -> Client:
        """A client with cookies of its own (a cart, a login) and without the key of staff, over the same connections."""
        options = self.options
        return Client(options.url, deadline_s=options.deadline_s, attempt_s=options.attempt_s, beside=self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def follow_order(self, order: str | UUID, *, after: str | None = None) -> AsyncIterator[Event]:
        """`follow`, for one order."""
        return self.follow(after=after, path=f"/api/orders/{order}/events")

    async def follow(
        self, *, after: str | None = None, path: str = "/api/events", **query: str
    ) -> AsyncIterator[Event]:
        """Events for good, from after the event `after` (None: from now on); a broken connection is opened again where it
        was. Raises `Refused` when the shop does not let this client follow."""
        parser = Parser()
        parser.last_id = after or ""
        failures = 0
        while True:
            told = None
            try:
                headers = {"accept": "text/event-stream"}
                if self.options.bearer is not None:
                    headers["authorization"] = f"Bearer {self.options.bearer}"
                if parser.last_id:
                    headers["last-event-id"] = parser.last_id
                timeout = httpx.Timeout(self.options.attempt_s, read=SILENCE_S_MAX)
                async with self._http.stream(
                    "GET", path, headers=headers, params=query, timeout=timeout
                ) as response:
                    if response.status_code in RETRIED:
                        told = response.headers.get("retry-after")
                    elif response.status_code != 200:
                        raise refused(response.status_code, await response.aread())
                    else:
                        async for event in parsed(response.aiter_lines(), parser):
                            failures = 0
                            yield event
            except httpx.TransportError:
                pass
            failures += 1
            wait_s = pause_s(failures, told, self._shared.rng, self._shared.clock.wall_s())
            await asyncio.sleep(max(wait_s, parser.retry_s or 0.0) if failures > 1 else wait_s)
