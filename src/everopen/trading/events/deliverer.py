"""Delivers events to subscribers: at least once, and in order per order.

A subscriber is served by one worker at a time, under a lease in its row; whoever dies leaves a lease that ends, and the next
one begins at the position that was written last, so at most one round is sent twice and nothing is left out. There is
no sweep for what was forgotten, because nothing can be: what is undelivered is what lies behind a position or in a held row.

A job per delivery (see `trading/jobs`) was turned down: it writes two rows per event and subscriber, and a queue of them
keeps no order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.base.clock import Clock, Rng
from everopen.base.errors import StoreUnavailable
from everopen.store.primary import Connection
from everopen.trading.events import facts, rounds, sign
from everopen.trading.events.catalogue import PUBLIC
from everopen.trading.events.facts import SQL, Encoded, Row
from everopen.trading.events.line import Runs
from everopen.trading.events.rounds import HEADS, RESTING_FAILURES, WINDOW, Tray, Verdict
from everopen.trading.events.sender import Sender, Sent
from everopen.trading.events.settings import EventsSettings

log = logging.getLogger(__name__)


class _Overtaken(Exception):
    """Another worker has the subscriber by now, or staff changed it."""


class _Served:
    """A subscriber while this worker has it."""

    def __init__(self, row: Any, until_s: float) -> None:
        self.id: UUID = row["id"]
        self.url: str = row["url"]
        self.topics: list[str] = row["topics"]
        self.secret: str = row["secret"]
        self.position: int = row["position"]
        self.failures: int = row["failures"]
        self.lease: int = row["lease"]
        self.until_s = until_s
        """Nothing is sent after this (monotonic): the lease may have ended."""


class Deliverer:
    """One worker's share of the deliveries."""

    def __init__(
        self,
        settings: EventsSettings,
        primary: Runs,
        sender: Sender,
        *,
        clock: Clock,
        rng: Rng,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._primary = primary
        self._sender = sender
        self._clock = clock
        self._rng = rng
        self._busy = busy
        self._gate = asyncio.Lock()
        self._serving: dict[UUID, tuple[_Served, asyncio.Task[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self.counters = {
            "events_delivered_total": 0,
            "events_failed_total": 0,
            "events_dead_total": 0,
            "subscribers_overtaken_total": 0,
        }

    @property
    def serving(self) -> int:
        """Subscribers that this worker serves now."""
        return len(self._serving)

    def wake(self) -> None:
        """There are new events."""
        self._news.set()

    async def start(self) -> None:
        """Starts; returns at once."""
        self._tasks = [
            asyncio.create_task(self._look(), name="deliverer"),
            asyncio.create_task(self._keep(), name="subscriber-leases"),
        ]

    async def stop(self) -> None:
        """Ends. What was under way is sent again by the next worker."""
        everyone = [*self._tasks, *(task for _, task in self._serving.values())]
        for task in everyone:
            task.cancel()
        await asyncio.gather(*everyone, return_exceptions=True)
        await self._sender.close()

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.poll_s * (0.75 + 0.5 * self._rng.random())):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                await self.turn()
            except StoreUnavailable:
                await asyncio.sleep(self._settings.poll_s)
            except Exception:
                log.exception("Looking for subscribers failed.")
                await asyncio.sleep(1.0)

    async def turn(self) -> int:
        """Takes up subscribers that something waits for; returns how many."""
        free = self._settings.subscribers_at_once - len(self._serving)
        if free <= 0:
            return 0
        until_s = self._until_s()
        rows: Any = await self._primary.run(
            lambda connection: connection.fetch(SQL["take_subscribers"], free, self._lease()),
            retry=False,  # what a lost call took would wait for its lease either way
            deadline_s=5.0,
        )
        for row in rows:
            served = _Served(row, until_s)
            task = asyncio.create_task(self._serve(served), name=f"subscriber-{served.id}")
            self._serving[served.id] = (served, task)
        return len(rows)

    def _lease(self) -> timedelta:
        return timedelta(seconds=self._settings.lease_s)

    def _until_s(self) -> float:
        """Taken before the lease is asked for, so it ends before the lease does."""
        return self._clock.monotonic_s() + self._settings.lease_s

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            held = {served.id: served.lease for served, _ in self._serving.values()}
            if not held:
                continue
            until_s = self._until_s()
            try:
                rows: Any = await self._primary.run(
                    lambda connection, held=held: connection.fetch(  # type: ignore[misc]
                        SQL["keep_subscribers"], list(held), list(held.values()), self._lease()
                    ),
                    deadline_s=self._settings.lease_s / 2,
                )
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("Lengthening the leases of %d subscribers failed.", len(held))
                continue
            ours = {row["id"] for row in rows}
            for subscriber_id, lease in held.items():
                entry = self._serving.get(subscriber_id)
                if entry is None or entry[0].lease != lease:
                    continue
                if subscriber_id in ours:
                    entry[0].until_s = until_s
                else:
                    entry[1].cancel()

    async def _serve(self, served: _Served) -> None:
        try:
            while await self._round(served):
                pass
        except _Overtaken:
            self.counters["subscribers_overtaken_total"] += 1
        except (StoreUnavailable, asyncio.CancelledError):
            pass  # its lease ends, and the next one begins at the written position
        except Exception:
            log.exception("Serving subscriber %s failed.", served.id)
        finally:
            del self._serving[served.id]

    async def _round(self, served: _Served) -> bool:
        """One round; False when there is nothing more to do for now."""
        tray, bodies, position, idle_s = await self._primary.run(
            lambda connection: self._load(connection, served)
        )
        if not tray.heads and not tray.fresh and position == served.position:
            await self._release(served, idle_s)
            return False
        going, _ = rounds.lines(tray)
        outcomes: dict[int, Sent] = {}
        places = asyncio.Semaphore(self._settings.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                for line in going:
                    group.create_task(self._send_line(served, line, bodies, outcomes, places))
        except* _Overtaken:
            raise _Overtaken from None
        verdict = rounds.judge(tray, outcomes, served.failures, self._settings, self._rng.random())
        failing_s = await self._primary.run(
            lambda connection: self._write(connection, served, position, verdict)
        )
        self._count(outcomes, verdict)
        served.position, served.failures = position, verdict.failures
        if any(sent.gone for sent in outcomes.values()):
            await self._pause(served, "It answered 410 (gone).")
            return False
        if failing_s is not None and failing_s > self._settings.give_up_hours * 3600:
            await self._pause(served, f"It has taken nothing for {self._settings.give_up_hours:g} hours.")
            return False
        rest_s = rounds.rest_s(verdict.failures, self._settings, self._rng.random())
        if rest_s:
            await self._release(served, rest_s)
            return False
        return True

    async def _load(
        self, connection: Connection, served: _Served
    ) -> tuple[Tray, Mapping[int, bytes], int, float]:
        """What to send, the bodies, the position afterwards, and for how long to leave it when that is nothing."""
        probing = served.failures >= RESTING_FAILURES
        _, last = await facts.bounds(connection)
        held: Any = await connection.fetchrow(SQL["held_streams"], served.id)
        due: Any = await connection.fetch(SQL["due_deliveries"], served.id, 1 if probing else HEADS)
        room = WINDOW if held["held"] < self._settings.held_max else 0
        if probing:
            room = min(room, 0 if due else 1)
        fresh: list[Row] = []
        position = served.position
        if room and position < last:
            fresh = await facts.read_after(connection, position, last, served.topics or PUBLIC, room)
            position = fresh[-1].seq if len(fresh) == room else last
        attempts = {row["seq"]: row["attempts"] for row in due}
        heads = await facts.read_some(connection, attempts) if attempts else []
        tray = Tray([(row, attempts[row.seq]) for row in heads], fresh, set(held["streams"]))
        going, _ = rounds.lines(tray)
        encoded: list[Encoded] = await facts.encode(connection, [row for line in going for row in line])
        idle_s = 0.0
        if served.position < last and held["held"] >= self._settings.held_max:
            idle_s = self._settings.retry_first_s / 2  # it would be taken up at once again, for nothing
        return tray, {event.seq: event.body for event in encoded}, position, idle_s

    async def _send_line(
        self,
        served: _Served,
        line: list[Row],
        bodies: Mapping[int, bytes],
        outcomes: dict[int, Sent],
        places: asyncio.Semaphore,
    ) -> None:
        """Events of one order, one after the other, until one fails."""
        for row in line:
            async with places:
                await self._give_way()
                if self._clock.monotonic_s() >= served.until_s:
                    raise _Overtaken
                sent = await self._send(served, row.seq, bodies[row.seq])
            outcomes[row.seq] = sent
            if not sent.ok:
                return

    async def _give_way(self) -> None:
        """Lets orders go first: a delivery costs a worker more than an order, and can wait."""
        if self._busy():
            async with self._gate:
                await asyncio.sleep(self._settings.yield_ms / 1000)

    async def _send(self, served: _Served, seq: int, body: bytes) -> Sent:
        message_id, now_s = facts.event_id(seq), int(self._clock.wall_s())
        signed = sign.signature(served.secret, message_id, now_s, body)
        headers = [
            (b"webhook-id", message_id.encode()),
            (b"webhook-timestamp", b"%d" % now_s),
            (b"webhook-signature", signed.encode()),
        ]
        return await self._sender.send(served.url, body, headers)

    async def _write(
        self, connection: Connection, served: _Served, position: int, verdict: Verdict
    ) -> float | None:
        """Writes a round; returns for how many seconds nothing went through. Raises _Overtaken."""
        async with connection.transaction():
            row = await connection.fetchrow(
                SQL["move_subscriber"], served.id, served.lease, position, verdict.failures, self._lease()
            )
            if row is None:
                raise _Overtaken
            if verdict.through:
                await connection.execute(SQL["drop_deliveries"], served.id, verdict.through)
            if verdict.held:
                columns = [list(column) for column in zip(*verdict.held, strict=True)]
                await connection.execute(SQL["hold_deliveries"], served.id, *columns)
            if served.failures >= RESTING_FAILURES and verdict.failures == 0:
                await connection.execute(SQL["hurry_deliveries"], served.id)
        failing_s: float | None = row["failing_s"]
        return failing_s

    def _count(self, outcomes: Mapping[int, Sent], verdict: Verdict) -> None:
        through = sum(sent.ok for sent in outcomes.values())
        self.counters["events_delivered_total"] += through
        self.counters["events_failed_total"] += len(outcomes) - through
        self.counters["events_dead_total"] += sum(one.dead for one in verdict.held)

    async def _release(self, served: _Served, pause_s: float) -> None:
        await self._primary.run(
            lambda connection: connection.execute(
                SQL["release_subscriber"], served.id, served.lease, timedelta(seconds=pause_s)
            )
        )

    async def _pause(self, served: _Served, reason: str) -> None:
        log.warning("Subscriber %s is paused: %s", served.url, reason)
        await self._primary.run(
            lambda connection: connection.fetchval(SQL["pause_subscriber"], served.id, served.lease, reason)
        )
