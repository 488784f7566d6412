"""Settings of the store: how long to wait for a primary and how to look for one."""

from __future__ import annotations

from typing import Annotated

import msgspec


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a worker holds its connections to the primary."""

    pool_connections: Annotated[
        int, msgspec.Meta(ge=1, le=64, description="Connections per worker for all but orders and payments.")
    ] = 3
    connect_timeout_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="A node that doesn't take a connection in this time is not asked again until the next try.",
        ),
    ] = 2.0
    retry_ms: Annotated[
        float, msgspec.Meta(gt=0, description="Pause before a primary that didn't answer is tried again.")
    ] = 10.0
    topology_poll_ms: Annotated[
        float, msgspec.Meta(gt=0, description="How often the topology is looked at (one stat).")
    ] = 10.0
    deadline_s: Annotated[
        float,
        msgspec.Meta(gt=0, description="A call that found no primary for so long raises StoreUnavailable."),
    ] = 25.0
