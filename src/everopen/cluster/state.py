"""The durable facts of the cluster, written to disk before the change they describe is made.

`epoch` and `leader` say who may write. `synchronous` names the standbys of which at least one confirms every
commit: only when **all** of them can be asked is the most advanced one certain to hold every acknowledged order, so
only then may one be promoted. `alone` means that the leader confirms by itself: nothing may be promoted.

To relax, the fact is written first, then PostgreSQL is told; to tighten, PostgreSQL is told first, then the fact is
written once it is proven (patroni#314, #400). Either way the file never promises more than is true.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from everopen.base.topology import write_atomically


class ClusterState(msgspec.Struct, frozen=True):
    """Durable facts; see the module."""

    epoch: int
    leader: str
    nodes: tuple[str, ...]
    synchronous: tuple[str, ...] = ()
    alone: bool = False
    rejoin: tuple[str, ...] = ()
    """Former primaries (or copies that were interrupted): they hold a diverged or unknown history and may start
    only through a rejoin."""


def load(path: Path) -> ClusterState | None:
    """The facts on disk; None when the cluster was never completed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except FileNotFoundError:
        return None


def save(path: Path, state: ClusterState) -> None:
    """Writes the facts; they are on disk when this returns."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(state)), mode=0o600, durable=True)
