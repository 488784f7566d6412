"""Connections that follow the primary.

A `Link` is one place for one connection. A task of its own keeps it filled: it connects to the primary that the
topology names, checks that the node carries the same epoch and takes writes, and starts over as soon as the
connection ends or the epoch moves on. A call waits until the link is filled, and when the connection breaks under
it, it waits for the next one and runs again. So a failover is a pause and not an error.

The pools of asyncpg and psycopg were turned down: they hand out connections to a demoted node until each one has
failed once, and a call that hangs on a stopped node hangs with them. Here the change of the epoch aborts it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from everopen.base.actor import ACTOR
from everopen.base.clock import Clock
from everopen.base.errors import StoreUnavailable
from everopen.base.topology import NodeView, Topology, TopologyReader
from everopen.store.settings import StoreSettings
from everopen.store.verdict import Verdict, is_doubtful, judge

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
T = TypeVar("T")
log = logging.getLogger(__name__)

_SET_ACTOR = "SELECT set_config('everopen.actor', $1, false)"
_VERIFY = "SELECT current_setting('everopen.epoch', true), pg_is_in_recovery()"


class Doubtful(Exception):
    """The commit is on the primary only: the wait for the standby was cut short."""


class Link:
    """One connection to whichever node is primary. One call at a time; `run` does not queue."""

    def __init__(self, primary: Primary, name: str, options: dict[str, str]) -> None:
        self._primary = primary
        self.name = name
        self._options = options
        self._connection: Connection | None = None
        self._epoch = -1
        self._actor: str | None = ""
        """In whose name the connection writes at the moment, for the audit log; None: not known."""
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._doubtful = False
        self._problem = ""
        self._abort_at: float | None = None
        self._keeper = asyncio.create_task(self._keep(), name=f"link-{name}")

    @property
    def connected(self) -> bool:
        """Whether a verified connection is there."""
        return self._connection is not None

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        retry: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """Runs `work` on the primary, again and again until its outcome is known.

        `work` may run more than once: it must be a read, or carry an idempotency key. With `retry=False` a broken
        connection raises. Raises StoreUnavailable after `deadline_s`, with the outcome unknown."""
        primary = self._primary
        deadline = primary.clock.monotonic_s() + (deadline_s or primary.settings.deadline_s)
        while True:
            connection = self._connection or await self._wait_filled(deadline)
            self._abort_at = deadline
            try:
                if ACTOR.get() != self._actor:
                    self._actor = None  # a call may be cancelled while it waits here
                    await connection.execute(_SET_ACTOR, ACTOR.get())
                    self._actor = ACTOR.get()
                result = await work(connection)
                if self._doubtful:
                    raise Doubtful
                return result
            except Exception as error:
                verdict = Verdict.LOST if isinstance(error, Doubtful) else judge(error)
                if verdict is Verdict.FINAL:
                    raise
                if verdict is Verdict.LOST:
                    primary.counters["store_connections_lost_total"] += 1
                    self.evict(connection)
                if not retry or primary.clock.monotonic_s() >= deadline:
                    raise StoreUnavailable from error
                primary.counters["store_retries_total"] += 1
                log.info("%s runs again: %s: %s", self.name, type(error).__name__, error)
                if verdict is Verdict.AGAIN:
                    await asyncio.sleep(0.0005 + primary.jitter() * 0.002)
                elif verdict is Verdict.LATER:
                    await asyncio.sleep(0.1 + primary.jitter() * 0.1)
            finally:
                self._abort_at = None

    def evict(self, connection: Connection | None = None) -> None:
        """Throws the connection away (that very one, when given); the keeper gets another."""
        held = self._connection
        if held is None or (connection is not None and held is not connection):
            return
        self._connection = None
        self._doubtful = False
        self._filled.clear()
        self._empty.set()
        held.terminate()  # no goodbye and no cancel request: the node may be stopped, and a cancel harms a commit

    def overtaken(self, epoch: int, now_s: float) -> bool:
        """Whether the connection belongs to a former epoch, or its call has passed the deadline."""
        late = self._abort_at is not None and now_s >= self._abort_at
        return self._connection is not None and (self._epoch != epoch or late)

    async def close(self) -> None:
        """Ends the keeper and the connection."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        held, self._connection = self._connection, None
        if held is not None:
            try:
                await held.close(timeout=0.5)
            except Exception:  # whatever a dying server answers, the connection is gone
                held.terminate()

    async def _wait_filled(self, deadline: float) -> Connection:
        while True:
            left = deadline - self._primary.clock.monotonic_s()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    await self._filled.wait()
            except TimeoutError:
                raise StoreUnavailable from None
            if self._connection is not None:
                return self._connection

    async def _keep(self) -> None:
        while True:
            await self._empty.wait()
            topology = self._primary.topology
            if topology is not None and topology.primary is not None:
                changed = self._primary.changed
                attempt = asyncio.create_task(self._connect(topology, topology.primary))
                watch = asyncio.create_task(changed.wait())
                try:
                    await asyncio.wait({attempt, watch}, return_when=asyncio.FIRST_COMPLETED)
                    if not attempt.done() and self._primary.epoch == topology.epoch:
                        await asyncio.wait({attempt})  # another part of the topology changed
                finally:
                    watch.cancel()
                    if not attempt.done():
                        attempt.cancel()
                    await asyncio.gather(attempt, watch, return_exceptions=True)
                problem = None if attempt.cancelled() else attempt.exception()
                if not attempt.cancelled() and problem is None:
                    continue
                if repr(problem) != self._problem:  # once per problem: this is tried every few milliseconds
                    self._problem = repr(problem)
                    log.warning("%s has no connection: %s", self.name, self._problem)
            await self._primary.wait_change(self._primary.settings.retry_ms / 1000)

    async def _connect(self, topology: Topology, node: NodeView) -> None:
        primary = self._primary
        connection = await asyncpg.connect(
            host=node.endpoint.path or node.endpoint.host,
            port=node.endpoint.port or 5432,
            user=primary.user,
            password=primary.password,
            database=primary.database,
            timeout=primary.settings.connect_timeout_s,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": f"everopen {self.name}", "jit": "off", **self._options},
        )
        try:
            epoch, standby = await connection.fetchrow(_VERIFY, timeout=primary.settings.connect_timeout_s)  # type: ignore[misc]
            if standby or epoch is None or int(epoch) != topology.epoch or primary.epoch != topology.epoch:
                raise StoreUnavailable(f"Node {node.name} is not the primary of epoch {topology.epoch}.")
            connection.add_log_listener(self._notice)
            connection.add_termination_listener(self._ended)
            if connection.is_closed():
                raise StoreUnavailable(f"Node {node.name} closed the connection.")
        except BaseException:
            connection.terminate()
            raise
        self._doubtful = False
        self._problem = ""
        self._actor = ""
        self._epoch = topology.epoch
        self._connection = connection
        self._empty.clear()
        self._filled.set()
        primary.counters["store_connections_total"] += 1

    def _notice(self, _connection: Any, message: asyncpg.PostgresLogMessage) -> None:
        severity = getattr(message, "severity_en", None) or getattr(message, "severity", None)
        if is_doubtful(severity, message.sqlstate, str(getattr(message, "message", "") or "")):
            self._doubtful = True

    def _ended(self, connection: Any) -> None:
        self.evict(connection)


