"""Acts on the PostgreSQL nodes: looks at them, carries out what `decide` says, keeps the durable facts true.

The order of steps in each act is the point of this file: what is written to `cluster.state` before PostgreSQL is
told, and what only after it is proven. A promotion runs within the loop (nothing is more urgent); everything slower
runs as a task on its node, which is marked busy meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from everopen.base import process
from everopen.base.errors import ClusterError, EveropenError, FenceError
from everopen.base.process import Identity
from everopen.base.topology import NodeView
from everopen.cluster import state as durable
from everopen.cluster.node import Node
from everopen.cluster.probe import NodeProbe, lsn, probe
from everopen.cluster.settings import ClusterSettings
from everopen.cluster.state import ClusterState
from everopen.recover import decide
from everopen.recover.decide import Action, NodeFacts, Snapshot
from everopen.recover.registry import ProcessRecord
from everopen.telemetry.events import EventLog

PROBE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, EOFError)


class Life:
    """What is known of one node from moment to moment."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.identity: Identity | None = None
        self.busy: str | None = None
        self.since = 0.0
        self.seen: NodeProbe | None = None
        self.last_good = time.monotonic()
        self.detached_at: float | None = time.monotonic()
        self.confirmed = 0
        self.progressed_at = time.monotonic()
        self.failed_starts = 0
        self.next_try = 0.0

    def dead(self) -> bool:
        """No postmaster of this node lives."""
        return self.identity is None or not process.alive(self.identity)


