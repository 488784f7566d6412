"""Lanes: where orders wait for a commit, and go together.

A commit costs a flush on two nodes, whether it holds one order or two hundred; and a hot product's stock row can be
locked only once at a time. So requests that arrive while a lane commits are committed together in its next call,
each with its own outcome. Nothing waits on a timer: an idle lane takes a lone order at once, and groups grow by
themselves exactly when the database is the bottleneck.

A lane that loses the primary keeps its group, and sends it again to the next one under the same keys: what was
committed there is found by its key, what was not is committed now. (One transaction per order on a big pool was
turned down: a hundred connections then queue for the same row, and each holds it through its own flush.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.clock import Clock
from everopen.base.errors import StoreUnavailable
from everopen.base.ids import uuid7
from everopen.store import Link, Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.find import placed_orders
from everopen.trading.group import PLAIN, Quoted, Replay, arguments, outcomes
from everopen.trading.orders import KeyReused, OrderRequest, Outcome, PlacedOrder
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "orders.sql")

Placed = Callable[[Sequence[tuple[OrderRequest, PlacedOrder]]], None]


class _Waiting:
    """A request with its quote, those who wait for its outcome, and since when."""

    __slots__ = ("futures", "id", "quoted", "request", "since_s")

    def __init__(self, request: OrderRequest, quoted: Quoted, since_s: float) -> None:
        self.request = request
        self.quoted = quoted
        self.id: UUID = uuid7()
        self.since_s = since_s
        self.futures: list[asyncio.Future[Outcome]] = []

    def resolve(self, outcome: Outcome) -> None:
        for future in self.futures:
            if not future.done():
                future.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        for future in self.futures:
            if not future.done():
                future.set_exception(error)


class Lanes:
    """The lanes of one worker over one queue."""

    def __init__(
        self, settings: TradingSettings, primary: Primary, *, clock: Clock, on_placed: Placed
    ) -> None:
        self._settings = settings
        self._primary = primary
        self._clock = clock
        self._on_placed = on_placed
        self._queue: deque[_Waiting] = deque()
        self._waiting: dict[str, _Waiting] = {}
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._last_group = 0
        self._last_commit_s = 0.0
        self.counters = {"orders_placed_total": 0, "orders_refused_total": 0, "orders_replayed_total": 0}
        self.counters |= {"lane_groups_total": 0, "lane_orders_total": 0, "lane_failures_total": 0}

    @property
    def waiting(self) -> int:
        """Orders that wait for a lane now."""
        return len(self._queue)

    def busy(self) -> bool:
        """Whether orders come faster than one commit each: other work should yield for a moment."""
        recent = self._clock.monotonic_s() - self._last_commit_s < 0.1
        return recent and self._last_group >= self._settings.payer_yield_orders

    async def start(self) -> None:
        """Opens the lanes; returns at once."""
        for number in range(self._settings.lanes):
            link = self._primary.link(f"lane-{number + 1}")
            self._tasks.append(asyncio.create_task(self._run(link), name=link.name))

    async def stop(self, grace_s: float = 5.0) -> None:
        """Commits what waits, for at most `grace_s`; the rest is answered 'unavailable'."""
        self._stopping = True
        self._wake(everyone=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in list(self._waiting.values()):
            waiting.fail(StoreUnavailable("The worker is ending."))
        self._waiting.clear()
        self._queue.clear()

    async def place(
        self, request: OrderRequest, quoted: Quoted = PLAIN, *, since_s: float | None = None
    ) -> Outcome:
        """Places one order: durable when it returns a PlacedOrder. Waits through failovers; raises StoreUnavailable
        when the deadline passed (the outcome is then unknown, and the same key will tell) or too many wait.

        Whether the shop's rules apply, and what they come to, was found before (see `quoting.py`), and that took time since
        `since_s`."""
        while True:
            twin = self._waiting.get(request.key)
            if twin is None:
                break
            outcome = await self._join(twin)
            same = twin.request.fingerprint == request.fingerprint
            if isinstance(outcome, PlacedOrder):
                return msgspec.structs.replace(outcome, replayed=True) if same else KeyReused()
            if same:
                return outcome
        if self._stopping or len(self._queue) >= self._settings.queue_max:
            raise StoreUnavailable("Too many orders wait in this worker.", "Try again in a moment.")
        waiting = _Waiting(request, quoted, self._clock.monotonic_s() if since_s is None else since_s)
        self._waiting[request.key] = waiting
        self._queue.append(waiting)
        self._wake()
        return await self._join(waiting)

    def _join(self, waiting: _Waiting) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiting.futures.append(future)
        return future

    def _wake(self, *, everyone: bool = False) -> None:
        """Wakes a lane when all are idle, or when enough wait for another group beside the running ones."""
        while self._idle:
            if (
                not everyone
                and len(self._idle) < len(self._tasks)
                and len(self._queue) < self._settings.second_lane_orders
            ):
                return
            idle = self._idle.pop()
            if not idle.done():
                idle.set_result(None)
            if not everyone:
                return

    def _take(self) -> list[_Waiting]:
        """The next group: the oldest that wait, as many as one call takes."""
        group: list[_Waiting] = []
        lines = 0
        expired_before_s = self._clock.monotonic_s() - self._settings.order_deadline_s
        while self._queue and len(group) < self._settings.group_max:
            waiting = self._queue[0]
            lines += len(waiting.request.lines)
            if group and lines > self._settings.group_lines_max:
                break
            self._queue.popleft()
            if waiting.since_s < expired_before_s:
                self._forget(waiting)
                waiting.fail(StoreUnavailable())
                continue
            group.append(waiting)
        return group

    def _forget(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting.request.key, None)

    async def _run(self, link: Link) -> None:
        while True:
            group = self._take()
            if group:
                await self._settle(link, group)
            elif self._stopping:
                return
            else:
                idle = asyncio.get_running_loop().create_future()
                self._idle.append(idle)
                await idle

    async def _settle(self, link: Link, group: list[_Waiting]) -> None:
        """Commits the group and answers each request of it."""
        counters = self.counters
        try:
            answers = await self._commit(link, group)
        except asyncio.CancelledError:
            for waiting in group:
                self._forget(waiting)
                waiting.fail(StoreUnavailable("The worker is ending."))
            raise
        except Exception as error:
            counters["lane_failures_total"] += 1
            await self._apart(link, group, error)
            return
        self._last_group, self._last_commit_s = len(group), self._clock.monotonic_s()
        counters["lane_groups_total"] += 1
        counters["lane_orders_total"] += len(group)
        fresh: list[tuple[OrderRequest, PlacedOrder]] = []
        for waiting, outcome in zip(group, answers, strict=True):
            self._forget(waiting)
            waiting.resolve(outcome)
            if not isinstance(outcome, PlacedOrder):
                counters["orders_refused_total"] += 1
            elif outcome.replayed:
                counters["orders_replayed_total"] += 1
            else:
                counters["orders_placed_total"] += 1
                if outcome.total > 0:
                    fresh.append((waiting.request, outcome))
        if fresh:
            self._on_placed(fresh)

    async def _apart(self, link: Link, group: list[_Waiting], error: Exception) -> None:
        """A call that failed for good: those whose time is over are told; others go alone, so that a request which
        the database can't take fails by itself."""
        now_s = self._clock.monotonic_s()
        for waiting in group:
            late = now_s - waiting.since_s >= self._settings.order_deadline_s
            if late or (len(group) == 1 and not isinstance(error, StoreUnavailable)):
                self._forget(waiting)
                waiting.fail(StoreUnavailable() if late else error)
            else:
                await self._settle(link, [waiting])

    async def _commit(self, link: Link, group: list[_Waiting]) -> list[Outcome]:
        currency = self._settings.currency
        ids = [waiting.id for waiting in group]
        requests = [waiting.request for waiting in group]
        quotes = [waiting.quoted for waiting in group]
        prepared = arguments(currency, self._settings.payer_lease_s, ids, requests, quotes)

        async def work(connection: Connection) -> tuple[Any, dict[UUID, PlacedOrder]]:
            row = await connection.fetchrow(SQL["place_orders"], *prepared)
            known = [found for found in row["o_replay_ids"] or () if found is not None]  # type: ignore[index]
            return row, await placed_orders(connection, known) if known else {}

        age_s = self._clock.monotonic_s() - group[0].since_s
        row, replays = await link.run(work, deadline_s=max(0.1, self._settings.order_deadline_s - age_s))
        return [
            _answer(waiting, replays[outcome.order_id]) if isinstance(outcome, Replay) else outcome
            for waiting, outcome in zip(group, outcomes(currency, ids, requests, row, quotes), strict=True)
        ]


def _answer(waiting: _Waiting, known: PlacedOrder) -> PlacedOrder:
    """An order under our own id is no replay: this very call committed it, and its first answer was lost on the way."""
    return msgspec.structs.replace(known, replayed=False) if known.id == waiting.id else known
