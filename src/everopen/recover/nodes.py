"""The nodes from moment to moment: their durable facts, their processes, and what the last probes saw.

It looks and remembers; `keeper` acts. A failed probe is not remembered, only how long the last good one is ago:
silence is what counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from everopen.base import process
from everopen.base.process import Identity
from everopen.base.topology import NodeView
from everopen.cluster import state as durable
from everopen.cluster.node import Node
from everopen.cluster.probe import NodeProbe, probe
from everopen.cluster.settings import ClusterSettings
from everopen.cluster.state import ClusterState
from everopen.recover.decide import NodeFacts, Snapshot
from everopen.recover.registry import ProcessRecord

PROBE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, EOFError)


class Life:
    """What is known of one node from moment to moment."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.identity: Identity | None = None
        self.started = time.monotonic()
        self.adopted = False
        """It ran well when a former supervisor last saw it."""
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


class Nodes:
    """All nodes of a cluster. `changed` wakes the supervisor's loop."""

    def __init__(
        self, settings: ClusterSettings, nodes: list[Node], state_file: Path, changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._lives = {node.name: Life(node) for node in nodes}
        self._state_file = state_file
        self._state: ClusterState | None = durable.load(state_file)
        self.changed = changed
        self.adjusting = False
        """The set of confirming standbys is being changed right now."""

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
        fresh = msgspec.structs.replace(self.state, **changes)
        durable.save(self._state_file, fresh)  # on a full disk this raises, and then nothing was changed
        self._state = fresh
        self.changed()

    def found(self, state: ClusterState) -> None:
        """Records the first facts of a new cluster."""
        durable.save(self._state_file, state)
        self._state = state

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

    def can_be_asked(self, names: tuple[str, ...]) -> bool:
        """Whether all of these nodes are here and live."""
        return all(name in self._lives and not self._lives[name].dead() for name in names)

    def leader_first(self) -> list[Life]:
        """All nodes, the leader (where there is one yet) before those that receive its last WAL."""
        names = (
            tuple(self._lives)
            if self._state is None
            else (self.state.leader, *self.others(self.state.leader))
        )
        return [self._lives[name] for name in names]

    def snapshot(self) -> Snapshot:
        """Everything `decide` needs."""
        now = time.monotonic()
        return Snapshot(
            state=self.state,
            nodes=tuple(self._facts(life, now) for life in self._lives.values()),
            durability=self._settings.durability,
            hang_deadline_s=self._settings.hang_deadline_s,
            standby_grace_s=self._settings.standby_grace_s,
            adjusting=self.adjusting,
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
            running_s=now - life.started,
            stalled_s=now - life.progressed_at if attached else 0.0,
            failed_starts=life.failed_starts,
            waits=seen is not None and not seen.in_recovery and bool(seen.confirming),
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
                "running" if alive and (life.seen or life.adopted) else "starting" if alive else "down"
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

    def nobody_looked(self) -> None:
        """No node is to blame for its silence until now."""
        for life in self._lives.values():
            life.last_good = time.monotonic()

    async def watch_all(self) -> None:
        """Probes every node until cancelled."""
        async with asyncio.TaskGroup() as group:
            for life in self._lives.values():
                group.create_task(self._probe_forever(life))

    def watch_exit(self, life: Life, identity: Identity) -> None:
        """Wakes the loop the moment the postmaster ends."""
        life.identity, life.since, life.adopted = identity, time.time(), False
        life.started = time.monotonic()
        life.last_good, life.seen = time.monotonic(), None
        process.watch_exit(identity, self.changed)

    def adopt(self, record: ProcessRecord) -> bool:
        """Takes over a living postmaster that a former supervisor started."""
        life = self._lives.get(record.name)
        if life is None or not process.alive(record.identity):
            return False
        self.watch_exit(life, record.identity)
        life.since, life.adopted = record.since, record.state == "running"
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
        except Exception:  # whatever it was, it was no good answer; and nobody else looks if this ends
            return
        if life.identity != identity:
            return
        first = life.seen is None
        life.seen, life.last_good = seen, asked
        if self._state is not None and life.node.name == self.state.leader and not seen.in_recovery:
            self._see_replicas(seen)
        if first:
            self.changed()

    def _see_replicas(self, primary: NodeProbe) -> None:
        """What the primary says of its standbys."""
        now = time.monotonic()
        rows = {replica.name: replica for replica in primary.replicas}
        for name in self.others(self.state.leader):
            life, row = self._lives[name], rows.get(name)
            if row is None or not row.streaming:
                if life.detached_at is None:
                    life.detached_at = now
                    self.changed()
                continue
            if life.detached_at is not None:
                life.detached_at, life.progressed_at, life.failed_starts = None, now, 0
                self.changed()
            if (
                row.flushed > life.confirmed
                or row.flushed >= primary.position
                or row.flushed < life.confirmed
            ):
                life.progressed_at = now
            life.confirmed = row.flushed
