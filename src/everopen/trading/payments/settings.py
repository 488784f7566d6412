"""Settings of the sandbox provider's process."""

from __future__ import annotations

from typing import Annotated

import msgspec


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sandbox payment provider."""

    slow_s: Annotated[float, msgspec.Meta(ge=0, description="How long `tok_slow` takes to answer.")] = 3.0
    grace_s: Annotated[
        float, msgspec.Meta(ge=0, description="How long requests may take to end at SIGTERM.")
    ] = 5.0