class Primary:
    """The node that takes writes, as the topology names it: links for those who need one each, and a few shared
    ones for the rest (`run`)."""

    def __init__(
        self,
        settings: StoreSettings,
        reader: TopologyReader,
        *,
        password: str,
        clock: Clock,
        jitter: Callable[[], float],
        user: str = "everopen_app",
        database: str = "everopen",
    ) -> None:
        self.settings = settings
        self.password = password
        self.user = user
        self.database = database
        self.clock = clock
        self.jitter = jitter
        self.topology: Topology | None = None
        self.changed = asyncio.Event()
        self.counters = {
            "store_connections_total": 0,
            "store_connections_lost_total": 0,
            "store_retries_total": 0,
        }
        self._reader = reader
        self._links: list[Link] = []
        self._shared: asyncio.LifoQueue[Link] = asyncio.LifoQueue()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """The epoch last seen, -1 before the first topology."""
        return -1 if self.topology is None else self.topology.epoch

    async def start(self) -> None:
        """Starts to watch the topology and to connect; returns at once."""
        self._look()
        self._watcher = asyncio.create_task(self._watch(), name="topology-watcher")
        for number in range(self.settings.pool_connections):
            self._shared.put_nowait(self.link(f"shared-{number + 1}"))

    async def close(self) -> None:
        """Ends all links."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links))
        self._links.clear()

    def link(self, name: str, **options: str) -> Link:
        """A connection of one's own; `options` are settings of its session."""
        link = Link(self, name, options)
        self._links.append(link)
        return link

    def ready(self) -> bool:
        """Whether a verified connection to the primary of the current epoch is there."""
        return any(link.connected for link in self._links)

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        retry: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """`Link.run` on one of the shared links, after waiting for a free one."""
        limit = deadline_s or self.settings.deadline_s
        started = self.clock.monotonic_s()
        try:
            async with asyncio.timeout(limit):
                link = await self._shared.get()
        except TimeoutError:
            raise StoreUnavailable from None
        try:
            left = max(0.05, limit - (self.clock.monotonic_s() - started))
            return await link.run(work, retry=retry, deadline_s=left)
        finally:
            self._shared.put_nowait(link)

    async def wait_change(self, timeout_s: float) -> None:
        """Returns at the next change of the topology, or after the time."""
        try:
            async with asyncio.timeout(
                timeout_s
            ):  # (Python 3.11's wait_for may swallow a cancellation, and with it our end)
                await self.changed.wait()
        except TimeoutError:
            pass

    def _look(self) -> None:
        topology = self._reader.current()
        if topology is not None and topology is not self.topology:
            self.topology = topology
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    async def _watch(self) -> None:
        pause_s = self.settings.topology_poll_ms / 1000
        while True:
            self._look()
            now_s = self.clock.monotonic_s()
            for link in self._links:
                if link.overtaken(self.epoch, now_s):
                    link.evict()
            await asyncio.sleep(pause_s)
