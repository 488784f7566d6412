"""What to ask a provider about an intent, and what its reply means. Pure.

    intent              order       age            ask              reply → outcome
    charge, authorise   placed      young          the same         approved, declined; unknown → later
    charge, authorise   placed      expired        withdraw         absent → declined (stock is released); unknown → later
    charge, authorise   cancelled   any            withdraw         approved → late, and given back; absent → declined
    capture             any         any            capture          approved, declined; unknown → later
    void                any         any            void             approved, declined; unknown → later
    refund              any         any            refund           approved, declined; unknown → later

A reservation is never released while the outcome is unknown: it expires only when the provider says that it made
no charge and never will. A reply is never trusted to be "no" because it is late."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from everopen.base.clock import Rng
from everopen.trading.payments.provider import Answer, Movement

Question = Literal["charge", "authorise", "capture", "void", "refund", "withdraw"]


class Intent(msgspec.Struct, frozen=True):
    """A payment to follow. `until_s` (monotonic) is when this worker must not begin to ask any more: its lease is
    about to end, and another worker may ask then."""

    movement: Movement
    kind: str
    provider: str
    order_status: str
    attempts: int
    age_s: float
    until_s: float

    @property
    def id(self) -> UUID:
        return self.movement.id


def question(intent: Intent, reservation_s: float) -> Question:
    """What to ask."""
    match intent.kind:
        case "refund":
            return "refund"
        case "capture":
            return "capture"
        case "void":
            return "void"
    if intent.order_status == "placed" and intent.age_s < reservation_s:
        return "authorise" if intent.kind == "authorise" else "charge"
    return "withdraw"


def outcome(answer: Answer) -> Literal["approved", "declined"] | None:
    """What to settle; None: not known yet."""
    match answer:
        case Answer.APPROVED:
            return "approved"
        case Answer.DECLINED | Answer.ABSENT | Answer.LAPSED:
            return "declined"
        case Answer.UNKNOWN:
            return None


def news(answer: Answer) -> Literal["approved", "declined", "lapsed"] | None:
    """What to settle after a mere look: that there is nothing yet does not mean that nothing is on its way."""
    match answer:
        case Answer.APPROVED:
            return "approved"
        case Answer.DECLINED:
            return "declined"
        case Answer.LAPSED:
            return "lapsed"
        case Answer.ABSENT | Answer.UNKNOWN:
            return None


def pause_s(attempts: int, longest_s: float, rng: Rng) -> float:
    """When to ask again: half a second, doubling, with jitter so that a provider that is back isn't stormed."""
    return min(longest_s, 0.5 * 2.0 ** min(attempts, 20)) * (0.75 + 0.5 * rng.random())
