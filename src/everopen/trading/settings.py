"""Settings of trading: defaults that a shop can open with, units in the names."""

from __future__ import annotations

from typing import Annotated

import msgspec


class TradingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a worker takes orders and asks for money."""

    currency: Annotated[
        str, msgspec.Meta(pattern="^[A-Z]{3}$", description="Currency of the shop (ISO 4217).")
    ] = "GBP"
    lanes: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=16,
            description="Lanes per worker; each commits groups on its own connection. With two workers a second lane "
            "each made orders no faster and the slowest ones slower (measured).",
        ),
    ] = 1
    group_max: Annotated[
        int, msgspec.Meta(ge=1, le=2000, description="Most orders that one commit takes.")
    ] = 256
    group_lines_max: Annotated[
        int, msgspec.Meta(ge=1, description="Most order lines that one commit takes.")
    ] = 4000
    queue_max: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="Most orders that wait in a worker; one more is answered 'unavailable'."
        ),
    ] = 20_000
    order_deadline_s: Annotated[
        float,
        msgspec.Meta(
            gt=0, description="An order that found no primary for so long is answered 'unavailable'."
        ),
    ] = 25.0
    second_lane_orders: Annotated[
        int,
        msgspec.Meta(ge=1, description="While a lane commits, another starts once so many orders wait."),
    ] = 64
    payer_concurrency: Annotated[
        int, msgspec.Meta(ge=1, le=256, description="Calls to payment providers at once, per worker.")
    ] = 8
    payer_yield_orders: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="A worker whose last commit took so many orders is busy: its payments yield."
        ),
    ] = 16
    payer_yield_ms: Annotated[
        float,
        msgspec.Meta(ge=0, description="Pause before each call to a provider while the worker is busy."),
    ] = 20.0
    payer_queue_max: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="Payments that a worker keeps in memory; others wait in the database."
        ),
    ] = 10_000
    payer_lease_s: Annotated[
        float,
        msgspec.Meta(
            gt=0, description="A payment is left to one worker for so long, then any may take it up."
        ),
    ] = 15.0
    payer_poll_s: Annotated[
        float, msgspec.Meta(gt=0, description="How often payments that nobody follows are looked for.")
    ] = 1.0
    payer_timeout_s: Annotated[
        float,
        msgspec.Meta(gt=0, description="A provider that is silent for so long leaves the outcome unknown."),
    ] = 5.0
    payer_settle_max: Annotated[
        int, msgspec.Meta(ge=1, le=2000, description="Most payment outcomes that one transaction settles.")
    ] = 256
    payer_settle_pause_ms: Annotated[
        float, msgspec.Meta(ge=0, description="Pause that lets outcomes gather for one transaction.")
    ] = 10.0
    payer_settle_busy_ms: Annotated[
        float, msgspec.Meta(ge=0, description="That pause while orders come in a rush: fewer, larger groups.")
    ] = 20.0
    payer_slow_ms: Annotated[
        float,
        msgspec.Meta(
            gt=0, description="A call to a provider that lasts longer is slow: another takes its place."
        ),
    ] = 250.0
    payer_slow_calls: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1000,
            description="Slow calls at once that a worker leaves to one provider; beyond them it has half of the calls.",
        ),
    ] = 24
    payer_retry_s_max: Annotated[
        float,
        msgspec.Meta(gt=0, description="Longest pause between two questions about one unknown payment."),
    ] = 60.0
    reservation_minutes: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="An order whose provider says it knows of no charge gives its stock back after so long.",
        ),
    ] = 30.0
    authorisation_days: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="An authorised order of which nothing was captured for so long is cancelled (card holds lapse after some 7 days).",
        ),
    ] = 6.0
    reconcile_hours: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="How often is looked whether a day lacks its comparison with a provider's books.",
        ),
    ] = 6.0
    payment_doubt_hours: Annotated[
        float,
        msgspec.Meta(gt=0, description="A payment whose outcome is unknown for so long is shown to staff."),
    ] = 1.0
    ledger_rows_max: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="Longest statement that a worker answers; `everopen ledger` writes longer ones."
        ),
    ] = 100_000
    idempotency_days: Annotated[
        float, msgspec.Meta(gt=0, description="How long a used idempotency key is remembered.")
    ] = 7.0
    session_days: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="A session that was not used for so long is forgotten, with the cart of a guest.",
        ),
    ] = 30.0
    cart_days: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="A cart that was not changed for so long, and has no session any more, is forgotten.",
        ),
    ] = 90.0
    seller_name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=200, description="Who sells, as invoices say it.")
    ] = "Everopen"
    seller_address: Annotated[
        str,
        msgspec.Meta(
            max_length=500, description="The seller's address on invoices, lines separated by line feeds."
        ),
    ] = ""
    seller_tax_number: Annotated[
        str, msgspec.Meta(max_length=60, description="The seller's tax number on invoices.")
    ] = ""
    invoice_series: Annotated[
        str,
        msgspec.Meta(pattern="^[A-Z0-9]{1,12}$", description="What the numbers of invoices begin with."),
    ] = "INV"
    credit_note_series: Annotated[
        str,
        msgspec.Meta(pattern="^[A-Z0-9]{1,12}$", description="What the numbers of credit notes begin with."),
    ] = "CRN"
    documents_s: Annotated[
        float, msgspec.Meta(gt=0, description="How often invoices and credit notes are issued.")
    ] = 30.0
    documents_max: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="Most invoices of one round: after a rush they come little by little, beside the orders.",
        ),
    ] = 10_000
    complete_after_days: Annotated[
        float,
        msgspec.Meta(gt=0, description="What has been on its way for so long counts as arrived."),
    ] = 14.0
    return_days: Annotated[
        float,
        msgspec.Meta(gt=0, description="How long after the last parcel a customer may ask for a return."),
    ] = 30.0
    returns_unsent: Annotated[
        bool,
        msgspec.Meta(
            description="Take returns of paid orders of which no shipment was recorded; for shops that hand goods over."
        ),
    ] = False
    housekeeping_s: Annotated[
        float, msgspec.Meta(gt=0, description="How often keys, sessions and ended jobs are forgotten.")
    ] = 60.0
    low_stock_s: Annotated[
        float,
        msgspec.Meta(gt=0, description="How often SKUs that came down to their threshold are announced."),
    ] = 10.0
    jobs_poll_s: Annotated[
        float, msgspec.Meta(gt=0, description="How often a worker looks for due jobs.")
    ] = 1.0
    jobs_lease_s: Annotated[
        float,
        msgspec.Meta(
            gt=0, description="A job whose worker died is taken up by another after at most so long."
        ),
    ] = 15.0
    jobs_concurrency: Annotated[
        int, msgspec.Meta(ge=1, le=64, description="Jobs that one worker runs at once.")
    ] = 4
    jobs_keep_days: Annotated[
        float, msgspec.Meta(gt=0, description="How long done and dead jobs stay visible.")
    ] = 14.0
    events_keep_days: Annotated[
        float,
        msgspec.Meta(
            gt=0, description="How long events can be replayed and followed; older ones are forgotten."
        ),
    ] = 14.0
