"""Settings of the room `cluster`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ClusterSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The PostgreSQL nodes."""

    standbys: Annotated[int, Meta(ge=0, le=2, description="Synchronous standbys beside the primary.")] = 1
    durability: Annotated[
        Literal["available", "strict"],
        Meta(
            description="strict: a commit waits for a standby, always. available: the primary goes on alone, and says so, while no standby exists."
        ),
    ] = "available"
    postgres_bin: Annotated[
        str,
        Meta(
            description="Folder with PostgreSQL >= 16 programs (postgres, initdb, …). Empty: the ones that came with the package."
        ),
    ] = ""
    run_as_user: Annotated[
        str,
        Meta(
            description="As root: the account the nodes and workers run as. Empty: `everopen`, made when missing, else `nobody`."
        ),
    ] = ""
    shared_buffers_mb: Annotated[
        int, Meta(ge=0, le=65536, description="Buffer cache of each node. 0: 1/32 of the memory, 64 to 1024.")
    ] = 0
    max_connections: Annotated[
        int, Meta(ge=20, le=2000, description="Connections each node allows; a worker holds nine.")
    ] = 200
    max_wal_size_mb: Annotated[
        int,
        Meta(
            ge=64,
            le=65536,
            description="WAL between checkpoints; more means rarer checkpoints and a longer restart after a crash.",
        ),
    ] = 1024
    wal_keep_mb: Annotated[
        int,
        Meta(
            ge=32,
            le=65536,
            description="WAL kept for a node that rejoins; when it lacks some, it is rebuilt from a base backup.",
        ),
    ] = 256
    probe_interval_s: Annotated[
        float,
        Meta(
            gt=0, le=60, description="Time between two probes of a node (each a new connection and a write)."
        ),
    ] = 0.25
    hang_deadline_s: Annotated[
        float,
        Meta(
            gt=0.2,
            le=600,
            description="A node whose process lives but whose probes have failed for so long is taken to hang.",
        ),
    ] = 1.5
    standby_grace_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Policy available: how long commits wait for a standby that is being restarted before the primary goes on alone.",
        ),
    ] = 1.0
    start_timeout_s: Annotated[
        float, Meta(gt=1, le=3600, description="How long a node may take to start (crash recovery included).")
    ] = 120.0
