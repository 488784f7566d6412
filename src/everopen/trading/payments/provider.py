"""The port to payment providers: charge, refund, withdraw; one key per money movement.

An answer is approved, declined, absent (the provider knows of no such charge) or **unknown**. Whatever is not a clear
answer - a timeout, a lost connection, a 500 - is unknown and never declined: the money may have moved. A provider never
raises for that; and since each movement has a key of its own, asking again can't move it twice."""

from __future__ import annotations

from enum import Enum
from typing import Protocol
from uuid import UUID

import msgspec


class Answer(Enum):
    """What is known about a movement of money."""

    APPROVED = "approved"
    DECLINED = "declined"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Reply(msgspec.Struct, frozen=True):
    """An answer with the provider's own reference."""

    answer: Answer
    reference: str = ""


class Movement(msgspec.Struct, frozen=True):
    """A charge, or a refund of one. `id` is the provider's idempotency key; a refund names its charge."""

    id: UUID
    charge_id: UUID
    amount: int
    currency: str
    token: str


class Provider(Protocol):
    """What a provider must be able to do. None of the calls raises for what the provider does."""

    async def charge(self, movement: Movement) -> Reply: ...

    async def refund(self, movement: Movement) -> Reply: ...

    async def withdraw(self, movement: Movement) -> Reply:
        """Takes the question for a charge back: approved or declined if it was answered already, else absent - and then it
        is never made, also when the question is still on its way. (Merely to look was turned down: a charge that arrived
        after the look was money without an order. Providers have it as cancelling an intent that they hold.)"""
        ...

    async def close(self) -> None: ...
