"""Payments over HTTP: captures, voids, what failed, the providers' webhooks, reconciliation.

A webhook is no order to do something. Its signature says that the provider sent it; what became of the payment is asked of
the provider, and ends in the same transition as a call's answer and a poll's."""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime
from typing import NoReturn
from uuid import UUID

import msgspec

from everopen.api.catalogue import replay_header
from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.orders import order_id
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_money import (
    AskedAnswer,
    CaptureBody,
    DaySumAnswer,
    DifferenceAnswer,
    FailedPaymentsAnswer,
    NoticeAnswer,
    PaymentAnswer,
    PaymentsAnswer,
    ReconcileBody,
    ReconciliationAnswer,
    ReconciliationsAnswer,
    RetryBody,
    VoidBody,
    VoidedAnswer,
)
from everopen.api.shop import Shop
from everopen.base.money import Money
from everopen.trading.orders import KeyReused, NotFound, WrongState
from everopen.trading.payments import BadNotice, ProviderSilent, staff
from everopen.trading.payments.reconcile import Reconciliation, find_reports, reconcile_day

log = logging.getLogger(__name__)
RETRY_AFTER = [(b"retry-after", b"5")]


# --- payments of an order


async def payments_of_order(shop: Shop, call: Call) -> Answer:
    """Everything that was asked of a provider for an order."""
    found = await staff.payments_of(shop.money.primary, order_id(call))
    if not found:
        raise Refusal("not-found", "There is no such order.")
    return Answer(PaymentsAnswer([_payment(one) for one in found]))


async def capture_order(shop: Shop, call: Call) -> Answer:
    """Captures what was authorised, or a part of it."""
    body: CaptureBody = call.body
    order = order_id(call)
    amount = None
    if body.amount is not None:
        amount = body.amount.amount
        known = await staff.find_payment(shop.money.primary, order)
        if known is not None and known.currency != body.amount.currency:
            raise Refusal("bad-input", f"`amount` must be in {known.currency}.")
    outcome = await staff.capture(
        shop.money.primary,
        order,
        amount,
        final=body.final,
        key=call.key,
        fingerprint=fingerprint("capture", order, amount, body.final, body.reason),
        reason=body.reason,
    )
    if not isinstance(outcome, staff.Asked):
        _refuse(outcome)
    return Answer(AskedAnswer(outcome.id), replay_header(outcome.replayed))


async def void_order(shop: Shop, call: Call) -> Answer:
    """Gives back what is authorised and not captured."""
    body: VoidBody = call.body
    order = order_id(call)
    outcome = await staff.void(
        shop.money.primary,
        order,
        key=call.key,
        fingerprint=fingerprint("void", order, body.reason),
        reason=body.reason,
    )
    if not isinstance(outcome, staff.Asked):
        _refuse(outcome)
    return Answer(VoidedAnswer(outcome.id), replay_header(outcome.replayed))


# --- payments by themselves


async def failed_payments(shop: Shop, call: Call) -> Answer:
    """Payments that need a person."""
    limit, after = read_page(call, "failed-payments", tuple[UUID])
    found = await staff.failed_payments(
        shop.money.primary, shop.money.settings, after=after[0] if after else None, limit=limit + 1
    )
    shown, following = cut(found, limit, "failed-payments", lambda one: (one.id,))
    return Answer(FailedPaymentsAnswer([_payment(one) for one in shown], following))


def _payment_id(call: Call) -> UUID:
    try:
        return UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", "There is no such payment.") from None


async def get_payment(shop: Shop, call: Call) -> Answer:
    """One payment as it is now."""
    found = await staff.find_payment(shop.money.primary, _payment_id(call))
    if found is None:
        raise Refusal("not-found", "There is no such payment.")
    return Answer(_payment(found))


async def retry_payment(shop: Shop, call: Call) -> Answer:
    """Takes up a refund or void that was declined."""
    body: RetryBody = call.body
    payment = _payment_id(call)
    outcome = await staff.retry(
        shop.money.primary,
        payment,
        by_hand=body.by_hand,
        key=call.key,
        fingerprint=fingerprint("retry", payment, body.by_hand, body.reason),
        reason=body.reason,
    )
    if not isinstance(outcome, staff.Asked):
        _refuse(outcome)
    return Answer(AskedAnswer(outcome.id), replay_header(outcome.replayed))


_STATES = {
    "capturing": "All of its authorisation is captured or being captured.",
    "taken up": "It was taken up already.",
    "charge": "A charge is not taken up again: the customer orders anew.",
    "authorise": "An authorisation is not taken up again: the customer orders anew.",
    "capture": "Capture the order again instead.",
    "void": "A void can't be done by hand; try it at the provider.",
}


def _refuse(outcome: msgspec.Struct) -> NoReturn:
    match outcome:
        case KeyReused():
            raise Refusal("key-reused", "This idempotency key was used for another request.")
        case NotFound():
            raise Refusal("not-found", "There is no such order or payment.")
        case WrongState(status):
            raise Refusal("conflict", _STATES.get(status, f"It is {status}; this is not possible then."))
        case staff.TooMuchMoney(available):
            raise Refusal("conflict", f"Only {available} (minor units) of the authorisation are left.")
    raise TypeError(f"{outcome!r} is no refusal.")


# --- webhooks


