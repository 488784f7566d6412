"""The port to payment providers: charge or authorise, capture, void, refund, withdraw; one key per money movement.

An answer is approved, declined, absent (the provider knows of no such charge), lapsed (it was approved, and the provider
took it back since) or **unknown**. Whatever is not a clear answer - a timeout, a lost connection, a 500 - is unknown and
never declined: the money may have moved. A provider never raises for that; and since each movement has a key of its own,
asking again can't move it twice."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

import msgspec

Kind = Literal["charge", "authorise", "capture", "void", "refund"]
"""What an intent asks for. The first payment of an order is a charge or an authorisation and has the order's id."""


class Answer(Enum):
    """What is known about a movement of money."""

    APPROVED = "approved"
    DECLINED = "declined"
    ABSENT = "absent"
    LAPSED = "lapsed"
    UNKNOWN = "unknown"


class Reply(msgspec.Struct, frozen=True):
    """An answer with the provider's own reference."""

    answer: Answer
    reference: str = ""


class Movement(msgspec.Struct, frozen=True):
    """A movement of money. `id` is the provider's idempotency key; a capture, a void and a refund name the charge or the
    authorisation that they belong to (`charge_id`)."""

    id: UUID
    charge_id: UUID
    amount: int
    currency: str
    token: str
    reference: str = ""
    """The provider's own name for it, where an earlier answer told."""
    charge_reference: str = ""
    """The provider's own name for the charge or authorisation."""
    hold: bool = False
    """Of an order's first payment: an authorisation."""
    final: bool = True
    """Of a capture: what it leaves is given back."""
    age_s: float = 0.0
    """How long ago the intent was written."""


class Notice(msgspec.Struct, frozen=True):
    """A notification of the provider whose signature was right: something happened to this payment. What happened is asked
    for, not read from it. None: it is about nothing of ours."""

    payment_id: UUID | None
    about: str
    reference: str = ""
    """The provider's name for it, where the notification is about the payment itself."""


class Booked(msgspec.Struct, frozen=True):
    """Money that moved, as the provider's books have it. A capture has the id of the order's first payment (an order may
    have several), a refund has its own; None: the provider can't say whose it is."""

    kind: Literal["capture", "refund"]
    id: UUID | None
    reference: str
    amount: int
    currency: str
    at_s: float


class BadNotice(Exception):
    """A notification that this provider did not sign, or too long ago."""


class ProviderSilent(Exception):
    """The provider could not be asked for its list."""


class Provider(Protocol):
    """What a provider must be able to do. None of the calls that move money raises for what the provider does."""

    async def charge(self, movement: Movement) -> Reply: ...

    async def authorise(self, movement: Movement) -> Reply:
        """Holds the money; it moves with a capture, or is given back with a void."""
        ...

    async def capture(self, movement: Movement) -> Reply: ...

    async def void(self, movement: Movement) -> Reply:
        """Gives back what is held and not captured. Approved also when there is nothing held any more."""
        ...

    async def refund(self, movement: Movement) -> Reply: ...

    async def withdraw(self, movement: Movement) -> Reply:
        """Takes the question for a charge or an authorisation back: approved or declined if a charge was answered already,
        else absent - and then it is never made, also when the question is still on its way; a hold is given back.
        (Merely to look was turned down: a charge that arrived after the look was money without an order. Providers have it
        as cancelling an intent that they hold.)"""
        ...

    async def look(self, kind: Kind, movement: Movement) -> Reply:
        """What became of it, moving nothing. Absent means: not (yet)."""
        ...

    def read_notice(self, headers: Mapping[bytes, bytes], raw: bytes, now_s: float) -> Notice:
        """A webhook's meaning. Raises BadNotice unless its signature over the raw bytes is right and recent."""
        ...

    def booked(self, since_s: float, until_s: float) -> AsyncIterator[Booked]:
        """What the provider's books say about a time, oldest first. Raises ProviderSilent."""
        ...

    async def close(self) -> None: ...


class StripeSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider `stripe` needs to run; made before privileges are given away."""

    secret_key: str
    webhook_secrets: tuple[str, ...] = ()
    base_url: str = "https://api.stripe.com"
    api_version: str = ""
    tolerance_s: float = 300.0
    tls: ssl.SSLContext | None = None


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What providers are made from."""

    socket: Path
    """Of the sandbox's process."""
    timeout_s: float
    sandbox_secret: str = ""
    """Signs the sandbox's webhooks; empty: none is believed."""
    stripe: StripeSetup | None = None