class ClusterKeeper:
    """The nodes, their durable facts, and the acts on them. `changed` wakes the supervisor's loop."""

    def __init__(
        self,
        settings: ClusterSettings,
        nodes: list[Node],
        state_file: Path,
        events: EventLog,
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._lives = {node.name: Life(node) for node in nodes}
        self._state_file = state_file
        self._events = events
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._adjusting = False
        self._state: ClusterState | None = durable.load(state_file)

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ClusterState:
        """The durable facts; only once the cluster was made."""
        assert self._state is not None
        return self._state

    def exists(self) -> bool:
        """Whether a complete cluster is on disk."""
        return self._state is not None

    def record(self, **changes: Any) -> None:
        """Changes the durable facts; they are on disk when this returns."""
        self._state = msgspec.structs.replace(self.state, **changes)
        durable.save(self._state_file, self._state)
        self._changed()

    def found(self, state: ClusterState) -> None:
        """Records the first facts of a new cluster."""
        self._state = state
        durable.save(self._state_file, state)

    def life(self, name: str) -> Life:
        """One node's present."""
        return self._lives[name]

    @property
    def leader(self) -> Life:
        """The node that may write."""
        return self._lives[self.state.leader]

    def others(self, name: str) -> tuple[str, ...]:
        """All nodes but one, in order."""
        return tuple(other for other in self._lives if other != name)

    def snapshot(self) -> Snapshot:
        """Everything `decide` needs."""
        now = time.monotonic()
        return Snapshot(
            state=self.state,
            nodes=tuple(self._facts(life, now) for life in self._lives.values()),
            durability=self._settings.durability,
            hang_deadline_s=self._settings.hang_deadline_s,
            standby_grace_s=self._settings.standby_grace_s,
            adjusting=self._adjusting,
        )

    def _facts(self, life: Life, now: float) -> NodeFacts:
        seen = life.seen
        dead = life.dead()
        attached = not dead and life.detached_at is None
        return NodeFacts(
            name=life.node.name,
            process="dead" if dead else "alive",
            busy=life.busy or ("waiting before another try" if dead and now < life.next_try else None),
            silent_s=0.0 if dead else now - life.last_good,
            in_recovery=None if seen is None else seen.in_recovery,
            timeline=0 if seen is None else seen.timeline,
            position=0 if seen is None else seen.position,
            attached=attached,
            detached_s=0.0 if life.detached_at is None else now - life.detached_at,
            stalled_s=now - life.progressed_at if attached else 0.0,
            failed_starts=life.failed_starts,
        )

    def forgive(self, gap_s: float) -> None:
        """The supervisor itself stood still for so long; no node is to blame for silence in that time."""
        for life in self._lives.values():
            life.last_good += gap_s
            life.progressed_at += gap_s
            if life.detached_at is not None:
                life.detached_at += gap_s

    def records(self) -> list[ProcessRecord]:
        """The nodes for the registry."""
        found = []
        for life in self._lives.values():
            role = "primary" if self._state is not None and life.node.name == self.state.leader else "standby"
            alive = not life.dead()
            state = life.busy or (
                "running" if alive and life.seen is not None else "starting" if alive else "down"
            )
            identity = life.identity if alive and life.identity is not None else Identity(0, 0)
            found.append(
                ProcessRecord(
                    life.node.name,
                    role,
                    identity.pid,
                    identity.start_ticks,
                    state,
                    life.node.endpoint,
                    life.since,
                )
            )
        return found

    def primary_view(self) -> NodeView | None:
        """The primary as readers may use it; None while there is none to write to."""
        life = self.leader
        if life.busy or life.dead():
            return None
        return NodeView(life.node.name, life.node.endpoint, "up")

    def standby_views(self) -> tuple[NodeView, ...]:
        """The standbys with their state."""
        views = []
        for name in self.others(self.state.leader):
            life = self._lives[name]
            attached = not life.dead() and life.detached_at is None
            state = "up" if attached else (life.busy or ("starting" if not life.dead() else "down"))
            views.append(
                NodeView(name, life.node.endpoint, state, attached and name in self.state.synchronous)
            )
        return tuple(views)

    # -- looking ---------------------------------------------------------------------------------------------------

    def watch_all(self) -> None:
        """Probes every node for as long as the supervisor runs."""
        for life in self._lives.values():
            life.last_good = time.monotonic()  # nobody has looked until now
            self._task(self._probe_forever(life))

    def watch_exit(self, life: Life, identity: Identity) -> None:
        """Wakes the loop the moment the postmaster ends."""
        life.identity, life.since = identity, time.time()
        life.last_good, life.seen = time.monotonic(), None
        process.watch_exit(identity, self._changed)

    def adopt(self, record: ProcessRecord) -> bool:
        """Takes over a living postmaster that a former supervisor started."""
        life = self._lives.get(record.name)
        if life is None or not process.alive(record.identity):
            return False
        self.watch_exit(life, record.identity)
        life.since = record.since
        return True

    async def _probe_forever(self, life: Life) -> None:
        while True:
            await asyncio.sleep(self._settings.probe_interval_s)
            if life.dead() or life.busy:
                life.last_good = time.monotonic()
                if life.detached_at is None:
                    life.detached_at = time.monotonic()
                continue
            await self.look(life)

    async def look(self, life: Life) -> None:
        """One probe; what it saw is remembered, a failure is not: silence is what counts."""
        asked, identity = time.monotonic(), life.identity
        try:
            seen = await probe(life.node, timeout_s=max(0.5, self._settings.hang_deadline_s))
        except PROBE_ERRORS:
            return
        if life.identity != identity:
            return
        first = life.seen is None
        life.seen, life.last_good = seen, asked
        if self._state is not None and life.node.name == self.state.leader and not seen.in_recovery:
            self._see_replicas(seen)
        if first:
            self._changed()

    def _see_replicas(self, primary: NodeProbe) -> None:
        """What the primary says of its standbys."""
        now = time.monotonic()
        rows = {replica.name: replica for replica in primary.replicas}
        for name in self.others(self.state.leader):
            life, row = self._lives[name], rows.get(name)
            if row is None or not row.streaming:
                if life.detached_at is None:
                    life.detached_at = now
                    self._changed()
                continue
            if life.detached_at is not None:
                life.detached_at, life.progressed_at, life.failed_starts = None, now, 0
                self._changed()
            if (
                row.flushed > life.confirmed
                or row.flushed >= primary.position
                or row.flushed < life.confirmed
            ):
                life.progressed_at = now
            life.confirmed = row.flushed

    # -- acting ----------------------------------------------------------------------------------------------------

    async def act(self, action: Action) -> None:
        """Carries out one action of a decision."""
        match action:
            case decide.Promote(candidate):
                await self._promote(self._lives[candidate])
            case decide.RestartLeader():
                self._on_node(self.leader, "restarting", self._restart_leader())
            case decide.FinishPromotion():
                self._on_node(self.leader, "promoting", self._finish_promotion(self.leader))
            case decide.StartStandby(name):
                self._on_node(self._lives[name], "starting", self.start_standby(self._lives[name]))
            case decide.Rejoin(name):
                self._on_node(self._lives[name], "rejoining", self._rejoin(self._lives[name]))
            case decide.FenceStandby(name):
                await self._lives[name].node.fence()
            case decide.GoAlone():
                self._go_alone()
            case decide.Confirm(names):
                self._adjusting = True
                self._task(self._confirm(names))

    async def _promote(self, life: Life) -> None:
        """Fence, record, promote. Raises FenceError: then nothing was promoted."""
        began = time.monotonic()
        former, epoch = self.leader, self.state.epoch + 1
        life.busy = "promoting"
        try:
            await former.node.fence()
            fenced = time.monotonic()
            former.identity, former.seen = None, None
            rest = [
                name
                for name in self.others(life.node.name)
                if name != former.node.name and not self._lives[name].dead()
            ]
            waits = self._settings.durability == "strict" or bool(rest)
            names = tuple(rest) if rest else self.others(life.node.name)
            # Recorded before the first write is possible: from here on the former leader may never start as primary.
            self.record(
                epoch=epoch, leader=life.node.name, synchronous=(), alone=not waits,
                rejoin=tuple(sorted({*self.state.rejoin, former.node.name} - {life.node.name})),
            )  # fmt: skip
            await self._finish_promotion(life, names if waits else ())
            for name in rest:
                self._follow(self._lives[name])
        finally:
            life.busy = None
        life.last_good, life.seen, life.detached_at = time.monotonic(), None, None
        for name in self.others(life.node.name):
            self._lives[name].detached_at = time.monotonic()
            self._lives[name].confirmed = 0
        self._events.write(
            "promoted",
            f"{life.node.name} is primary, epoch {epoch}: fenced in {(fenced - began) * 1000:.0f} ms, open after {(time.monotonic() - began) * 1000:.0f} ms.",
            node=life.node.name, epoch=epoch, fenced_ms=(fenced - began) * 1000, open_ms=(time.monotonic() - began) * 1000,
        )  # fmt: skip
        self._changed()

    async def _finish_promotion(self, life: Life, names: tuple[str, ...] | None = None) -> None:
        """The part after the facts were recorded; safe to repeat."""
        if names is None:
            names = () if self.state.alone else self.others(life.node.name)
        life.node.configure(epoch=self.state.epoch, follow=None, synchronous=names)
        if life.identity is not None:
            life.node.reload(life.identity)
        await life.node.promote()
        await self._until_setting(life, "everopen.epoch", str(self.state.epoch))
        life.seen = None

    async def _until_setting(self, life: Life, name: str, value: str, *, timeout_s: float = 10.0) -> None:
        """Waits until a new connection sees a reloaded setting (then every process was told)."""
        deadline = time.monotonic() + timeout_s
        while True:
            connection = await life.node.connect()
            try:
                if await connection.fetchval("SELECT current_setting($1, true)", name) == value:
                    return
            finally:
                connection.terminate()
            if time.monotonic() > deadline:
                raise ClusterError(f"{life.node.name} did not take over {name} = {value}.")
            await asyncio.sleep(0.003)

    def _follow(self, life: Life) -> None:
        """Points a living standby at the present leader."""
        life.node.configure(epoch=self.state.epoch, follow=self.leader.node, synchronous=())
        if life.identity is not None:
            life.node.reload(life.identity)

    async def _restart_leader(self) -> None:
        """Starts the leader in place. Commits that waited for a standby when it died become visible now although no
        standby may have them (stolon#514), so nothing counts as proven until a standby has caught up again."""
        life = self.leader
        await life.node.fence()
        life.identity = None
        alone = not self.others(life.node.name)
        self.record(synchronous=(), alone=alone)
        await self.start_leader()

    async def start_leader(self) -> None:
        """Starts the leader as the durable facts say. Raises ClusterError."""
        life = self.leader
        life.busy = life.busy or "starting"
        names = () if self.state.alone else self.others(life.node.name)
        life.node.configure(epoch=self.state.epoch, follow=None, synchronous=names)
        # A leader by record that never finished its promotion must still open a timeline of its own.
        promoted = not life.node.is_standby()
        identity = life.node.start(standby=not promoted)
        self.watch_exit(life, identity)
        try:
            await life.node.wait_ready(identity, timeout_s=self._settings.start_timeout_s)
            if not promoted:
                await self._finish_promotion(life)
        finally:
            life.busy = None
        life.last_good = time.monotonic()
        for name in self.others(life.node.name):
            self._lives[name].detached_at = time.monotonic()
        self._changed()

    async def start_standby(self, life: Life) -> None:
        """Starts a standby of the present leader. Raises ClusterError."""
        await life.node.fence()
        life.node.configure(epoch=self.state.epoch, follow=self.leader.node, synchronous=())
        identity = life.node.start(standby=True)
        self.watch_exit(life, identity)
        life.failed_starts += 1  # taken back once it streams
        await life.node.wait_ready(identity, timeout_s=self._settings.start_timeout_s)

    async def _rejoin(self, life: Life) -> None:
        """Brings a node with another history back: keeps its diverged tail, rewinds it, else copies anew."""
        began, leader = time.monotonic(), self.leader
        process.kill_all_in(life.node.folder)  # tools that a former supervisor left behind
        await life.node.fence()
        life.identity = None
        # From here until a standby is proven complete again, nothing may be promoted.
        if self.state.synchronous or life.node.name not in self.state.rejoin:
            self.record(synchronous=(), rejoin=tuple(sorted({*self.state.rejoin, life.node.name})))
        kept = None
        known = life.node.major_on_disk() is not None
        way = "a new base backup"
        if known and life.failed_starts < 2:
            try:
                fork = await self._fork_of(leader.node)
                kept = await asyncio.to_thread(life.node.keep_diverged_tail, fork, self.state.epoch)
                life.node.configure(epoch=self.state.epoch, follow=leader.node, synchronous=())
                await life.node.rewind(leader.node)
                way = "a rewind"
            except (ClusterError, *PROBE_ERRORS) as error:
                self._events.write(
                    "rewind_failed",
                    f"{life.node.name} can't be rewound ({error}); copying it anew.",
                    node=life.node.name,
                )
        if way != "a rewind":
            await life.node.copy_from(leader.node)
        if self.leader is not leader:
            return  # another failover meanwhile: a later cycle begins again
        await self.start_standby(life)
        self.record(rejoin=tuple(name for name in self.state.rejoin if name != life.node.name))
        tail = f"; its diverged WAL is kept in {kept.name}" if kept else ""
        self._events.write(
            "rejoined",
            f"{life.node.name} is {'back' if known else 'there'} by {way} after {time.monotonic() - began:.1f} s{tail}.",
            node=life.node.name,
            way=way,
        )

    async def _fork_of(self, leader: Node) -> str | None:
        """Where the leader's timeline began. Makes the checkpoint that pg_rewind needs."""
        connection = await leader.connect()
        try:
            await connection.execute("CHECKPOINT")
            timeline = await connection.fetchval("SELECT timeline_id FROM pg_control_checkpoint()")
        finally:
            connection.terminate()
        try:
            lines = (leader.data / "pg_wal" / f"{timeline:08X}.history").read_text().split("\n")
        except OSError:
            return None
        entries = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
        return entries[-1][1] if entries else None

    def _go_alone(self) -> None:
        """Recorded first, then PostgreSQL is told; that wakes all commits that wait."""
        self.record(alone=True, synchronous=())
        self._set_confirming(())
        self._events.write(
            "alone",
            f"{self.leader.node.name} GOES ON ALONE: commits are on one node only until a standby is back.",
        )

    def _set_confirming(self, names: tuple[str, ...]) -> None:
        leader = self.leader
        leader.node.configure(epoch=self.state.epoch, follow=None, synchronous=names)
        if leader.identity is not None:
            leader.node.reload(leader.identity)

    async def _confirm(self, names: tuple[str, ...]) -> None:
        """Makes commits wait for one of `names`, proves it, then records it.

        Proof: a new connection sees the setting, so every process was signalled; a checkpoint after that passes the
        loop in which the checkpointer publishes the rule to all sessions; from the position read then on, nothing is
        acknowledged without a standby, and once they have flushed that position they have everything before it."""
        leader, epoch = self.leader, self.state.epoch
        try:
            if not self.state.alone and set(names) - set(self.state.synchronous) and self.state.synchronous:
                self.record(
                    synchronous=tuple(sorted({*names, *self.state.synchronous}))
                )  # a superset is never wrong
            self._set_confirming(names)
            wanted = f"ANY 1 ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)})"
            await self._until_setting(leader, "synchronous_standby_names", wanted)
            connection = await leader.node.connect()
            try:
                await connection.execute("CHECKPOINT")
                position = lsn(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))
            finally:
                connection.terminate()
            deadline = time.monotonic() + 10.0
            while time.monotonic() < deadline:
                seen = await probe(leader.node, timeout_s=2.0)
                complete = {
                    replica.name
                    for replica in seen.replicas
                    if replica.streaming and replica.counted and replica.flushed >= position
                }
                if complete >= set(names):
                    if (
                        self.leader is leader
                        and self.state.epoch == epoch
                        and not any(self._lives[name].busy for name in names)
                    ):
                        self.record(synchronous=tuple(sorted(names)), alone=False)
                        self._events.write(
                            "synchronous",
                            f"Commits are confirmed by {' and '.join(names)}.",
                            names=list(names),
                        )
                    return
                await asyncio.sleep(0.05)
        except (ClusterError, *PROBE_ERRORS) as error:
            self._events.write(
                "confirm_failed", f"Synchronous replication is not back yet: {error}", quiet=True
            )
        finally:
            self._adjusting = False
            self._changed()

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _on_node(self, life: Life, word: str, act: Coroutine[Any, Any, None]) -> None:
        """Runs an act as a task and marks the node busy until it ends."""
        life.busy = word

        async def run() -> None:
            try:
                await act
            except (EveropenError, *PROBE_ERRORS) as error:
                life.next_try = time.monotonic() + min(5.0, 0.5 * (1 + life.failed_starts))
                self._events.write(
                    "act_failed", f"{life.node.name}: {word} failed: {error}", node=life.node.name
                )
            finally:
                life.busy = None
                life.last_good = time.monotonic()
                self._changed()

        self._task(run())

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shut_down(self) -> None:
        """Stops looking and acting, then the leader, then the standbys, which receive its last WAL."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        names = (
            tuple(self._lives)
            if self._state is None
            else (self.state.leader, *self.others(self.state.leader))
        )
        order = [self._lives[name] for name in names]
        for life in order:
            if life.identity is not None and not life.dead():
                await life.node.shut_down(life.identity)
            else:
                try:
                    await life.node.fence()
                except FenceError as error:
                    self._events.write("fence_failed", str(error))
            life.identity = None