async def hear(shop: Shop, call: Call) -> Answer:
    """A provider says that something happened to a payment."""
    name = call.parameters["provider"]
    provider = shop.money.providers.get(name)
    if provider is None:
        raise Refusal("not-found", "There is no such payment provider here.")
    try:
        notice = provider.read_notice(call.headers, call.raw, time.time())
    except BadNotice as error:
        raise Refusal("bad-signature", str(error)) from None
    if notice.payment_id is None:
        return Answer(NoticeAnswer(f"{notice.about} is about nothing of ours."))
    try:
        said = await shop.money.payer.hear(name, notice.payment_id, notice.reference)
    except ProviderSilent as error:
        raise Refusal("provider-silent", str(error), headers=RETRY_AFTER) from None
    log.info("%s: %s", notice.about, said)
    return Answer(NoticeAnswer(said))


# --- reconciliation


async def reconciliations(shop: Shop, call: Call) -> Answer:
    """Reports of our ledger against the providers' lists."""
    limit, after = read_page(call, "reconciliations", tuple[datetime, UUID])
    found = await find_reports(
        shop.money.primary, provider=call.parameters.get("provider"), after=after, limit=limit + 1
    )
    shown, following = cut(found, limit, "reconciliations", lambda one: (one.made_at, one.id))
    return Answer(ReconciliationsAnswer([_report(one) for one in shown], following))


async def reconcile(shop: Shop, call: Call) -> Answer:
    """Compares a day now."""
    body: ReconcileBody = call.body
    provider = shop.money.providers.get(body.provider)
    if provider is None:
        raise Refusal("unknown-provider", f"There is no payment provider “{body.provider}” here.")
    if not date(2000, 1, 1) <= body.day <= datetime.now(UTC).date():
        raise Refusal("bad-input", "`day` must be a day since 2000 that has begun.")
    try:
        report = await reconcile_day(shop.money.primary, body.provider, provider, body.day)
    except ProviderSilent as error:
        raise Refusal("provider-silent", str(error), headers=RETRY_AFTER) from None
    return Answer(_report(report))


def _report(report: Reconciliation) -> ReconciliationAnswer:
    return ReconciliationAnswer(
        report.id,
        report.provider,
        report.day,
        report.made_at,
        report.movements,
        report.differences_n,
        [
            DaySumAnswer(one.kind, Money(one.ours, one.currency), Money(one.theirs, one.currency))
            for one in report.sums
        ],
        [
            DifferenceAnswer(
                one.what,
                one.kind,
                one.id,
                one.reference,
                Money(one.ours, one.currency),
                Money(one.theirs, one.currency),
            )
            for one in report.differences
        ],
    )


def _payment(one: staff.Payment) -> PaymentAnswer:
    facts = {name: getattr(one, name) for name in PaymentAnswer.__struct_fields__ if name != "amount"}
    return PaymentAnswer(amount=Money(one.amount, one.currency), **facts)


_ORDER = Parameter("id", "The order's id.", "path")
_PAYMENT = Parameter("id", "The payment's id.", "path")
ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/orders/{id}/payments",
        "listOrderPayments",
        "Everything that was asked of a provider for an order",
        payments_of_order,
        PaymentsAnswer,
        refusals=("not-found",),
        parameters=(_ORDER,),
        scope="payments:read",
    ),
    Route(
        "POST",
        "/api/orders/{id}/captures",
        "captureOrder",
        "Capture what was authorised, or a part of it",
        capture_order,
        AskedAnswer,
        CaptureBody,
        202,
        ("not-found", "conflict"),
        (_ORDER,),
        scope="payments:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/orders/{id}/voids",
        "voidOrder",
        "Give back what is authorised and not captured",
        void_order,
        VoidedAnswer,
        VoidBody,
        202,
        ("not-found", "conflict"),
        (_ORDER,),
        scope="payments:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/payments/failed",
        "listFailedPayments",
        "Payments that need a person",
        failed_payments,
        FailedPaymentsAnswer,
        parameters=page_parameters(),
        scope="payments:read",
    ),
    Route(
        "GET",
        "/api/payments/reconciliations",
        "listReconciliations",
        "Our ledger against the providers' lists, day by day",
        reconciliations,
        ReconciliationsAnswer,
        parameters=(*page_parameters(), Parameter("provider", "Only of this provider.")),
        scope="payments:read",
    ),
    Route(
        "POST",
        "/api/payments/reconciliations",
        "reconcile",
        "Compare a day with a provider's list now",
        reconcile,
        ReconciliationAnswer,
        ReconcileBody,
        201,
        ("unknown-provider", "provider-silent"),
        scope="payments:write",
    ),
    Route(
        "GET",
        "/api/payments/{id}",
        "getPayment",
        "One payment as it is now",
        get_payment,
        PaymentAnswer,
        refusals=("not-found",),
        parameters=(_PAYMENT,),
        scope="payments:read",
    ),
    Route(
        "POST",
        "/api/payments/{id}/retries",
        "retryPayment",
        "Take up a refund or void that was declined",
        retry_payment,
        AskedAnswer,
        RetryBody,
        202,
        ("not-found", "conflict"),
        (_PAYMENT,),
        scope="payments:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/payments/{provider}/webhooks",
        "hearProvider",
        "For payment providers: something happened to a payment",
        hear,
        NoticeAnswer,
        refusals=("not-found", "bad-signature", "provider-silent"),
        parameters=(Parameter("provider", "The provider's name.", "path"),),
        raw=True,
    ),
)
