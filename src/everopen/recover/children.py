"""The processes beside PostgreSQL: start, watch, restart, adopt, stop.

Exits arrive through pidfds and only enqueue; the supervisor's loop drains. A process that lives but does not answer is
killed, because a killed process breaks its connections at once and lets gateways send its requests elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from everopen.base import process
from everopen.base.process import Identity
from everopen.base.topology import Endpoint
from everopen.recover.registry import ProcessRecord
from everopen.recover.settings import RecoverSettings
from everopen.telemetry.events import EventLog


class ChildSpec(msgspec.Struct, frozen=True):
    """A process that should be there. `command` gets `--socket PATH` appended with a path of its own per start."""

    name: str
    role: str
    command: tuple[str, ...]
    keep_descriptors: tuple[int, ...] = ()
    public: str | None = None
    """What people read as its endpoint, where that is not the socket."""


class Child:
    """The present life of one spec."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.identity: Identity | None = None
        self.socket: Path | None = None
        self.since = 0.0
        self.ready = False
        self.last_good = 0.0
        self.started = 0.0
        self.ends: list[float] = []
        self.next_start = 0.0
        self.probing: asyncio.Task[None] | None = None
        self.stopping = False


def restart_pause_s(ends: list[float], now: float, longest_s: float) -> float:
    """At once for the first three ends within ten seconds, then doubling from 0.1 s."""
    recent = sum(1 for end in ends if now - end < 10.0)
    return 0.0 if recent <= 3 else min(longest_s, 0.1 * 2.0 ** (recent - 4))


