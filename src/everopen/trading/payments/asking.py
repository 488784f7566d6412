"""What to ask a provider about an intent, and what its reply means. Pure.

    intent            order       age            ask        reply → outcome
    charge            placed      young          charge     approved, declined; unknown → later
    charge            placed      expired        withdraw   absent → declined (stock is released); unknown → later
    charge            cancelled   any            withdraw   approved → captured late and given back; absent → declined
    refund            any         any            refund     approved, declined; unknown → later

A reservation is never released while the outcome is unknown: it expires only when the provider says that it made
no charge and never will. A reply is never trusted to be "no" because it is late."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from everopen.base.clock import Rng
from everopen.trading.payments.provider import Answer, Movement

Question = Literal["charge", "refund", "withdraw"]


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
    if intent.kind == "refund":
        return "refund"
    if intent.order_status == "placed" and intent.age_s < reservation_s:
        return "charge"
    return "withdraw"


def outcome(answer: Answer) -> Literal["approved", "declined"] | None:
    """What to settle; None: not known yet."""
    match answer:
        case Answer.APPROVED:
            return "approved"
        case Answer.DECLINED | Answer.ABSENT:
            return "declined"
        case Answer.UNKNOWN:
            return None


def pause_s(attempts: int, longest_s: float, rng: Rng) -> float:
    """When to ask again: half a second, doubling, with jitter so that a provider that is back isn't stormed."""
    return min(longest_s, 0.5 * 2.0 ** min(attempts, 20)) * (0.75 + 0.5 * rng.random())
