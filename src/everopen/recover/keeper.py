"""Acts on the PostgreSQL nodes: carries out what `decide` says and keeps the durable facts true.

The order of steps in each act is the point of this file: what is written to `cluster.state` before PostgreSQL is
told, and what only after it is proven. A promotion runs within the loop (nothing is more urgent); everything slower
runs as a task on its node, which is marked busy meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import msgspec

from everopen.base.errors import ClusterError, FenceError
from everopen.cluster.node import Node
from everopen.cluster.probe import lsn, probe
from everopen.cluster.settings import ClusterSettings
from everopen.recover import decide
from everopen.recover.decide import Action
from everopen.recover.nodes import PROBE_ERRORS, Life, Nodes
from everopen.telemetry.events import EventLog


class ClusterKeeper:
    """The acts on the nodes."""

    def __init__(self, settings: ClusterSettings, nodes: Nodes, events: EventLog) -> None:
        self._settings = settings
        self._nodes = nodes
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirming: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Has the nodes probed for as long as the supervisor runs."""
        self._nodes.nobody_looked()  # at once: the next decision comes before the task's first step
        self._task(self._nodes.watch_all())

    # -- acting ----------------------------------------------------------------------------------------------------

    async def act(self, action: Action) -> None:
        """Carries out one action of a decision."""
        match action:
            case decide.Promote(candidate):
                await self._promote(self._nodes.life(candidate))
            case decide.RestartLeader():
                self._on_node(self._nodes.leader, "restarting", self._restart_leader())
            case decide.FinishPromotion():
                self._on_node(self._nodes.leader, "promoting", self._finish_promotion(self._nodes.leader))
            case decide.StartStandby(name):
                self._on_node(self._nodes.life(name), "starting", self.start_standby(self._nodes.life(name)))
            case decide.Rejoin(name):
                self._on_node(self._nodes.life(name), "rejoining", self._rejoin(self._nodes.life(name)))
            case decide.FenceStandby(name):
                await self._nodes.life(name).node.fence()
                await self._forget_stream(name)
            case decide.GoAlone():
                self._go_alone()
            case decide.Confirm(names):
                self._nodes.adjusting = True
                self._confirming = self._task(self._confirm(names))

    async def _forget_stream(self, name: str) -> None:
        """Ends what the leader still holds of a standby's stream: behind a silent network it looks alive until
        wal_sender_timeout, and the fresh standby would be judged by it."""
        try:
            async with asyncio.timeout(2.0):
                connection = await self._nodes.leader.node.connect()
                try:
                    await connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = $1",
                        name,
                    )
                finally:
                    connection.terminate()
        except PROBE_ERRORS as error:
            self._events.write("act_failed", f"The stream of {name} could not be ended: {error}", quiet=True)

    async def _promote(self, life: Life) -> None:
        """Fence, record, promote. Raises FenceError: then nothing was promoted."""
        began = time.monotonic()
        former, epoch = self._nodes.leader, self._nodes.state.epoch + 1
        await former.node.fence()
        fenced = time.monotonic()
        former.identity, former.seen = None, None
        if len(self._nodes.state.synchronous) > 1:
            life = await self._furthest(self._nodes.state.synchronous)
        life.busy = "promoting"
        try:
            rest = [
                name
                for name in self._nodes.others(life.node.name)
                if name != former.node.name and not self._nodes.life(name).dead()
            ]
            waits = self._settings.durability == "strict" or bool(rest)
            names = tuple(rest) if rest else self._nodes.others(life.node.name)
            # Recorded before the first write is possible: from here on the former leader may never start as primary.
            self._nodes.record(
                epoch=epoch, leader=life.node.name, synchronous=(), alone=not waits,
                rejoin=tuple(sorted({*self._nodes.state.rejoin, former.node.name} - {life.node.name})),
            )  # fmt: skip
            await self._finish_promotion(life, names if waits else ())
            for name in rest:
                self._follow(self._nodes.life(name))
        finally:
            life.busy = None
        life.last_good, life.seen, life.detached_at = time.monotonic(), None, None
        for name in self._nodes.others(life.node.name):
            self._nodes.life(name).detached_at = time.monotonic()
            self._nodes.life(name).confirmed = 0
        self._events.write(
            "promoted",
            f"{life.node.name} is primary, epoch {epoch}: fenced in {(fenced - began) * 1000:.0f} ms, open after {(time.monotonic() - began) * 1000:.0f} ms.",
            node=life.node.name, epoch=epoch, fenced_ms=(fenced - began) * 1000, open_ms=(time.monotonic() - began) * 1000,
        )  # fmt: skip
        self._nodes.changed()

    async def _furthest(self, names: tuple[str, ...]) -> Life:
        """Which of several has the last order: any one of them may have confirmed it. Asked only after the fence,
        because what the last probes saw is older than the last commits. The timeline says nothing here: all of them
        followed the same leader, and one whose stream has just ended would report an old one. Raises ClusterError."""
        lives = [self._nodes.life(name) for name in names]
        answers = await asyncio.gather(
            *(probe(life.node, timeout_s=1.0) for life in lives), return_exceptions=True
        )
        found: list[tuple[int, str]] = []
        for life, answer in zip(lives, answers, strict=True):
            if isinstance(answer, BaseException) or not answer.in_recovery or not answer.position:
                raise ClusterError(f"{life.node.name} can't be asked how far it is, so nothing is promoted.")
            found.append((answer.position, life.node.name))
        return self._nodes.life(max(found)[1])

    async def _finish_promotion(self, life: Life, names: tuple[str, ...] | None = None) -> None:
        """The part after the facts were recorded; safe to repeat."""
        if names is None:
            names = () if self._nodes.state.alone else self._nodes.others(life.node.name)
        life.node.configure(epoch=self._nodes.state.epoch, follow=None, synchronous=names)
        if life.identity is not None:
            life.node.reload(life.identity)
        await life.node.promote()
        await self._until_setting(life, "everopen.epoch", str(self._nodes.state.epoch))
        life.seen = None

    async def _until_setting(self, life: Life, name: str, value: str, *, timeout_s: float = 10.0) -> None:
        """Waits until a new connection sees a reloaded setting (then every process was told)."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    connection = await life.node.connect()
                    try:
                        if await connection.fetchval("SELECT current_setting($1, true)", name) == value:
                            return
                    finally:
                        connection.terminate()
                    await asyncio.sleep(0.003)
        except TimeoutError as error:
            raise ClusterError(f"{life.node.name} did not take over {name} = {value}.") from error

    def _follow(self, life: Life) -> None:
        """Points a living standby at the present leader."""
        life.node.configure(
            epoch=self._nodes.state.epoch,
            follow=self._nodes.leader.node,
            synchronous=self._when_promoted(life),
        )
        if life.identity is not None:
            life.node.reload(life.identity)

    def _when_promoted(self, life: Life) -> tuple[str, ...]:
        """Policy strict: the rule lies ready in a standby, so that not even its first commits as primary go unconfirmed
        (a rule that is changed at the promotion counts only once the checkpointer has read it)."""
        return self._nodes.others(life.node.name) if self._settings.durability == "strict" else ()

    async def _restart_leader(self) -> None:
        """Starts the leader in place. Commits that waited for a standby when it died become visible now although no
        standby may have them (stolon#514), so nothing counts as proven until a standby has caught up again."""
        life = self._nodes.leader
        await life.node.fence()
        life.identity = None
        proven, alone = self._nodes.state.synchronous, not self._nodes.others(life.node.name)
        self._nodes.record(synchronous=(), alone=alone)
        try:
            await self.start_leader()
        except ClusterError:
            if set(proven) == set(
                self._nodes.others(life.node.name)
            ):  # nobody else confirmed since, so what was proven still is
                await life.node.fence()
                self._nodes.record(synchronous=proven)
            raise

    async def start_leader(self) -> None:
        """Starts the leader as the durable facts say. Raises ClusterError."""
        life = self._nodes.leader
        life.busy = life.busy or "starting"
        names = () if self._nodes.state.alone else self._nodes.others(life.node.name)
        life.node.configure(epoch=self._nodes.state.epoch, follow=None, synchronous=names)
        # A leader by record that never finished its promotion must still open a timeline of its own.
        promoted = not life.node.is_standby()
        identity = life.node.start(standby=not promoted)
        self._nodes.watch_exit(life, identity)
        try:
            await life.node.wait_ready(identity, timeout_s=self._settings.start_timeout_s)
            if not promoted:
                await self._finish_promotion(life)
        finally:
            life.busy = None
        life.last_good = time.monotonic()
        for name in self._nodes.others(life.node.name):
            self._nodes.life(name).detached_at = time.monotonic()
        self._nodes.changed()

    async def start_standby(self, life: Life) -> None:
        """Starts a standby of the present leader. Raises ClusterError."""
        await life.node.fence()
        life.node.configure(
            epoch=self._nodes.state.epoch,
            follow=self._nodes.leader.node,
            synchronous=self._when_promoted(life),
        )
        identity = life.node.start(standby=True)
        self._nodes.watch_exit(life, identity)
        life.failed_starts += 1  # taken back once it streams
        await life.node.wait_ready(identity, timeout_s=self._settings.start_timeout_s)

    async def _rejoin(self, life: Life) -> None:
        """Brings a node with another history back: keeps its diverged tail, rewinds it, else copies anew."""
        began, leader = time.monotonic(), self._nodes.leader
        life.node.end_tools()
        await life.node.fence()
        life.identity = None
        # From here until a standby is proven complete again, nothing may be promoted.
        if self._nodes.state.synchronous or life.node.name not in self._nodes.state.rejoin:
            self._nodes.record(
                synchronous=(), rejoin=tuple(sorted({*self._nodes.state.rejoin, life.node.name}))
            )
        kept = None
        known = life.node.major_on_disk() is not None
        way = "a new base backup"
        if known and life.failed_starts < 2:
            try:
                fork = await self._fork_of(leader.node)
                kept = await asyncio.to_thread(life.node.keep_diverged_tail, fork, self._nodes.state.epoch)
                life.node.configure(epoch=self._nodes.state.epoch, follow=leader.node, synchronous=())
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
        if self._nodes.leader is not leader:
            return  # another failover meanwhile: a later cycle begins again
        await self.start_standby(life)
        self._nodes.record(rejoin=tuple(name for name in self._nodes.state.rejoin if name != life.node.name))
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
        """Recorded first, then PostgreSQL is told; that wakes all commits that wait. Safe to repeat."""
        if self._confirming is not None:
            self._confirming.cancel()
        anew = not self._nodes.state.alone
        if anew:
            self._nodes.record(alone=True, synchronous=())
        self._set_confirming(())
        leader = self._nodes.leader
        if leader.seen is not None:
            leader.seen = msgspec.structs.replace(leader.seen, confirming="")
        if anew:
            self._events.write(
                "alone",
                f"{self._nodes.leader.node.name} GOES ON ALONE: commits are on one node only until a standby is back.",
            )

    def _set_confirming(self, names: tuple[str, ...]) -> None:
        leader = self._nodes.leader
        leader.node.configure(epoch=self._nodes.state.epoch, follow=None, synchronous=names)
        if leader.identity is not None:
            leader.node.reload(leader.identity)

    async def _confirm(self, names: tuple[str, ...]) -> None:
        """Makes commits wait for one of `names`, proves it, then records it.

        Proof: a new connection sees the setting, so every process was signalled; a checkpoint after that passes the
        loop in which the checkpointer publishes the rule to all sessions; from the position read then on, nothing is
        acknowledged without a standby, and once they have flushed that position they have everything before it."""
        leader, epoch = self._nodes.leader, self._nodes.state.epoch
        identity = leader.identity
        try:
            if (
                not self._nodes.state.alone
                and set(names) - set(self._nodes.state.synchronous)
                and self._nodes.state.synchronous
            ):
                self._nodes.record(
                    synchronous=tuple(sorted({*names, *self._nodes.state.synchronous}))
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
                        self._nodes.leader is leader
                        and self._nodes.state.epoch == epoch
                        and leader.identity
                        == identity  # one restarted meanwhile may have shown what only it has
                        and not any(self._nodes.life(name).busy for name in names)
                    ):
                        self._nodes.record(synchronous=tuple(sorted(names)), alone=False)
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
            self._nodes.adjusting = False
            self._nodes.changed()

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _on_node(self, life: Life, word: str, act: Coroutine[Any, Any, None]) -> None:
        """Runs an act as a task and marks the node busy until it ends."""
        life.busy = word

        async def run() -> None:
            try:
                await act
            except Exception as error:
                life.next_try = time.monotonic() + min(5.0, 0.5 * (1 + life.failed_starts))
                self._events.write(
                    "act_failed",
                    f"{life.node.name}: {word} failed: {error or type(error).__name__}",
                    node=life.node.name,
                )
            finally:
                life.busy = None
                life.last_good = time.monotonic()
                self._nodes.changed()

        self._task(run())

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shut_down(self) -> None:
        """Stops looking and acting, then the leader, then the standbys, which receive its last WAL."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for life in self._nodes.leader_first():
            life.node.end_tools()
            if life.identity is not None and not life.dead():
                await life.node.shut_down(life.identity)
            else:
                try:
                    await life.node.fence()
                except FenceError as error:
                    self._events.write("fence_failed", str(error))
            life.identity = None
