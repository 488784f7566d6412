"""What goes in and out as JSON about payments and the ledger."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everopen.api.shapes import CURRENCY_PATTERN, Reason
from everopen.base.money import Money
from everopen.trading.orders import ORDER_TOTAL_MAX

PaymentKind = Literal["charge", "authorise", "capture", "void", "refund"]
PaymentStatus = Literal["pending", "unknown", "authorised", "captured", "voided", "refunded", "declined"]


class CaptureAmount(Struct, frozen=True, forbid_unknown_fields=True):
    """Minor units and ISO 4217 currency."""

    amount: Annotated[int, Meta(ge=1, le=ORDER_TOTAL_MAX)]
    currency: Annotated[str, Meta(pattern=CURRENCY_PATTERN)]


class CaptureBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A capture of an authorised order."""

    amount: CaptureAmount | None = None
    """null: all that is left."""
    final: bool = False
    """The last one: what it leaves is voided, and the order is paid."""
    reason: Reason = "captured"


class VoidBody(Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason = "voided"


class RetryBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A declined refund or void, once more."""

    by_hand: bool = False
    """The money went back another way (a bank transfer, cash); only for refunds."""
    reason: Reason = "tried again"


class PaymentAnswer(Struct, frozen=True):
    """Money that moves or moved. pending: to be asked for. unknown: asked, answer lost, asked again until known."""

    id: UUID
    order_id: UUID
    kind: PaymentKind
    status: PaymentStatus
    amount: Money
    provider: str
    reference: str
    """The provider's own name for it; empty where it gave none (yet)."""
    attempts: int
    created_at: datetime
    settled_at: datetime | None
    retry_of: UUID | None
    retried_by: UUID | None


class PaymentsAnswer(Struct, frozen=True):
    payments: list[PaymentAnswer]


class FailedPaymentsAnswer(Struct, frozen=True):
    payments: list[PaymentAnswer]
    next: str | None
    """`after` of the next page; null on the last one."""


class AskedAnswer(Struct, frozen=True):
    """It is asked for; `GET /api/payments/{id}` tells what became of it."""

    payment_id: UUID


class VoidedAnswer(Struct, frozen=True):
    order_id: UUID


class NoticeAnswer(Struct, frozen=True):
    """What was done about a notification."""

    said: str


class DifferenceAnswer(Struct, frozen=True):
    what: Literal["unknown here", "missing there", "another amount"]
    kind: Literal["capture", "refund"]
    id: str
    """The order, or the refund's payment; the provider's reference where it names none of ours."""
    reference: str
    ours: Money
    theirs: Money


class DaySumAnswer(Struct, frozen=True):
    kind: Literal["capture", "refund"]
    ours: Money
    theirs: Money


class ReconciliationAnswer(Struct, frozen=True):
    """A day (UTC) of our ledger against a provider's list."""

    id: UUID
    provider: str
    day: date
    made_at: datetime
    movements: int
    """Orders and refunds that were compared."""
    differences_n: int
    sums: list[DaySumAnswer]
    """What moved on the day itself; around midnight the two sides may differ and yet agree."""
    differences: list[DifferenceAnswer]
    """At most a thousand."""


class ReconciliationsAnswer(Struct, frozen=True):
    reconciliations: list[ReconciliationAnswer]
    next: str | None
    """`after` of the next page; null on the last one."""


class ReconcileBody(Struct, frozen=True, forbid_unknown_fields=True):
    provider: Annotated[str, Meta(min_length=1, max_length=40)]
    day: date


class AccountAnswer(Struct, frozen=True):
    """Minor units; debit minus credit is the balance."""

    account: str
    debit: int
    credit: int
    balance: int
    entries: int


class CurrencyAnswer(Struct, frozen=True):
    currency: str
    debit: int
    credit: int
    accounts: list[AccountAnswer]


class TrialBalanceAnswer(Struct, frozen=True):
    """The books before a time."""

    before: datetime
    balanced: bool
    currencies: list[CurrencyAnswer]
