"""What `everopen status` and the console show, worked out from the files alone: it needs nobody to be alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from everopen.base.process import Identity
from everopen.base.topology import Topology
from everopen.recover.registry import Registry

State = Literal["open", "degraded", "closed"]


def describe(
    registry: Registry | None, topology: Topology | None, lives: Callable[[Identity], bool]
) -> dict[str, Any]:
    """The document of `everopen status --json`.

    closed: no order can be taken; degraded: orders are taken, but something that should be there is missing."""
    processes = []
    for record in registry.processes if registry else ():
        alive = bool(record.pid) and lives(record.identity)
        processes.append(
            {
                "name": record.name,
                "role": record.role,
                "pid": record.pid if alive else None,
                "state": record.state if alive or record.state not in ("running", "starting") else "down",
                "endpoint": str(record.endpoint) if (record.endpoint.path or record.endpoint.host) else None,
                "since": record.since,
            }
        )
    running = {
        role: sum(1 for entry in processes if entry["role"] == role and entry["state"] == "running")
        for role in ("primary", "worker", "gateway")
    }
    state: State = "open"
    if registry is None or topology is None or topology.primary is None or not all(running.values()):
        state = "closed"
    elif any(entry["state"] != "running" for entry in processes) or (
        topology.standbys and topology.durability != "synchronous"
    ):
        state = "degraded"
    return {
        "epoch": topology.epoch if topology else 0,
        "state": state,
        "phase": registry.phase if registry else "closed",
        "durability": topology.durability if topology else None,
        "synchronous": [standby.name for standby in topology.standbys if standby.synchronous]
        if topology
        else [],
        "sentence": registry.sentence if registry else "No shop is running here.",
        "shop_url": registry.shop_url if registry else None,
        "console_url": registry.console_url if registry else None,
        "processes": processes,
    }
