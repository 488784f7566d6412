"""What an operator may set on a gateway. Every bound exists: an unbounded gateway falls over with its slowest client."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from everopen.gateway.balancing import POLICIES


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one gateway process; each bound holds per process."""

    processes: Annotated[
        int, Meta(ge=0, le=64, description="Gateway processes; 0 chooses by the number of cores.")
    ] = 0
    policy: Annotated[
        str, Meta(description="Load-balancing policy: round_robin, random, weighted_random or power_of_two.")
    ] = "power_of_two"
    max_connections: Annotated[
        int, Meta(ge=1, description="Client connections per process; more wait in the listen queue.")
    ] = 4096
    max_in_flight: Annotated[
        int, Meta(ge=1, description="Requests handed to workers at once per process; more wait in the queue.")
    ] = 1024
    max_queued: Annotated[
        int,
        Meta(ge=0, description="Requests waiting for a free place per process; more are refused with 503."),
    ] = 4096
    max_pipelined: Annotated[
        int, Meta(ge=1, description="Requests read ahead on one connection before it is asked to come again.")
    ] = 64
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Largest request body; larger ones get 413. As much as the workers' largest batch.",
        ),
    ] = 8 << 20
    max_buffered_bytes: Annotated[
        int,
        Meta(ge=1 << 20, description="Request bodies held in memory per process; more are refused with 503."),
    ] = 256 << 20
    max_target_bytes: Annotated[int, Meta(ge=64, description="Longest request target; longer get 414.")] = (
        8192
    )
    max_header_bytes: Annotated[
        int, Meta(ge=256, description="Size of all header fields together; more get 431.")
    ] = 32768
    max_headers: Annotated[int, Meta(ge=4, description="Number of header fields; more get 431.")] = 100
    header_timeout_s: Annotated[
        float, Meta(gt=0, description="Time for a client to send a whole request head; then 408.")
    ] = 10.0
    body_timeout_s: Annotated[
        float, Meta(gt=0, description="Time for a client to send a request body; then 408.")
    ] = 30.0
    idle_timeout_s: Annotated[
        float, Meta(gt=0, description="A kept-alive client connection without a request closes after this.")
    ] = 75.0
    send_timeout_s: Annotated[
        float, Meta(gt=0, description="A client that reads nothing of its answer for so long is cut off.")
    ] = 30.0
    linger_s: Annotated[
        float,
        Meta(
            gt=0,
            description="After a refusal, what still arrives is thrown away for so long, so the client sees the answer.",
        ),
    ] = 2.0
    request_deadline_s: Annotated[
        float,
        Meta(gt=0, description="Time for a whole request, waiting and attempts included; then 503 or 504."),
    ] = 30.0
    max_attempts: Annotated[
        int, Meta(ge=1, description="How often one request may be sent to workers before it is given up.")
    ] = 8
    backoff_s: Annotated[
        float,
        Meta(gt=0, description="First pause before asking again when no worker is left to try; doubles."),
    ] = 0.01
    backoff_max_s: Annotated[float, Meta(gt=0, description="Longest such pause.")] = 0.25
    connect_timeout_s: Annotated[float, Meta(gt=0, description="Time to connect to a worker.")] = 2.0
    upstream_idle_s: Annotated[
        float,
        Meta(
            gt=0, description="Idle worker connections close after this; keep it below the workers' own time."
        ),
    ] = 4.0
    max_idle_per_backend: Annotated[int, Meta(ge=0, description="Idle connections kept per worker.")] = 512
    blame_max: Annotated[
        float,
        Meta(
            gt=0,
            description="A worker that so often answered 500 to what another one then carried out is ejected; twenty good answers "
            "make up for one.",
        ),
    ] = 3.0
    failing_s: Annotated[
        float, Meta(gt=0, description="Time that it is out for; doubles each time it comes back and fails.")
    ] = 1.0
    failing_s_max: Annotated[float, Meta(gt=0, description="Longest such time.")] = 60.0
    second_opinion_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of requests that may be asked of a second worker because the first answered 500; 0: none.",
        ),
    ] = 0.2
    probe_first_s: Annotated[
        float,
        Meta(gt=0, description="First look at an ejected worker after this; doubles with each failure."),
    ] = 0.05
    probe_max_s: Annotated[float, Meta(gt=0, description="Longest time between two such looks.")] = 2.0
    probe_timeout_s: Annotated[float, Meta(gt=0, description="Time for a worker to answer a probe.")] = 1.0
    probe_path: Annotated[str, Meta(description="What a probe asks for; 200 means the worker lives.")] = (
        "/healthz"
    )
    stall_s: Annotated[
        float,
        Meta(gt=0, description="A worker that holds requests and answers none for so long is probed."),
    ] = 0.5
    topology_poll_s: Annotated[float, Meta(gt=0, description="How often the topology file is looked at.")] = (
        0.025
    )
    drain_s: Annotated[
        float, Meta(ge=0, description="At shutdown, requests in flight have so long to end.")
    ] = 5.0
    drain_idle_s: Annotated[
        float,
        Meta(ge=0, description="At shutdown, idle connections may send one last request for so long."),
    ] = 0.3
    stamp_methods: Annotated[
        tuple[str, ...], Meta(description="Methods that get an Idempotency-Key when they carry none.")
    ] = ("POST", "PUT", "PATCH", "DELETE")
    stamp_paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Path prefixes under which workers carry a request out once per key (of its header, or of a page's form); "
            "only these are repeated."
        ),
    ] = ("/api/", "/buy", "/checkout", "/cart/lines")
    impatient_paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Path prefixes answered with 503 at once, instead of waiting, when no worker is there."
        ),
    ] = ("/readyz",)
    scheme: Annotated[
        str, Meta(pattern="^https?$", description="What clients speak, told to workers as X-Forwarded-Proto.")
    ] = "http"

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy is {self.policy!r}; it must be one of {', '.join(sorted(POLICIES))}")
