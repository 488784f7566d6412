"""Settings of the room `console`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class ConsoleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's page and metrics."""

    host: Annotated[
        str, Meta(description="Address the console listens on; it has no login yet, so keep it local.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of the console and its metrics. 0: any free one.")
    ] = 8081
    scrape_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="How long one process may take to tell its counters.")
    ] = 1.0
