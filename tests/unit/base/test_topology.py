"""Publishing and reading the topology."""

from __future__ import annotations

from pathlib import Path

from everopen.base.topology import Endpoint, NodeView, Topology, TopologyReader, WorkerView, publish

FIRST = Topology(
    epoch=1,
    version=1,
    primary=NodeView("node-1", Endpoint(path="/run/x", port=5501)),
    workers=(WorkerView("worker-1", Endpoint(path="/run/w")),),
)


def test_a_reader_sees_what_was_published(tmp_path: Path) -> None:
    reader = TopologyReader(tmp_path / "topology.json")
    assert reader.current() is None
    publish(tmp_path / "topology.json", FIRST)
    assert reader.current() == FIRST
    second = Topology(epoch=2, version=2)
    publish(tmp_path / "topology.json", second)
    assert reader.current() == second


def test_a_reader_keeps_its_last_copy_when_the_file_is_gone_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    publish(path, FIRST)
    reader = TopologyReader(path)
    assert reader.current() == FIRST
    path.write_text("{ torn")
    assert reader.current() == FIRST
    path.unlink()
    assert reader.current() == FIRST


def test_a_node_endpoint_reads_as_its_socket_file() -> None:
    assert str(Endpoint(path="/run/x", port=5501)) == "/run/x/.s.PGSQL.5501"
    assert str(Endpoint(host="127.0.0.1", port=80)) == "127.0.0.1:80"
