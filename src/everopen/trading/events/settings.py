"""Settings of events: how quickly they leave, how long they are kept, how patient the shop is with those who listen."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class EventsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a worker passes events on."""

    poll_s: Annotated[
        float,
        Meta(gt=0, description="How often new events are looked for; four times slower in a rush of orders."),
    ] = 0.25
    relay_most: Annotated[
        int, Meta(ge=1, le=100_000, description="Most events that one transaction numbers.")
    ] = 20_000
    private_addresses: Annotated[
        bool,
        Meta(
            description="Let subscribers be at private and loopback addresses, and at http:// ones. Off, because whoever may "
            "name an address could else reach what only this machine can."
        ),
    ] = False
    timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=120,
            description="A subscriber that has not answered after so long has not got the event.",
        ),
    ] = 10.0
    attempts_max: Annotated[
        int,
        Meta(ge=1, description="After so many failures an event is a dead letter: it waits for a replay."),
    ] = 12
    retry_first_s: Annotated[
        float, Meta(gt=0, description="Pause after the first failure; doubles with each further one.")
    ] = 5.0
    retry_max_s: Annotated[float, Meta(gt=0, description="Longest such pause.")] = 3600.0
    rest_max_s: Annotated[
        float,
        Meta(gt=0, description="Longest pause between two looks at a subscriber that takes nothing at all."),
    ] = 60.0
    held_max: Annotated[
        int,
        Meta(
            ge=1,
            description="Failed events that a subscriber may have waiting; with more it gets no new ones until some went through.",
        ),
    ] = 1000
    give_up_hours: Annotated[
        float,
        Meta(gt=0, description="A subscriber that took nothing for so long is paused until staff resume it."),
    ] = 72.0
    concurrency: Annotated[
        int,
        Meta(ge=1, le=64, description="Events under way to one subscriber at once (of different orders)."),
    ] = 8
    yield_ms: Annotated[
        float,
        Meta(
            ge=0,
            description="While orders come in a rush, a worker sends one event in so many milliseconds; the rest waits.",
        ),
    ] = 20.0
    subscribers_at_once: Annotated[
        int, Meta(ge=1, le=1024, description="Subscribers that one worker serves at once.")
    ] = 64
    lease_s: Annotated[
        float,
        Meta(gt=1, description="A subscriber whose worker died is served by another after at most so long."),
    ] = 30.0
    followers_max: Annotated[
        int,
        Meta(
            ge=0,
            description="Live followers per worker; more are sent elsewhere. Followers of single orders, who may be anybody, take at most half.",
        ),
    ] = 128
    heartbeat_s: Annotated[
        float, Meta(gt=0, le=25, description="A follower hears something at least so often.")
    ] = 10.0
    stream_s: Annotated[
        float,
        Meta(gt=0, description="A follower is asked to come again after so long, so that load can spread."),
    ] = 3600.0
