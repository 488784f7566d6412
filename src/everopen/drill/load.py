"""Load clients: `python -m everopen.drill.load --url … --rate 500 --seconds 30`.

Open loop (`--rate`): requests are due at times that nobody can delay, and each wait is measured from when its request was
due. A closed loop alone was turned down: its clients politely stop while the shop is down, and the outage vanishes from
the figures (coordinated omission, G. Tene). Closed loop (`--clients`) is for throughput.

A client behaves like a client: it has one request under way per connection, and with `--retry` sends a request whose
connection broke once more under the same key. Everything is bounded: connections, queue, requests, time.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections import deque
from pathlib import Path

import click
import msgspec
import uvloop

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, InputError
from everopen.drill.history import Acknowledged, History, Summary, outcome_of, summarise
from everopen.drill.wire import Reply, Target, Wire, Wires
from everopen.drill.workload import LoadSettings, arrival_times, parse_mix, read_skus

SWEEP_S = 0.1
RETRY_PAUSE_S = 0.01


class _Request:
    __slots__ = ("data", "done", "due", "key", "kind", "sku", "tries", "wire")

    def __init__(self, kind: str, sku: str, key: str, data: bytes, due: float) -> None:
        self.kind = kind
        self.sku = sku
        self.key = key
        self.data = data
        self.due = due
        self.tries = 0
        self.done = False
        self.wire: Wire | None = None


class _Total(msgspec.Struct):
    amount: int


class _Placed(msgspec.Struct):
    id: str
    total: _Total


class Load:
    """One run of load against one target. Call `run` once."""

    def __init__(self, settings: LoadSettings, target: Target, history: History, rng: Rng) -> None:
        if (settings.rate is None) == (settings.clients is None):
            raise InputError(
                "An open loop has a rate, a closed one has clients.", "Give exactly one of the two."
            )
        self._settings = settings
        self._target = target
        self._history = history
        self._rng = rng
        self._wires = Wires(target, most=settings.clients or settings.connections_max)
        self._queue: deque[_Request] = deque()
        self._open: set[_Request] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = 0
        self._prefix = settings.key_prefix or f"load-{secrets.token_hex(8)}"
        self._kinds = [kind for kind, _ in settings.mix]
        self._weights = [weight for _, weight in settings.mix]
        self._cut = {sku: self._order_parts(sku) for sku in settings.skus}
        self._decode = msgspec.json.Decoder(_Placed).decode
        self._end = 0.0
        self._wall_offset = 0.0
        self._idle = asyncio.Event()
        self._stopped = asyncio.Event()

    def _order_parts(self, sku: str) -> tuple[bytes, bytes]:
        body = msgspec.json.encode(
            {
                "lines": [{"sku": sku, "quantity": self._settings.quantity}],
                "customer": {"email": "load@example.com"},
                "payment": {"provider": "sandbox", "token": self._settings.token},
            }
        )
        before, _, after = self._target.request("POST", "/api/orders", body, key="\x00").partition(b"\x00")
        return before, after

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
        rate = self._settings.rate or 1.0
        for at in arrival_times(rate, self._settings.seconds, self._settings.arrivals, self._rng):
            due = begun + at
            while (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            if self._stopped.is_set() or self._made >= self._settings.requests_max:
                return
            self._submit(self._next(due))
        await self._pause(self._end - time.perf_counter())

    def _next(self, due: float) -> _Request:
        self._made += 1
        kind = self._kinds[0] if len(self._kinds) == 1 else self._rng.choices(self._kinds, self._weights)[0]
        skus = self._settings.skus
        sku = skus[0] if kind == "hot" or len(skus) == 1 else skus[int(self._rng.random() * len(skus))]
        if kind == "browse":
            return _Request(kind, sku, "", self._target.request("GET", f"/api/products/{sku}"), due)
        key = f"{self._prefix}-{self._made}"
        before, after = self._cut[sku]
        return _Request(kind, sku, key, before + key.encode() + after, due)

    def _submit(self, request: _Request) -> None:
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
            self._finish(request, "unsent", 0)

    async def _open_and_send(self, request: _Request) -> None:
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
            self._finish(request, "broken", 0)

    def _send(self, wire: Wire, request: _Request) -> None:
        if request.tries == 0:
            self._history.late_s.append(max(0.0, time.perf_counter() - request.due))
        request.tries += 1
        request.wire = wire
        wire.ask(request.data, lambda wire, reply: self._answered(wire, reply, request))

    def _answered(self, wire: Wire, reply: Reply, request: _Request) -> None:
        request.wire = None
        if reply.status:
            self._wires.give_back(wire)
        if request.done:
            pass  # its time was up
        elif reply.status == 0:
            self._history.broke(time.perf_counter() + self._wall_offset)
            if self._settings.retry:
                self._history.retried_requests += request.tries == 1
                self._submit(request)
            else:
                self._finish(request, "broken", 0)
        else:
            self._record(reply, request)
        while self._queue and self._queue[0].done:
            self._queue.popleft()
        if self._queue:
            self._submit(self._queue.popleft())

    def _record(self, reply: Reply, request: _Request) -> None:
        outcome = outcome_of(reply.status)
        if outcome == "acknowledged":
            placed = self._decode(reply.body)
            self._history.acknowledge(
                Acknowledged(
                    request.key,
                    placed.id,
                    request.sku,
                    self._settings.quantity,
                    placed.total.amount,
                    request.due + self._wall_offset,
                    time.perf_counter() + self._wall_offset,
                    request.tries,
                    reply.replayed,
                )
            )
        self._finish(request, outcome, reply.status)

    def _finish(self, request: _Request, outcome: str, status: int) -> None:
        now = time.perf_counter()
        request.done = True
        self._open.discard(request)
        self._history.answered(outcome, status, now - request.due, request.due + self._wall_offset)
        if (
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

    def _again(self) -> None:
        now = time.perf_counter()
        if now < self._end:
            self._submit(self._next(now))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            oldest = time.perf_counter() - self._settings.timeout_s
            for request in [request for request in self._open if request.due < oldest]:
                self._finish(request, "timeout", 0)
                if request.wire is not None:
                    request.wire.abort()


class Result(msgspec.Struct, frozen=True):
    """What a run writes to its file."""

    settings: LoadSettings
    begun: float
    summary: Summary
    broken_at: list[float]
    failures: list[tuple[float, str]]


def run_load(settings: LoadSettings, url: str, *, ledger: Path | None, rng: Rng) -> Result:
    """One run in this process, on a loop of its own; SIGTERM and Ctrl-C end it early, with its figures. Raises
    InputError."""
    target = Target.from_url(url)
    begun = time.time()

    history = History(ledger)

    async def work() -> Summary:
        load = Load(settings, target, history, rng)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, load.stop)
        return await load.run()

    summary = uvloop.run(work())
    return Result(settings, begun, summary, list(history.broken_at), history.failures)


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the shop is.")
@click.option(
    "--skus", required=True, help="SKUs to order: A,B,C or @FILE. `hot` is the first, `wide` any of them."
)
@click.option(
    "--rate", type=click.FloatRange(0.01, 100_000), help="Open loop: requests per second that are due."
)
@click.option("--arrivals", type=click.Choice(["poisson", "fixed"]), default="poisson", show_default=True)
@click.option("--clients", type=click.IntRange(1, 4096), help="Closed loop: so many keep-alive clients.")
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), default=30.0, show_default=True)
@click.option(
    "--mix", default="hot", show_default=True, help="hot, wide, browse with weights: wide=0.8,browse=0.2"
)
@click.option("--retry", is_flag=True, help="Send again, under the same key, when the connection breaks.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True)
@click.option(
    "--connections",
    type=click.IntRange(1, 20_000),
    default=512,
    show_default=True,
    help="At most (open loop).",
)
@click.option("--seed", type=int, help="Repeats arrivals and choices.")
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Write acknowledged orders here (JSON lines)."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the figures here (JSON); else to the screen."
)
def main(
    url: str,
    skus: str,
    rate: float | None,
    arrivals: str,
    clients: int | None,
    seconds: float,
    mix: str,
    retry: bool,
    timeout_s: float,
    connections: int,
    seed: int | None,
    ledger: Path | None,
    out: Path | None,
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
            seconds=seconds,
            rate=rate,
            arrivals=arrivals,
            clients=clients,
            mix=parse_mix(mix),
            retry=retry,
            timeout_s=timeout_s,
            connections_max=connections,
        )
        result = run_load(settings, url, ledger=ledger, rng=Rng(seed))
    except EveropenError as problem:
        click.echo(f"{problem.cause}\n{problem.next_step}", err=True)
        sys.exit(problem.exit_code)
    document = msgspec.json.format(
        msgspec.json.encode(
            msgspec.structs.replace(
                result, settings=msgspec.structs.replace(settings, skus=settings.skus[:10])
            )
        )
    )
    if out is not None:
        out.write_bytes(document + b"\n")
    else:
        click.echo(document)


if __name__ == "__main__":
    main()
