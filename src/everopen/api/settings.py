"""Settings of the api room: what a request may cost, how long sessions live, how a worker ends.

Limits that clients can see in the OpenAPI document (length of an SKU, size of a quantity) are part of the contract
and stand in `shapes.py`; here is what an operator may tune.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a worker treats HTTP."""

    shop_name: Annotated[
        str, Meta(min_length=1, max_length=60, description="Name at the top of the storefront.")
    ] = "Everopen"
    body_bytes_max: Annotated[
        int, Meta(ge=1024, description="Largest body of a trading request; larger ones get 413.")
    ] = 1024 * 1024
    batch_body_bytes_max: Annotated[
        int, Meta(ge=1024, description="Largest body of a staff batch (products, stock, credits).")
    ] = 8 * 1024 * 1024
    body_timeout_s: Annotated[
        float, Meta(gt=0, description="How long a client may take to send a body; then 408.")
    ] = 15.0
    lines_max: Annotated[int, Meta(ge=1, le=100_000, description="Most lines of one order or credit.")] = 1000
    batch_items_max: Annotated[int, Meta(ge=1, le=100_000, description="Most items of one staff batch.")] = (
        5000
    )
    page_products: Annotated[
        int, Meta(ge=1, le=200, description="Products on one page of the storefront.")
    ] = 24
    session_store: Annotated[
        Literal["postgres", "redis"],
        Meta(
            description="Where sessions are kept: postgres (needs nothing more) or redis (the extra `redis`)."
        ),
    ] = "postgres"
    session_redis_url: Annotated[
        str,
        Meta(
            pattern="^(rediss?|unix)://",
            description="That Redis: redis://HOST:PORT/DB, rediss:// for TLS, unix:///PATH. All workers must reach the same one.",
        ),
    ] = "redis://127.0.0.1:6379/0"
    secure_cookies: Annotated[
        bool, Meta(description="Mark the session cookie Secure; for shops that are served over TLS only.")
    ] = False
    quota_carts_per_s: Annotated[
        float,
        Meta(ge=0, description="Changes of carts and checkouts per second, client and worker; 0: no quota."),
    ] = 500.0
    quota_sessions_per_s: Annotated[
        float, Meta(ge=0, description="New sessions per second, client and worker; 0: no quota.")
    ] = 500.0
    quota_writes_per_s: Annotated[
        float,
        Meta(ge=0, description="Other writes per second, client and worker; 0: no quota."),
    ] = 500.0
    quota_orders_per_s: Annotated[
        float,
        Meta(
            ge=0,
            description="POST /api/orders per second, client and worker. 0, the default: no quota, since many buyers may share "
            "one address.",
        ),
    ] = 0.0
    quota_burst_s: Annotated[
        float, Meta(ge=1, le=3600, description="So many seconds' worth of a quota may be used at once.")
    ] = 20.0
    keep_alive_s: Annotated[
        int, Meta(ge=1, description="How long an idle connection of a gateway is kept open.")
    ] = 120
    grace_s: Annotated[
        int, Meta(ge=1, description="How long requests in flight may take to end after SIGTERM.")
    ] = 5
    retry_after_s: Annotated[
        int, Meta(ge=1, description="What a 503 tells clients to wait before they try again.")
    ] = 1
    backlog: Annotated[int, Meta(ge=16, description="Connections the kernel queues for a worker.")] = 2048
