"""Brings each request to a worker, and to another one when the first fails.

An exchange is one request on its way. It has a place (bounded by `max_in_flight`) or waits in the queue for one; with
a place it is either with a worker or parked because none was left to ask. Every way out goes through `finished`,
once, and every attempt gives its backend's counter back in `_leave_backend`, once.

Whether a lost request may be sent again: always when no worker can have seen it, or when the worker itself declined
it; otherwise only when it is safe by method or carries an Idempotency-Key that the workers honour. Answers that
already began are never repeated.
"""

from __future__ import annotations

import asyncio
import errno
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from everopen.base.clock import Clock, Rng
from everopen.gateway.backends import Backend, Backends
from everopen.gateway.counters import Counters
from everopen.gateway.request_reader import Budget, Request
from everopen.gateway.settings import GatewaySettings
from everopen.gateway.stamps import Stamps
from everopen.gateway.upstream import Upstream

if TYPE_CHECKING:
    from everopen.gateway.client import Client

Failure = Literal["refused", "busy", "stale", "reset", "hung", "garbled", "declined"]
"""Why an attempt came to nothing: not connected; its listen queue is full; closed before the first byte on a reused
connection; closed later; no sign of life; not HTTP; the worker asked to go elsewhere."""

_NOBODY: frozenset[Backend] = frozenset()
_OPINIONS_RESERVE = 100.0
"""Most second opinions that may be asked for in one breath: enough to find out about a worker, too few to double a load."""


class Exchange:
    """One request on its way."""

    __slots__ = (
        "attempts", "backend", "backoff_s", "begun", "client", "deadline_s", "done", "doubted", "has_place",
        "moved_s", "request", "retry_s", "tried", "upstream",
    )  # fmt: skip

    def __init__(self, client: Client, request: Request, deadline_s: float) -> None:
        self.client = client
        self.request = request
        self.deadline_s = deadline_s
        self.backend: Backend | None = None
        self.upstream: Upstream | None = None
        self.tried: set[Backend] | frozenset[Backend] = _NOBODY
        self.attempts = 0
        self.doubted: Backend | None = None
        """It answered 500, and the request went to another worker for a second opinion."""
        self.begun = False
        """The head of an answer went to the client."""
        self.moved_s = 0.0
        """When the worker last sent a piece of an answer that is being handed on."""
        self.backoff_s = 0.0
        self.retry_s = 0.0
        self.has_place = False
        self.done = False


