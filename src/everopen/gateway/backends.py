"""The backends that the topology names: their connections, their health, and the choice among them.

A backend is known by name and endpoint together: a worker that restarts listens elsewhere and starts with a clean
record, while requests in flight at its former self end in peace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from everopen.base.clock import Rng
from everopen.base.topology import Endpoint, Topology
from everopen.gateway import health
from everopen.gateway.balancing import POLICIES
from everopen.gateway.counters import Counters
from everopen.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from everopen.gateway.upstream import Upstream

log = logging.getLogger("everopen.gateway")


class Backend:
    """One worker as this process sees it."""

    __slots__ = (
        "blame", "busy", "draining", "ejected_s", "endpoint", "failures", "idle", "in_flight", "key", "last_answer_s", "name",
        "out_s", "probing", "removed", "state", "weight",
    )  # fmt: skip

    def __init__(self, name: str, endpoint: Endpoint, now_s: float) -> None:
        self.name = name
        self.endpoint = endpoint
        self.key = (name, str(endpoint))
        self.weight = 1.0
        self.draining = False
        self.removed = False
        self.in_flight = 0
        self.state: health.State = "healthy"
        self.failures = 0
        """Probes that failed in a row."""
        self.blame = 0.0
        """How often it answered 500 where another worker did not; good answers make up for it."""
        self.out_s = 0.0
        """How long it was last out for that."""
        self.ejected_s = 0.0
        """When that was."""
        self.probing: asyncio.Handle | asyncio.Task[None] | None = None
        self.idle: list[Upstream] = []
        self.busy: set[Upstream] = set()
        self.last_answer_s = now_s
        """When it last answered, or last went from no request to one."""


class Backends:
    """All backends of the topology. `changed` is called whenever somebody new may take requests."""

    def __init__(
        self,
        settings: GatewaySettings,
        loop: asyncio.AbstractEventLoop,
        rng: Rng,
        counters: Counters,
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._rng = rng
        self._counters = counters
        self._changed = changed
        self._choose = POLICIES[settings.policy]().choose
        self._by_key: dict[tuple[str, str], Backend] = {}
        self._seen: Topology | None = None
        self._eligible: Sequence[Backend] = ()
        self._trust_after_s = 0.0
        self._closed = False

    def pick(self, tried: Collection[Backend]) -> Backend | None:
        """One that may take a request and was not tried; None when there is none."""
        able = self._eligible
        if tried:
            able = [backend for backend in able if backend not in tried]
        if not able:
            return None
        return self._choose(able, self._rng)

    def all(self) -> Collection[Backend]:
        """Those of the last topology."""
        return self._by_key.values()

    def follow(self, topology: Topology | None) -> None:
        """Takes over a topology; cheap when it is the one already known."""
        if topology is None or topology is self._seen:
            return
        self._seen = topology
        wanted = {(view.name, str(view.endpoint)): view for view in topology.workers}
        for key in [key for key in self._by_key if key not in wanted]:
            self._remove(self._by_key.pop(key))
        now_s = self._loop.time()
        for key, view in wanted.items():
            backend = self._by_key.get(key)
            if backend is None:
                backend = self._by_key[key] = Backend(view.name, view.endpoint, now_s)
            backend.weight = max(view.weight, 0.0)
            backend.draining = view.state == "draining"
        self._refresh()
        self._changed()

    def event(self, backend: Backend, event: health.Event) -> None:
        """Something was learnt about a backend; the table in `health` says what follows."""
        transition = health.TRANSITIONS[backend.state, event]
        backend.state = transition.to
        if transition.effect == "none" or backend.removed:
            return
        if transition.effect == "admit":
            backend.failures = 0
            self._counters.readmissions += 1
            log.info("backend %s takes requests again: %s", backend.name, transition.reason)
        elif transition.effect == "eject":
            backend.failures = 0
            self._counters.ejections += 1
            for upstream in backend.idle:
                upstream.abandon()
            backend.idle.clear()
            log.warning("backend %s is out: %s", backend.name, transition.reason)
        if transition.effect != "admit" and backend.probing is None:
            settings = self._settings
            delay_s = (
                backend.out_s
                if backend.state == "failing"
                else health.probe_delay_s(
                    backend.failures, settings.probe_first_s, settings.probe_max_s, self._rng.random()
                )
            )
            backend.probing = self._loop.call_later(delay_s, self._start_probe, backend)
        self._refresh()
        if transition.effect == "admit":
            self._changed()

    def blame(self, backend: Backend) -> None:
        """Another worker carried out what this one answered with 500."""
        settings = self._settings
        backend.blame += 1.0
        if backend.blame < settings.blame_max or backend.state != "healthy":
            return
        now_s = self._loop.time()
        lapsed = now_s - backend.ejected_s > 4 * settings.failing_s_max  # long ago: a clean record
        backend.out_s = (
            settings.failing_s
            if lapsed or not backend.out_s
            else min(2 * backend.out_s, settings.failing_s_max)
        )
        backend.ejected_s = now_s
        backend.blame = settings.blame_max - 1.0  # when it comes back, the next one is enough
        self.event(backend, "blamed")

    def look(self, now_s: float, lag_s: float) -> None:
        """Regular care: probes silent backends and closes connections that idled for long. `lag_s` is by how much
        the loop was late; after a pause of our own every backend looks slow, so no verdict is passed for a while."""
        if lag_s > self._settings.probe_timeout_s / 4:
            self._trust_after_s = now_s + self._settings.probe_timeout_s
        for backend in self._by_key.values():
            if (
                backend.in_flight
                and backend.state == "healthy"
                and backend.probing is None
                and now_s - backend.last_answer_s > self._settings.stall_s
            ):
                self._start_probe(backend)
            idle = backend.idle
            while idle and now_s - idle[0].since_s > self._settings.upstream_idle_s:
                idle.pop(0).abandon()  # used last-in first-out: the longest idle ones stand first

    def close(self) -> None:
        """Ends probes and idle connections."""
        self._closed = True
        for backend in list(self._by_key.values()):
            self._remove(backend)

    def _refresh(self) -> None:
        self._eligible = health.eligible(self._by_key.values())

    def _remove(self, backend: Backend) -> None:
        backend.removed = True
        if backend.probing is not None:
            backend.probing.cancel()
            backend.probing = None
        for upstream in backend.idle:
            upstream.abandon()
        backend.idle.clear()

    def _start_probe(self, backend: Backend) -> None:
        if not self._closed and not backend.removed:
            self._counters.probes += 1
            backend.probing = self._loop.create_task(self._probe(backend))

    async def _probe(self, backend: Backend) -> None:
        outcome: health.Event
        try:
            async with asyncio.timeout(self._settings.probe_timeout_s):
                outcome = await self._ask(backend.endpoint)
        except (TimeoutError, ValueError):
            outcome = "probe_failed"
        except OSError:
            outcome = "refused" if backend.state == "healthy" else "probe_failed"
        backend.probing = None
        now_s = self._loop.time()
        if outcome == "answered":
            backend.last_answer_s = now_s
        elif backend.state == "healthy" and now_s < self._trust_after_s:
            return
        else:
            backend.failures += 1
        self.event(backend, outcome)
        if backend.state != "healthy" and any(other.state == "healthy" for other in self._eligible):
            for upstream in list(backend.busy):  # what may be repeated need not wait for a silent worker
                upstream.give_up_waiting()

    async def _ask(self, endpoint: Endpoint) -> health.Event:
        if endpoint.path is not None:
            reader, writer = await asyncio.open_unix_connection(endpoint.path)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        try:
            path = self._settings.probe_path.encode()
            writer.write(b"GET %s HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n" % path)
            line = await reader.readline()
            return "answered" if line[:5] == b"HTTP/" and line[9:12] == b"200" else "probe_failed"
        finally:
            writer.transport.abort()