class Children:
    """All processes beside PostgreSQL. `changed` is called (soon) when one became ready, ended or was replaced."""

    def __init__(
        self,
        settings: RecoverSettings,
        events: EventLog,
        *,
        home: Path,
        run: Path,
        logs: Path,
        environment: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._events = events
        self._home = home
        self._run = run
        self._logs = logs
        self._environment = environment
        self._changed = changed
        self._children: dict[str, Child] = {}
        self._generation = time.time_ns() // 1_000_000 % 10**10
        self._ended: list[tuple[Child, Identity]] = []
        self._turned = time.monotonic()

    # -- what should be there --------------------------------------------------------------------------------------

    def want(self, spec: ChildSpec) -> None:
        """From now on a process with this spec is kept alive."""
        self._children.setdefault(spec.name, Child(spec))

    def adopt(self, record: ProcessRecord) -> bool:
        """Takes over a living process that a former supervisor started."""
        child = self._children.get(record.name)
        identity = Identity(record.pid, record.start_ticks)
        if child is None or not process.alive(identity):
            return False
        child.identity, child.since, child.started = identity, record.since, time.monotonic()
        child.socket = (
            Path(record.endpoint.path) if record.socket and record.endpoint.path else Path(record.admin or "")
        )
        child.last_good = time.monotonic()
        child.ready = (
            record.state == "running"
        )  # it goes on serving; readers of the topology must not lose it
        self._watch(child, identity)
        return True

    def end_strangers(self, name: str | None = None) -> None:
        """Kills processes of this shop that nobody watches: a supervisor that was killed between starting one and
        writing that down left it behind, and two under one name would both take work."""
        known = {child.identity for child in self._children.values()}
        for child in [child for child in self._children.values() if name in (None, child.spec.name)]:
            mark = ("everopen.compose", child.spec.role, str(self._home), child.spec.name)
            for identity in process.running_with(*mark):
                if identity not in known:
                    self._events.write(
                        "stranger", f"A {child.spec.name} that nobody watched is ended.", name=child.spec.name
                    )
                    process.send(identity, signal.SIGKILL)

    # -- one turn --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Drains ends, starts what is missing, kills what hangs, launches probes."""
        now = time.monotonic()
        if now - self._turned > 0.5:  # nobody asked them in that time (a start, a loop that stood still)
            self.forgive(now - self._turned)
        self._turned = now
        while self._ended:
            child, identity = self._ended.pop()
            if child.identity == identity:
                self._note_end(child, now)
        for child in self._children.values():
            if child.identity is None:
                if not child.stopping and now >= child.next_start:
                    self._start(child, now)
            elif not child.stopping:
                self._mind(child, now)

    def forgive(self, gap_s: float) -> None:
        """The supervisor itself stood still for so long; nobody else is to blame for silence in that time."""
        for child in self._children.values():
            child.last_good += gap_s
            child.started += gap_s

    def records(self) -> list[ProcessRecord]:
        """Every process that lives or should, for the registry."""
        found = []
        for child in self._children.values():
            if child.identity is None:
                found.append(
                    ProcessRecord(child.spec.name, child.spec.role, 0, 0, "down", Endpoint(), child.since)
                )
                continue
            path = str(child.socket)
            public = child.spec.public
            endpoint = (
                Endpoint(path=path)
                if public is None
                else Endpoint(host=public.rsplit(":", 1)[0], port=int(public.rsplit(":", 1)[1]))
            )
            found.append(
                ProcessRecord(
                    child.spec.name, child.spec.role, child.identity.pid, child.identity.start_ticks, "running" if child.ready else "starting",
                    endpoint, child.since, socket=public is None, admin=None if public is None else path,
                )
            )  # fmt: skip
        return found

    def ready(self, role: str) -> list[tuple[str, Path]]:
        """Name and socket of the processes of a role that answered since their start."""
        return [
            (child.spec.name, child.socket)
            for child in self._children.values()
            if child.spec.role == role
            and child.ready
            and child.identity is not None
            and child.socket is not None
        ]

    async def stop(self, role: str) -> None:
        """Ends all processes of a role, gracefully, and does not start them again."""
        chosen = [child for child in self._children.values() if child.spec.role == role]
        for child in chosen:
            child.stopping = True
        await asyncio.gather(
            *(
                process.stop(child.identity, number=signal.SIGTERM, grace_s=self._settings.stop_grace_s)
                for child in chosen
                if child.identity is not None
            )
        )
        for child in chosen:
            if child.probing is not None:
                child.probing.cancel()
            child.identity, child.ready = None, False
            if child.socket is not None:
                child.socket.unlink(missing_ok=True)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _start(self, child: Child, now: float) -> None:
        self.end_strangers(child.spec.name)
        self._generation += 1
        child.socket = self._run / f"{child.spec.name}.{self._generation}.sock"
        command = [*child.spec.command, "--socket", str(child.socket)]
        try:
            child.identity = process.spawn(
                command,
                log=self._logs / f"{child.spec.name}.log",
                keep_descriptors=child.spec.keep_descriptors,
                environment=self._environment,
                folder=self._run,
            )
        except OSError as error:
            self._events.write(
                "start_failed", f"{child.spec.name} can't be started: {error}.", name=child.spec.name
            )
            child.ends.append(now)
            child.next_start = now + max(0.5, restart_pause_s(child.ends, now, self._settings.backoff_max_s))
            return
        child.since, child.started, child.last_good, child.ready = time.time(), now, now, False
        self._watch(child, child.identity)
        self._changed()

    def _watch(self, child: Child, identity: Identity) -> None:
        def ended() -> None:
            self._ended.append((child, identity))
            self._changed()

        process.watch_exit(identity, ended)

    def _note_end(self, child: Child, now: float) -> None:
        child.identity, child.ready = None, False
        if child.socket is not None:
            child.socket.unlink(missing_ok=True)
        if child.stopping:
            return
        child.ends = [end for end in child.ends if now - end < 60.0] + [now]
        pause = restart_pause_s(child.ends, now, self._settings.backoff_max_s)
        child.next_start = now + pause
        when = "at once" if pause == 0 else f"in {pause:.1f} s (it keeps ending; see its log in {self._logs})"
        self._events.write(
            "process_ended",
            f"{child.spec.name} ended unasked; starting it again {when}.",
            name=child.spec.name,
            role=child.spec.role,
        )

    def _mind(self, child: Child, now: float) -> None:
        assert child.identity is not None
        patience = self._settings.hang_deadline_s if child.ready else self._settings.start_deadline_s
        if now - (child.last_good if child.ready else child.started) > patience:
            self._events.write(
                "process_hangs",
                f"{child.spec.name} has not answered for {patience:.1f} s; killing it.",
                name=child.spec.name,
                role=child.spec.role,
            )
            child.started = child.last_good = now
            process.send(child.identity, signal.SIGKILL)
            return
        interval = self._settings.probe_interval_s if child.ready else 0.02
        if child.probing is None or child.probing.done():
            child.probing = asyncio.get_running_loop().create_task(
                self._probe(child, child.identity, interval)
            )

    async def _probe(self, child: Child, identity: Identity, interval_s: float) -> None:
        if child.ready:
            await asyncio.sleep(interval_s)
        asked = time.monotonic()
        good = child.socket is not None and await answers(
            child.socket, timeout_s=self._settings.hang_deadline_s
        )
        if child.identity != identity:
            return
        if good:
            child.last_good = asked
            if not child.ready:
                child.ready = True
                self._changed()
        else:
            await asyncio.sleep(interval_s)


async def answers(socket: Path, *, timeout_s: float) -> bool:
    """Whether `GET /healthz` on a Unix socket is answered with 200 over a new connection."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: everopen\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False
