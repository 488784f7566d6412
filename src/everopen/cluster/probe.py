"""What can be seen of a node, always through a **new** connection: a hang does not show on one that is already open
(patroni#1371). A primary must take a write; the write is local, so that a standby that hangs is told apart from a
primary that hangs."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec

from everopen.cluster.node import Node


def lsn(text: str | None) -> int:
    """`16/B374D848` as a number of bytes; 0 for none."""
    if not text:
        return 0
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class ReplicaView(msgspec.Struct, frozen=True):
    """A standby as its primary sees it (a row of pg_stat_replication)."""

    name: str
    streaming: bool
    counted: bool
    """Whether the primary counts its confirmations (sync_state is sync or quorum)."""
    flushed: int


class NodeProbe(msgspec.Struct, frozen=True):
    """One good answer of a node. LSNs in bytes."""

    in_recovery: bool
    timeline: int
    position: int
    """Primary: last WAL byte flushed. Standby: last byte it is known to hold, 0 until it received any since its start."""
    replayed: int = 0
    receiving: bool = False
    confirming: str = ""
    """The primary's rule of who must confirm a commit; empty when nobody must."""
    replicas: tuple[ReplicaView, ...] = ()


SEE = """SELECT pg_is_in_recovery() AS in_recovery,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END::text AS position,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text AS replayed,
  coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())) AS timeline,
  EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS receiving,
  current_setting('synchronous_standby_names') AS confirming"""

REPLICAS = """SELECT application_name AS name, state = 'streaming' AS streaming, sync_state IN ('sync', 'quorum') AS counted,
  flush_lsn::text AS flushed FROM pg_stat_replication WHERE application_name LIKE 'node-%'"""

BEAT = """INSERT INTO everopen_heartbeat (id, at) VALUES (1, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET at = excluded.at"""


async def probe(node: Node, *, timeout_s: float) -> NodeProbe:
    """Connects anew, and on a primary writes. Raises OSError, TimeoutError or asyncpg errors."""
    async with asyncio.timeout(timeout_s):
        connection = await node.connect(timeout_s=timeout_s, synchronous_commit="local")
        try:
            return await _look(connection)
        finally:
            connection.terminate()


async def _look(connection: asyncpg.Connection[Any]) -> NodeProbe:
    row = await connection.fetchrow(SEE)
    assert row is not None
    replicas: tuple[ReplicaView, ...] = ()
    if not row["in_recovery"]:
        await connection.execute(BEAT)
        replicas = tuple(
            ReplicaView(found["name"], found["streaming"], found["counted"], lsn(found["flushed"]))
            for found in await connection.fetch(REPLICAS)
        )
    position, replayed = lsn(row["position"]), lsn(row["replayed"])
    return NodeProbe(
        in_recovery=row["in_recovery"],
        timeline=row["timeline"],
        position=position and max(position, replayed),  # a new stream begins at the start of a segment
        replayed=replayed,
        confirming=row["confirming"],
        receiving=row["receiving"],
        replicas=replicas,
    )
