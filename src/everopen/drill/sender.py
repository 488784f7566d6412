"""Sends requests when they are due, repeats them, gives up, and times them: the engine of the load clients.

Everything is bounded: connections, queue, requests, time. What the requests are is the errands' affair.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import Iterable, Sequence

from everopen.base.clock import Rng
from everopen.base.errors import InputError
from everopen.drill.baskets import Basket, arrivals_like
from everopen.drill.errands import Errands, Request
from everopen.drill.history import Acknowledged, History, Summary, summarise
from everopen.drill.history_operations import Operation, OperationLog
from everopen.drill.wire import Reply, Target, Wire, Wires
from everopen.drill.workload import (
    LoadSettings,
    arrival_times,
    stepped_times,
)

SWEEP_S = 0.1
RETRY_PAUSE_S = 0.01


class Load:
    """One run of load against one target. Call `run` once."""

    def __init__(
        self,
        settings: LoadSettings,
        target: Target,
        history: History,
        rng: Rng,
        *,
        operations: OperationLog | None = None,
        operator_key: str | None = None,
        baskets: Sequence[Basket] = (),
    ) -> None:
        if ((settings.rate or settings.steps or None) is None) == (settings.clients is None):
            raise InputError(
                "An open loop has a rate, a closed one has clients.", "Give exactly one of the two."
            )
        self._settings = settings
        self._target = target
        self._history = history
        self._operations = operations
        self._rng = rng
        self._baskets = baskets
        self._wires = Wires(target, most=settings.clients or settings.connections_max)
        self._queue: deque[Request] = deque()
        self._open: set[Request] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = 0
        self._kinds = [kind for kind, _ in settings.mix]
        self._weights = [weight for _, weight in settings.mix]
        self._end = 0.0
        self._wall_offset = 0.0
        self._errands = Errands(
            settings,
            target,
            rng,
            prefix=settings.key_prefix or f"load-{secrets.token_hex(8)}",
            wall_s=lambda at: at + self._wall_offset,
            operator_key=operator_key,
            baskets=baskets,
        )
        self._idle = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> Summary:
        """Sends for the set time, waits for what is under way, and sums up."""
        begun = time.perf_counter()
        self._wall_offset = time.time() - begun
        self._end = begun + self._settings.seconds
        sweeper = asyncio.create_task(self._sweep())
        if self._settings.clients is not None:
            for _ in range(self._settings.clients):
                self._submit(self._next(time.perf_counter()))
            await self._pause(self._settings.seconds)
        else:
            await self._arrive(begun)
        sent_until = time.perf_counter()
        while self._open:
            self._idle.clear()
            await self._idle.wait()
        sweeper.cancel()
        self._wires.close()
        self._history.close()
        if self._operations is not None:
            self._operations.close()
        seconds = (time.perf_counter() if self._settings.clients is not None else sent_until) - begun
        return summarise(self._history, seconds, refused_connections=self._wires.refused)

    def stop(self) -> None:
        """Sends nothing more; what is under way is waited for."""
        self._end = min(self._end, time.perf_counter())
        self._stopped.set()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), max(0.0, seconds))
        except TimeoutError:
            pass

    async def _arrive(self, begun: float) -> None:
        for at in self._times():
            due = begun + at
            while (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            if self._stopped.is_set() or self._made >= self._settings.requests_max:
                return
            self._submit(self._next(due))
        await self._pause(self._end - time.perf_counter())

    def _times(self) -> Iterable[float]:
        settings = self._settings
        if settings.steps:
            return stepped_times(settings.steps, settings.seconds, settings.arrivals, self._rng)
        if settings.arrivals == "history":
            return arrivals_like(list(self._baskets), settings.rate or 1.0, settings.seconds)
        return arrival_times(settings.rate or 1.0, settings.seconds, settings.arrivals, self._rng)

    def _next(self, due: float) -> Request:
        self._made += 1
        kind = self._kinds[0] if len(self._kinds) == 1 else self._rng.choices(self._kinds, self._weights)[0]
        return self._errands.begin(kind, due)

    def _submit(self, request: Request) -> None:
        self._open.add(request)
        wire = self._wires.take()
        if wire is not None:
            self._send(wire, request)
        elif self._wires.can_open:
            task = asyncio.get_running_loop().create_task(self._open_and_send(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(self._queue) < self._settings.queue_max:
            self._queue.append(request)
        else:
            self._finish(request, "unsent", Reply(0))

    async def _open_and_send(self, request: Request) -> None:
        wire = await self._wires.open()
        if wire is not None:
            if request.done:
                self._wires.give_back(wire)
            else:
                self._send(wire, request)
        elif self._settings.retry:
            await asyncio.sleep(RETRY_PAUSE_S)
            if not request.done:
                self._submit(request)
        else:
            self._finish(request, "broken", Reply(0))

    def _send(self, wire: Wire, request: Request) -> None:
        now = time.perf_counter()
        if request.tries == 0:
            self._history.late_s.append(max(0.0, now - request.due))
            request.sent = now
        request.tries += 1
        request.tried = now
        request.cut = False
        request.wire = wire
        wire.ask(request.data, lambda wire, reply: self._answered(wire, reply, request))

    def _answered(self, wire: Wire, reply: Reply, request: Request) -> None:
        request.wire = None
        if reply.status:
            self._wires.give_back(wire)
        if request.done:
            pass  # its time was up
        elif reply.status == 0:
            if not request.cut:
                self._history.broke(time.perf_counter() + self._wall_offset)
            if self._settings.retry:
                self._history.retried_requests += request.tries == 1
                self._submit(request)
            else:
                self._finish(request, "timeout" if request.cut else "broken", reply)
        else:
            self._finish(request, request.outcome(reply.status), reply)
        while self._queue and self._queue[0].done:
            self._queue.popleft()
        if self._queue:
            self._submit(self._queue.popleft())

    def _finish(self, request: Request, outcome: str, reply: Reply) -> None:
        now = time.perf_counter()
        request.done = True
        self._open.discard(request)
        self._history.answered(outcome, reply.status, now - request.due, request.due + self._wall_offset)
        operation, following = self._errands.over(request, outcome, reply, now)
        if self._operations is not None:
            self._operations.write(operation)
        if outcome == "acknowledged":
            self._acknowledge(operation)
        if following is not None:
            self._submit(following)
        elif (
            self._settings.clients is not None
            and now < self._end
            and self._made < self._settings.requests_max
        ):
            if outcome in ("broken", "unsent"):  # don't spin against a closed door
                asyncio.get_running_loop().call_later(RETRY_PAUSE_S, self._again)
            else:
                self._again()
        if not self._open:
            self._idle.set()

    def _acknowledge(self, operation: Operation) -> None:
        lines = operation.seen
        self._history.acknowledge(
            Acknowledged(
                operation.key,
                operation.order,
                lines[0][0] if lines else "",
                sum(quantity for _, quantity in lines),
                operation.total or 0,
                operation.begun,
                operation.ended,
                operation.tries,
                operation.replayed,
            )
        )

    def _again(self) -> None:
        now = time.perf_counter()
        if now < self._end:
            self._submit(self._next(now))

    async def _sweep(self) -> None:
        patience = self._settings.attempt_s
        while True:
            await asyncio.sleep(SWEEP_S)
            if self._settings.parent and os.getppid() != self._settings.parent:
                self.stop()  # whoever wanted this load is gone
            now = time.perf_counter()
            oldest = now - self._settings.timeout_s
            for request in [request for request in self._open if request.due < oldest]:
                self._finish(request, "timeout", Reply(0))
                if request.wire is not None:
                    request.wire.abort()
            if patience is None:
                continue
            for request in [
                request for request in self._open if request.wire and request.tried < now - patience
            ]:
                request.cut = True
                if request.wire is not None:
                    request.wire.abort()
