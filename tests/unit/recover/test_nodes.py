"""The durable facts in memory never run ahead of those on disk."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from everopen.cluster import state as durable
from everopen.cluster.settings import ClusterSettings
from everopen.cluster.state import ClusterState
from everopen.recover.keeper import ClusterKeeper
from everopen.recover.nodes import Nodes
from everopen.telemetry.events import EventLog


def test_facts_that_did_not_reach_the_disk_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a standby would be promoted by facts that the next supervisor, reading the disk, knows nothing of."""
    nodes = Nodes(ClusterSettings(), [], tmp_path / "state.json", lambda: None)
    nodes.found(ClusterState(epoch=1, leader="node-1", nodes=("node-1", "node-2"), synchronous=("node-2",)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "save", full)
    with pytest.raises(OSError, match="No space"):
        nodes.record(epoch=2, leader="node-2", synchronous=())
    assert nodes.state == durable.load(tmp_path / "state.json")
    assert nodes.state.leader == "node-1"


def test_no_node_is_blamed_for_silence_before_anyone_looked(tmp_path: Path) -> None:
    """A first start prepares the database for seconds; the decision right after must not take the primary for hung."""

    class Silent:
        name = "node-1"

    async def start() -> float:
        nodes = Nodes(ClusterSettings(), [Silent()], tmp_path / "state.json", lambda: None)  # type: ignore[list-item]
        nodes.life("node-1").last_good = time.monotonic() - 10
        keeper = ClusterKeeper(ClusterSettings(), nodes, EventLog(tmp_path / "events", echo=lambda _: None))
        keeper.watch()
        return time.monotonic() - nodes.life("node-1").last_good

    assert asyncio.run(start()) < 1
