"""Live followers: server-sent events from any position, for as long as they like.

One task per worker reads new events while somebody follows, into a short memory that all followers of the worker share; each
follower has a position of its own. Who is slow, or begins in the past, reads from the store until he has caught up. So nobody
has a queue that could overflow, a follower costs memory only while he is written to, and what he has missed while a worker
or the primary was away he gets from the same numbers anywhere."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from uuid import UUID

from everopen.base.clock import Clock, Rng
from everopen.base.errors import StoreUnavailable
from everopen.store.primary import Connection
from everopen.trading.events import facts
from everopen.trading.events.catalogue import PUBLIC
from everopen.trading.events.facts import Row
from everopen.trading.events.line import Runs
from everopen.trading.events.settings import EventsSettings

MEMORY = 4096
"""Events that a worker keeps for those who are up to date."""
PAGE = 200
"""Most events of one piece of an answer."""
log = logging.getLogger(__name__)


class TooManyFollowers(Exception):
    """This worker has as many as it may."""


class Followers:
    """All live followers of one worker."""

    def __init__(self, settings: EventsSettings, primary: Runs, *, clock: Clock, rng: Rng) -> None:
        self._settings = settings
        self._primary = primary
        self._clock = clock
        self._rng = rng
        self._memory: deque[Row] = deque(maxlen=MEMORY)
        self._bodies: dict[int, bytes] = {}
        self._from = 0
        """The memory holds every event after this."""
        self._upto = 0
        """And up to this."""
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self.count = 0
        self.counters = {"events_followed_total": 0}

    def wake(self) -> None:
        """There are new events."""
        self._news.set()

    def end(self) -> None:
        """Asks all followers to come again elsewhere: this worker ends."""
        self._ending = True
        self._change()

    async def stop(self) -> None:
        """Ends."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def follow(
        self, after: int | None, *, topics: Collection[str] = (), stream: UUID | None = None
    ) -> AsyncIterator[bytes]:
        """The pieces of a stream of server-sent events: those after a number (None: from now on) of some topics (none: all that are
        public)
        or of one order. Raises TooManyFollowers."""
        most = self._settings.followers_max
        if self.count >= (most if stream is None else (most + 1) // 2):
            raise TooManyFollowers
        purged, last = await self._primary.run(facts.bounds)
        return self._stream(after, purged, last, tuple(topics) or PUBLIC, stream)

    async def _stream(
        self, after: int | None, purged: int, last: int, topics: Sequence[str], stream: UUID | None
    ) -> AsyncIterator[bytes]:
        self.count += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tail(last), name="event-tail")
        until_s = self._clock.monotonic_s() + self._settings.stream_s
        position = last if after is None else after
        try:
            yield b"retry: 1000\n\n"
            if after is not None and (0 < after < purged or after > last):
                # Too long away, or from a shop that was set back: what was between can't be told.
                yield b"event: gap\ndata: {}\n\n"
                position = purged if after < purged else last
            spoke_s = self._clock.monotonic_s()
            while not self._ending and self._clock.monotonic_s() < until_s:
                changed = self._changed
                try:
                    piece, position = await self._next(position, topics, stream)
                except StoreUnavailable:
                    piece = b""
                if piece:
                    yield piece
                    spoke_s = self._clock.monotonic_s()
                    continue
                quiet_s = spoke_s + self._settings.heartbeat_s - self._clock.monotonic_s()
                if quiet_s <= 0:
                    yield b": \n\n"
                    spoke_s = self._clock.monotonic_s()
                    continue
                try:
                    async with asyncio.timeout(quiet_s):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            self.count -= 1

    async def _next(self, position: int, topics: Sequence[str], stream: UUID | None) -> tuple[bytes, int]:
        """The next piece after a position, and the position after it."""
        if self._from <= position <= self._upto:
            rows: list[Row] = []
            reached = self._upto
            for row in self._memory:
                if row.seq > position and _wanted(row, topics, stream):
                    rows.append(row)
                    if len(rows) == PAGE:
                        reached = row.seq
                        break
            missing = [row for row in rows if row.seq not in self._bodies]
            if missing:
                for event in await self._primary.run(
                    lambda connection: facts.encode(connection, missing), deadline_s=5.0
                ):
                    self._bodies[event.seq] = event.body
            return b"".join(_piece(row, self._bodies[row.seq]) for row in rows), reached

        async def page(connection: Connection) -> tuple[bytes, int]:
            _, last = await facts.bounds(connection)
            if stream is not None:
                found = await facts.read_stream(connection, stream, topics, position, last, PAGE)
            else:
                found = await facts.read_after(connection, position, last, topics, PAGE)
            bodies = {event.seq: event.body for event in await facts.encode(connection, found)}
            piece = b"".join(_piece(row, bodies[row.seq]) for row in found)
            return piece, found[-1].seq if len(found) == PAGE else last

        return await self._primary.run(page, deadline_s=5.0)

    async def _tail(self, last: int) -> None:
        """Keeps the memory up to date while somebody follows."""
        self._memory.clear()
        self._bodies.clear()
        self._from = self._upto = last
        self._change()
        while self.count and not self._ending:
            try:
                async with asyncio.timeout(self._settings.poll_s * (0.75 + 0.5 * self._rng.random())):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                rows = await self._primary.run(self._read, deadline_s=5.0)
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("Reading new events for followers failed.")
                await asyncio.sleep(1.0)
                continue
            if rows:
                self._take(rows)

    async def _read(self, connection: Connection) -> list[Row]:
        _, last = await facts.bounds(connection)
        if last <= self._upto:
            return []
        return await facts.read_after(connection, self._upto, last, (), MEMORY // 2)

    def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if len(self._memory) == MEMORY:
                oldest = self._memory[0].seq
                self._from = oldest
                self._bodies.pop(oldest, None)
            self._memory.append(row)
        self._upto = rows[-1].seq
        self.counters["events_followed_total"] += len(rows)
        self._change()

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _wanted(row: Row, topics: Sequence[str], stream: UUID | None) -> bool:
    return row.topic in topics and (stream is None or row.stream == stream)


def _piece(row: Row, body: bytes) -> bytes:
    """One event on the wire. (JSON has no line ends outside of escapes, so one `data` line holds it.)"""
    return b"id: evt_%d\nevent: %b\ndata: %b\n\n" % (row.seq, row.topic.encode(), body)
