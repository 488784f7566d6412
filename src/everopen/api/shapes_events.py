"""What goes in and out of the calls about events, subscribers and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

Url = Annotated[
    str, Meta(min_length=8, max_length=2000, description="https://, without password or fragment.")
]
TopicName = Annotated[str, Meta(min_length=1, max_length=100)]
EventId = Annotated[
    str, Meta(pattern=r"^evt_[0-9]{1,18}$(?!\n)", description="An event's id, such as evt_42.")
]


class SubscriberBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to be told, and of what."""

    url: Url
    topics: Annotated[
        list[TopicName], Meta(max_length=100, description="None: every topic, those to come too.")
    ] = []
    description: Annotated[str, Meta(max_length=500)] = ""


class ReplayBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent again: without `after`, the dead letters."""

    after: EventId | None = None


class SubscriberAnswer(Struct, frozen=True):
    """A subscriber. paused: it gets nothing until it is resumed, `reason` says why."""

    id: UUID
    url: str
    topics: list[str]
    description: str
    status: Literal["active", "paused"]
    reason: str
    position: str
    """Up to this event it has everything, or it is held below."""
    behind: int
    """Events that it was not offered yet."""
    waiting: int
    """Events that failed and are tried again, or stand behind such a one."""
    dead: int
    """Events that failed for good, until a replay."""
    failing_since: datetime | None
    created_at: datetime


class NewSubscriberAnswer(SubscriberAnswer, frozen=True, kw_only=True):
    """A new subscriber with the secret that signs what it gets. It is told this once."""

    secret: str


class SubscribersAnswer(Struct, frozen=True):
    subscribers: list[SubscriberAnswer]
    next: str | None


class DeliveryAnswer(Struct, frozen=True):
    """An event that did not go through at once."""

    event: str
    topic: str
    subject: UUID
    status: Literal["waiting", "dead"]
    attempts: int
    next_at: datetime
    problem: str
    announced_at: datetime
    changed_at: datetime


class DeliveriesAnswer(Struct, frozen=True):
    deliveries: list[DeliveryAnswer]
    next: str | None


class ReplayAnswer(Struct, frozen=True):
    revived: int | None
    """Dead letters that are sent again; null: everything since the named event is."""


class JobAnswer(Struct, frozen=True):
    """A job. `said`: what its last run said, or how it failed."""

    id: int
    name: str
    status: Literal["waiting", "running", "done", "dead"]
    payload: dict[str, Any]
    repeats: bool
    due_at: datetime
    next_at: datetime
    """waiting: not before; running: until then its worker has it."""
    attempt: int
    worker: str
    said: str
    created_at: datetime
    finished_at: datetime | None


class JobsAnswer(Struct, frozen=True):
    jobs: list[JobAnswer]
    next: str | None
