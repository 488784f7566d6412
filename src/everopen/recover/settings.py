"""Settings of the room `recover`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class RecoverSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The supervisor's patience with gateways, workers and the other processes."""

    workers: Annotated[
        int, Meta(ge=0, le=256, description="Worker processes. 0: one per core, at least 2, at most 16.")
    ] = 0
    tick_s: Annotated[
        float,
        Meta(
            gt=0,
            le=5,
            description="Longest time between two looks at everything (exits wake the loop at once).",
        ),
    ] = 0.1
    probe_interval_s: Annotated[
        float, Meta(gt=0, le=60, description="Time between two health probes of a process.")
    ] = 0.25
    hang_deadline_s: Annotated[
        float,
        Meta(
            gt=0.2,
            le=600,
            description="A process that lives but has not answered its probe for so long is killed and started again.",
        ),
    ] = 1.5
    start_deadline_s: Annotated[
        float, Meta(gt=1, le=600, description="How long a process may take until its first good probe.")
    ] = 30.0
    stop_grace_s: Annotated[
        float, Meta(gt=0, le=600, description="How long a process may take to end when asked to.")
    ] = 8.0
    backoff_max_s: Annotated[
        float,
        Meta(gt=0, le=600, description="Longest pause before a process that keeps ending is started again."),
    ] = 5.0
