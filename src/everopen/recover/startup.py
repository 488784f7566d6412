"""The start of a shop: the first one, which makes the cluster, and later ones, which start its nodes.

Nothing of it runs when a supervisor takes over a shop that lives.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from everopen.base.errors import ClusterError, StartError
from everopen.base.home import Home
from everopen.base.process import Identity
from everopen.base.secrets import Secrets
from everopen.cluster.bootstrap import create_roles_and_database
from everopen.cluster.node import Node
from everopen.cluster.settings import ClusterSettings
from everopen.cluster.state import ClusterState
from everopen.recover.children import ChildSpec
from everopen.recover.keeper import ClusterKeeper
from everopen.recover.nodes import Nodes
from everopen.recover.settings import RecoverSettings
from everopen.telemetry.events import EventLog

FIRST_START_BYTES, LATER_START_BYTES = 600 * 2**20, 100 * 2**20

Prepare = Callable[[Node, bool], Awaitable[None]]
"""Brings the schema up to date on a primary; the flag says that the database is new (then it gets its catalogue)."""


class Wiring(msgspec.Struct, frozen=True):
    """What compose hands to the supervisor."""

    home: Home
    cluster: ClusterSettings
    recover: RecoverSettings
    secrets: Secrets
    nodes: tuple[Node, ...]
    nodes_root: Path
    major: int
    prepare: Prepare
    children: tuple[ChildSpec, ...]
    environment: dict[str, str]
    guardian: Identity
    guardian_command: tuple[str, ...]
    """Starts a guardian that takes over our sockets; `--supervisor PID:TICKS` is appended."""
    descriptors: tuple[int, ...]
    companion: Callable[[Callable[[str], None]], Awaitable[None]] | None
    """Runs beside the loop until the shop closes (scheduled drills); it is handed a way to say a sentence."""
    shop_url: str
    console_url: str


def check_room(wiring: Wiring, *, new: bool) -> None:
    """Raises StartError when the disk could fill at once."""
    free = shutil.disk_usage(wiring.nodes_root).free
    needed = FIRST_START_BYTES if new else LATER_START_BYTES
    if free < needed:
        raise StartError(
            f"Only {free // 2**20} MB are free on the disk of {wiring.nodes_root}; {needed // 2**20} MB are needed.",
            "Free some room, or put EVEROPEN_HOME on another disk. Nothing was changed.",
        )


async def first_start(wiring: Wiring, nodes: Nodes, events: EventLog) -> None:
    """Makes the cluster. Until the facts are recorded at the end, whatever lies here took no order and is redone."""
    first = wiring.nodes[0]
    for node in wiring.nodes:
        node.end_tools()  # the initdb of a start that was killed still writes here
        await node.fence()
        if node.folder.exists():
            shutil.rmtree(node.folder)
    events.write("start", f"First start: making {first.name} (PostgreSQL {wiring.major}, data checksums) …")
    await first.initialise()
    first.configure(epoch=1, follow=None, synchronous=())
    life = nodes.life(first.name)
    identity = first.start(standby=False)
    nodes.watch_exit(life, identity)
    await first.wait_ready(identity, timeout_s=wiring.cluster.start_timeout_s)
    await create_roles_and_database(first, wiring.secrets)
    events.write("start", "Making the tables and opening with the catalogue …")
    await wiring.prepare(first, True)
    names = tuple(node.name for node in wiring.nodes)
    waits = wiring.cluster.durability == "strict" and len(names) > 1
    if waits:
        first.configure(epoch=1, follow=None, synchronous=names[1:])
        first.reload(identity)
    nodes.found(ClusterState(epoch=1, leader=first.name, nodes=names, alone=not waits, rejoin=names[1:]))
    if names[1:]:
        events.write("start", f"Copying it to {', '.join(names[1:])} (synchronous standby) …")


def fit_nodes(wiring: Wiring, nodes: Nodes) -> None:
    """Records which nodes the settings want now."""
    wanted = tuple(node.name for node in wiring.nodes)
    if (
        wanted != nodes.state.nodes
    ):  # one that was left out for a while may know another history when it is back
        new = {name for name in wanted if name not in nodes.state.nodes}
        nodes.record(nodes=wanted, rejoin=tuple(sorted({*nodes.state.rejoin, *new})))


async def start_nodes(wiring: Wiring, nodes: Nodes, keeper: ClusterKeeper, events: EventLog) -> None:
    """Starts the leader and those standbys that know no other history, when none of them lives."""
    for name, life in ((node.name, nodes.life(node.name)) for node in wiring.nodes):
        major = life.node.major_on_disk()
        if major is not None and major != wiring.major:
            raise StartError(
                f"The data of {name} was made by PostgreSQL {major}, the programs here are {wiring.major}.",
                "Set cluster.postgres_bin to PostgreSQL of that version, or dump and restore with pg_dump. Nothing was changed.",
            )
    events.write("start", f"Starting {nodes.leader.node.name} (primary, epoch {nodes.state.epoch}) …")
    await nodes.leader.node.fence()
    proven, alone = nodes.state.synchronous, len(wiring.nodes) == 1
    nodes.record(synchronous=(), alone=alone)
    standbys = [nodes.life(name) for name in nodes.others(nodes.state.leader)]
    startable = [life for life in standbys if life.node.name not in nodes.state.rejoin and life.dead()]
    results = await asyncio.gather(
        keeper.start_leader(),
        *(keeper.start_standby(life) for life in startable),
        return_exceptions=True,
    )
    failed = results[0]
    if not isinstance(failed, BaseException):
        await wiring.prepare(nodes.leader.node, False)
    elif isinstance(failed, ClusterError) and proven and nodes.can_be_asked(proven):
        # It wrote nothing since, so what was proven when it ended still is: the loop will promote.
        events.write(
            "leader_lost",
            f"The primary does not start ({failed}), but {' and '.join(proven)} has every order.",
        )
        await nodes.leader.node.fence()
        nodes.record(synchronous=proven)
    else:
        raise StartError(
            f"The primary does not start: {failed}", f"Its log is {nodes.leader.node.log}."
        ) from failed
