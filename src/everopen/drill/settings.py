"""Settings of drills that run by themselves."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class DrillSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scheduled drills."""

    schedule: Annotated[
        str,
        Meta(
            description="When a drill runs by itself, in local time: off, `daily HH:MM`, `weekly DAY HH:MM` (mon … sun) or `every Nh`."
        ),
    ] = "off"
    plan: Annotated[str, Meta(description="Plan of scheduled drills: a built-in name or a TOML file.")] = (
        "quick"
    )
    scratch: Annotated[
        bool,
        Meta(
            description="Scheduled drills run on a scratch shop beside this one (it shares the machine); else on the shop itself."
        ),
    ] = True
    keep_results: Annotated[
        int, Meta(ge=1, le=10_000, description="How many results are kept in HOME/drills.")
    ] = 50
