"""The status document from files alone."""

from __future__ import annotations

from everopen.base.process import Identity
from everopen.base.topology import Endpoint, NodeView, Topology
from everopen.recover.registry import ProcessRecord, Registry
from everopen.recover.status import describe

ROLES = ("guardian", "supervisor", "primary", "standby", "worker", "gateway")
RECORDS = tuple(
    ProcessRecord(f"{role}-1", role, 10 + i, 1, "running", Endpoint(path="/s"), 1.0)
    for i, role in enumerate(ROLES)
)
REGISTRY = Registry("boot", "open", "All is well.", "http://h:1", "http://h:2", RECORDS)
NODE = NodeView("primary-1", Endpoint(path="/s", port=1))
TOPOLOGY = Topology(epoch=4, primary=NODE, standbys=(NodeView("standby-1", Endpoint(), synchronous=True),))


def test_everything_alive_is_open() -> None:
    document = describe(REGISTRY, TOPOLOGY, lambda identity: True)
    assert document["state"] == "open"
    assert document["epoch"] == 4
    assert document["synchronous"] == ["standby-1"]


def test_each_missing_process_shows() -> None:
    expected = dict.fromkeys(("guardian", "supervisor", "standby"), "degraded") | dict.fromkeys(
        ("primary", "worker", "gateway"), "closed"
    )
    for index, role in enumerate(ROLES):

        def lives(identity: Identity, gone: int = 10 + index) -> bool:
            return identity.pid != gone

        assert describe(REGISTRY, TOPOLOGY, lives)["state"] == expected[role], role


def test_leading_alone_is_degraded() -> None:
    alone = Topology(epoch=4, primary=NODE, standbys=TOPOLOGY.standbys, durability="alone")
    assert describe(REGISTRY, alone, lambda identity: True)["state"] == "degraded"


def test_no_shop_is_closed() -> None:
    assert describe(None, None, lambda identity: True)["state"] == "closed"