class Dispatcher:
    """All exchanges of the process."""

    def __init__(
        self,
        settings: GatewaySettings,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        rng: Rng,
        counters: Counters,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.counters = counters
        self.stamps = Stamps(clock.wall_s())
        self._clock = clock
        self._impatient = tuple(path.encode() for path in settings.impatient_paths)
        self.budget = Budget(settings.max_buffered_bytes)
        self.backends = Backends(settings, loop, rng, counters, self.wake)
        self._rng = rng
        self._queue: OrderedDict[Exchange, None] = OrderedDict()
        self._parked: dict[Exchange, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._orphans: set[Exchange] = set()
        self._waking = False
        self._opinions_left = _OPINIONS_RESERVE
        self._opinions_at = 0

    def submit(self, exchange: Exchange) -> None:
        """Takes a request over; the client hears of it through `answer`, or `begin`, `more`, `end`, `cut`."""
        counters = self.counters
        counters.requests += 1
        if counters.in_flight < self.settings.max_in_flight:
            counters.in_flight += 1
            exchange.has_place = True
            self._attempt(exchange)
        elif len(self._queue) < self.settings.max_queued:
            counters.queue_waits += 1
            counters.queued += 1
            self._queue[exchange] = None
        else:
            counters.shed += 1
            self._give_up(
                exchange, 503, "The shop is taking as many requests as it can; please try again in a moment."
            )

    def finished(self, exchange: Exchange) -> None:
        """The one way out of all exchanges. Gives back the place and starts the next in the queue."""
        if exchange.done:
            return
        exchange.done = True
        self._leave_backend(exchange)
        self.budget.held_bytes -= exchange.request.size
        self._orphans.discard(exchange)
        counters = self.counters
        if exchange.has_place:
            self._parked.pop(exchange, None)
            counters.in_flight -= 1
            if self._queue and counters.in_flight < self.settings.max_in_flight:
                waiting, _ = self._queue.popitem(last=False)
                counters.queued -= 1
                counters.in_flight += 1
                waiting.has_place = True
                self._attempt(waiting)
        elif exchange in self._queue:
            del self._queue[exchange]
            counters.queued -= 1

    def attempt_failed(self, exchange: Exchange, failure: Failure) -> None:
        """An attempt came to nothing: tells the backend's health and tries elsewhere, or gives up."""
        backend = exchange.backend
        self._leave_backend(exchange)
        if exchange.done or backend is None:
            return
        if failure == "refused":
            self.backends.event(backend, "refused")
        elif failure == "reset" or failure == "stale":
            # A worker that dies looks like one that closed an idle connection. Out it goes either way: if it lives,
            # the first probe brings it back within milliseconds.
            self.backends.event(backend, "reset")
            self.counters.stale_closes += failure == "stale"
        if exchange.begun:
            self.counters.cut_answers += 1
            self.finished(exchange)
            exchange.client.cut()
        elif exchange.client.gone:
            self.finished(exchange)
        elif failure in ("refused", "busy", "declined"):
            exchange.attempts -= 1  # nobody took it; only time bounds these
            self._again(exchange, backend)
        elif failure == "garbled":
            self._give_up(exchange, 502, "The worker's answer was not well-formed HTTP.")
        elif not exchange.request.repeatable:
            self._give_up(
                exchange,
                502,
                "The worker failed while it had this request, and it may or may not have been carried out. "
                "Send an Idempotency-Key to have such requests repeated safely.",
            )
        elif exchange.attempts >= self.settings.max_attempts:
            self._give_up(
                exchange, 502, f"Each of {exchange.attempts} workers failed while it had this request."
            )
        else:
            self._again(exchange, backend)

    def second_opinion(self, exchange: Exchange) -> bool:
        """A worker answered 500: whether the request has gone to another one, to learn whose fault it is. Once per request,
        for a bounded share of all, and only what may be repeated (a 500 may come after the commit)."""
        backend = exchange.backend
        counters = self.counters
        if (
            backend is None
            or exchange.doubted is not None
            or exchange.begun
            or exchange.client.gone
            or not exchange.request.repeatable
            or self.backends.pick({*exchange.tried, backend}) is None
            or not self._afford_second_opinion()
        ):
            return False
        exchange.doubted = backend
        counters.second_opinions += 1
        self._leave_backend(exchange)
        self._again(exchange, backend)
        return True

    def client_left(self, exchange: Exchange) -> None:
        """The client is gone. A request that a worker has is left to end there, so that the connection stays good and
        nobody wonders whether it was carried out; an answer under way, or a request nobody has, is dropped."""
        self.counters.client_aborts += 1
        if exchange.upstream is None or exchange.begun:
            self._drop(exchange)
        else:
            self._orphans.add(exchange)

    def expire(self, exchange: Exchange) -> None:
        """The request's time is over."""
        self.counters.timeouts += 1
        seconds = self.settings.request_deadline_s
        with_worker = exchange.backend is not None
        if exchange.upstream is not None:
            exchange.upstream.abandon()
        if exchange.begun:
            self.counters.cut_answers += 1
            self.finished(exchange)
            exchange.client.cut()
        elif with_worker:
            self._give_up(
                exchange,
                504,
                f"The worker did not answer within {seconds:g} s. Send the request again with the same "
                "Idempotency-Key to learn what became of it.",
            )
        else:
            self._give_up(exchange, 503, f"No worker could take the request within {seconds:g} s.")

    def wake(self) -> None:
        """Somebody new may take requests: the parked ones ask again at once."""
        if self._parked and not self._waking:
            self._waking = True
            self.loop.call_soon(self._ask_again, True)

    def tick(self, now_s: float, lag_s: float) -> None:
        """Regular care, every `topology_poll_s`."""
        self.stamps.look(self._clock.wall_s())
        if self._parked:
            self._ask_again(False)
        for exchange in [orphan for orphan in self._orphans if now_s > orphan.deadline_s]:
            self._drop(exchange)
        self.backends.look(now_s, lag_s)

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────

    def _attempt(self, exchange: Exchange) -> None:
        backend = self.backends.pick(exchange.tried)
        if backend is None:
            self._park(exchange)
            return
        exchange.backend = backend
        exchange.attempts += 1
        if not backend.in_flight:
            backend.last_answer_s = self.loop.time()
        backend.in_flight += 1
        if backend.idle:
            backend.idle.pop().send(exchange)
            return
        task = self.loop.create_task(self._connect(exchange, backend))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, exchange: Exchange, backend: Backend) -> None:
        self.counters.upstream_connects += 1
        endpoint = backend.endpoint
        upstream = Upstream(self, backend)
        try:
            async with asyncio.timeout(self.settings.connect_timeout_s):
                if endpoint.path is not None:
                    await self.loop.create_unix_connection(lambda: upstream, endpoint.path)
                else:
                    await self.loop.create_connection(
                        lambda: upstream, endpoint.host or "", endpoint.port or 0
                    )
        except OSError as error:  # TimeoutError is one
            full = error.errno == errno.EAGAIN or isinstance(error, TimeoutError)
            if not exchange.done and exchange.backend is backend:
                self.attempt_failed(exchange, "busy" if full else "refused")
            return
        if exchange.done or exchange.backend is not backend:
            upstream.abandon()  # the request ended while we connected
        else:
            upstream.send(exchange)

    def _afford_second_opinion(self) -> bool:
        """A share of the requests since we last looked is laid by, up to a reserve; each second opinion takes one of it."""
        requests = self.counters.requests
        share = self.settings.second_opinion_share
        self._opinions_left = min(
            _OPINIONS_RESERVE, self._opinions_left + share * (requests - self._opinions_at)
        )
        self._opinions_at = requests
        if self._opinions_left < 1.0 or not share:
            return False
        self._opinions_left -= 1.0
        return True

    def _again(self, exchange: Exchange, failed: Backend) -> None:
        self.counters.retries += 1
        if isinstance(exchange.tried, frozenset):
            exchange.tried = set()
        exchange.tried.add(failed)
        self._attempt(exchange)

    def _park(self, exchange: Exchange) -> None:
        settings = self.settings
        if exchange.request.path.startswith(self._impatient):
            self._give_up(exchange, 503, "No worker takes requests at the moment.")
            return
        if exchange not in self._parked:
            self.counters.worker_waits += 1
        self._parked[exchange] = None
        exchange.tried = _NOBODY
        exchange.backoff_s = min(max(exchange.backoff_s * 2, settings.backoff_s), settings.backoff_max_s)
        exchange.retry_s = self.loop.time() + exchange.backoff_s * (0.5 + self._rng.random())

    def _ask_again(self, all_of_them: bool) -> None:
        if all_of_them:
            self._waking = False
        now_s = self.loop.time()
        for exchange in [one for one in self._parked if all_of_them or one.retry_s <= now_s]:
            del self._parked[exchange]
            self._attempt(exchange)

    def _leave_backend(self, exchange: Exchange) -> None:
        backend = exchange.backend
        if backend is not None:
            backend.in_flight -= 1
            exchange.backend = None
            exchange.upstream = None

    def _drop(self, exchange: Exchange) -> None:
        if exchange.upstream is not None:
            exchange.upstream.abandon()
        self.finished(exchange)

    def _give_up(self, exchange: Exchange, status: int, detail: str) -> None:
        self.finished(exchange)
        exchange.client.answer_problem(status, detail)
