"""Load clients: `python -m everopen.drill.load --url … --rate 500 --seconds 30`.

Open loop (`--rate`): requests are due at times that nobody can delay, and each wait is measured from when its request was
due. A closed loop alone was turned down: its clients politely stop while the shop is down, and the outage vanishes from
the figures (coordinated omission, G. Tene). Closed loop (`--clients`) is for throughput.

A client behaves like a client: it has one request under way per connection, and with `--retry` sends a request whose
connection broke once more under the same key. Everything is bounded: connections, queue, requests, time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, InputError
from everopen.base.secrets import load_or_create
from everopen.drill.baskets import Basket, arrivals_like, read_baskets
from everopen.drill.errands import Errands, Request
from everopen.drill.history import Acknowledged, History, Second, Summary, summarise
from everopen.drill.history_operations import Operation, OperationLog
from everopen.drill.wire import Reply, Target, Wire, Wires
from everopen.drill.workload import (
    KINDS,
    LoadSettings,
    arrival_times,
    parse_mix,
    parse_steps,
    read_skus,
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


class Result(msgspec.Struct, frozen=True):
    """What a run writes to its file."""

    settings: LoadSettings
    begun: float
    summary: Summary
    broken_at: list[float]
    failures: list[tuple[float, str]]
    troubled: list[tuple[float, float, bool]] = []
    """(due, over, failed) of slow or failed requests."""
    seconds: list[Second] = []


def run_load(
    settings: LoadSettings,
    url: str,
    *,
    ledger: Path | None,
    rng: Rng,
    operations: Path | None = None,
    operator_key: str | None = None,
    baskets: Sequence[Basket] = (),
) -> Result:
    """One run in this process, on a loop of its own; SIGTERM and Ctrl-C end it early, with its figures. Raises
    InputError."""
    target = Target.from_url(url)
    begun = time.time()
    history = History(ledger, slow_s=settings.slow_s)

    async def work() -> Summary:
        load = Load(
            settings,
            target,
            history,
            rng,
            operations=OperationLog(operations) if operations is not None else None,
            operator_key=operator_key,
            baskets=baskets,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, load.stop)
        return await load.run()

    summary = uvloop.run(work())
    return Result(
        settings,
        begun,
        summary,
        list(history.broken_at),
        history.failures,
        history.troubled,
        history.seconds,
    )


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the shop is.")
@click.option(
    "--skus", required=True, help="SKUs to order: A,B,C or @FILE. `hot` is the first, `wide` any of them."
)
@click.option(
    "--rate", type=click.FloatRange(0.01, 100_000), help="Open loop: requests per second that are due."
)
@click.option(
    "--arrivals", type=click.Choice(["poisson", "fixed", "history"]), default="poisson", show_default=True
)
@click.option("--steps", help="Open loop with a course: 0:50,20:400,40:50 (second:rate) instead of --rate.")
@click.option("--clients", type=click.IntRange(1, 4096), help="Closed loop: so many keep-alive clients.")
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), default=30.0, show_default=True)
@click.option(
    "--mix", default="hot", show_default=True, help=f"{', '.join(KINDS)} with weights: wide=0.8,browse=0.2"
)
@click.option("--retry", is_flag=True, help="Send again, under the same key, when the connection breaks.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True)
@click.option("--attempt", "attempt_s", type=click.FloatRange(0.1, 600), help="Patience with one try.")
@click.option("--slow", "slow_s", type=click.FloatRange(0.001, 60), default=0.25, show_default=True)
@click.option(
    "--connections",
    type=click.IntRange(1, 20_000),
    default=512,
    show_default=True,
    help="At most (open loop).",
)
@click.option("--parent", type=int, default=0, help="End when this parent process is gone.")
@click.option("--seed", type=int, help="Repeats arrivals and choices.")
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Write acknowledged orders here (JSON lines)."
)
@click.option(
    "--operations",
    type=click.Path(path_type=Path),
    help="Write every request and what it saw here (JSON lines).",
)
@click.option(
    "--secrets", "secrets_file", type=click.Path(path_type=Path), help="For returns: HOME/secrets.json."
)
@click.option(
    "--baskets", "baskets_file", help="A sales history (CSV, .gz), or `sample` for the shipped month."
)
@click.option("--sku-prefix", default="", help="Put before the SKUs of the baskets.")
@click.option("--key-prefix", default="", help="Put before the idempotency keys (default: random).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the figures here (JSON); else to the screen."
)
def main(
    url: str,
    skus: str,
    seed: int | None,
    mix: str,
    steps: str | None,
    ledger: Path | None,
    operations: Path | None,
    secrets_file: Path | None,
    baskets_file: str | None,
    sku_prefix: str,
    connections: int,
    out: Path | None,
    **rest: Any,
) -> None:
    """Order from a running shop and measure how long the orders wait.

    \b
    Examples:
      python -m everopen.drill.load --skus 85123A --rate 500 --seconds 30 --retry --ledger orders.jsonl
      python -m everopen.drill.load --skus @skus.txt --mix wide=0.9,browse=0.1 --clients 128 --seconds 10
    """
    try:
        settings = LoadSettings(
            skus=read_skus(skus),
            mix=parse_mix(mix),
            steps=parse_steps(steps) if steps else (),
            connections_max=connections,
            **rest,
        )
        baskets: list[Basket] = []
        if baskets_file is not None:
            path = None if baskets_file == "sample" else Path(baskets_file)
            baskets = read_baskets(path, prefix=sku_prefix)
        if secrets_file is not None and not secrets_file.exists():
            raise InputError(f"{secrets_file} does not exist.", "Give the secrets.json of the shop's home.")
        result = run_load(
            settings,
            url,
            ledger=ledger,
            rng=Rng(seed),
            operations=operations,
            operator_key=load_or_create(secrets_file)[0].operator_key if secrets_file else None,
            baskets=baskets,
        )
    except EveropenError as problem:
        click.echo(f"{problem.cause}\n{problem.next_step}", err=True)
        sys.exit(problem.exit_code)
    shown = msgspec.structs.replace(settings, skus=settings.skus[:10])
    document = msgspec.json.encode(msgspec.structs.replace(result, settings=shown))
    if out is not None:
        out.write_bytes(document + b"\n")
    else:
        click.echo(document)


if __name__ == "__main__":
    main()
